/* memory.c - looking at the memory of frozen tasks: VMAs, their flags, guard pages. */
#include "criu-lite/task/memory.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/proc/children.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/task/memory_vma.h"
#include "criu-lite/task/parents.h"
#include "criu-lite/task/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* --- one task's share ------------------------------------------------------------ */

MmEntry *memory_mm(struct task *task)
{
	if (!task->mm) {
		task->mm = xmalloc(sizeof(*task->mm));
		mm_entry__init(task->mm);
	}
	return task->mm;
}

struct task_memory *memory_of(struct task *task)
{
	if (!task->memory) {
		task->memory = xcalloc(1, sizeof(*task->memory));
		task->memory->uffd = -1;
	}
	return task->memory;
}

void memory_of_release(struct task *task)
{
	struct task_memory *m = task->memory;

	if (!m)
		return;
	for (size_t i = 0; i < m->n_files; i++)
		mapped_file_release(&m->file[i]);
	free(m->file);
	free(m->smap);
	page_regions_release(&m->guards);
	page_regions_release(&m->watched);
	page_sources_release(&m->src);
	if (m->uffd >= 0)
		close(m->uffd);
	free(m);
	task->memory = NULL;
}

/* --- smaps: before the freeze, frozen, after the thaw ------------------------------ */

/*
 * Reading smaps costs microseconds a VMA and milliseconds a GiB. Below these sizes it
 * is as well done inside the freeze; above them, before it.
 */
#define MANY_VMAS    256u
#define MANY_PAGES   (64 << 8)
#define MUCH_SPACE   (64ull << 30) /* bytes, used or not: page tables are looked through */
#define MANY_THREADS 100
#define FEW_PAGES    256
#define SHORT_STEP   (16ull << 20) /* bytes; the mappings are locked while one is looked through */

struct early_smaps {
	pid_t pid;
	uint64_t start_time;
	struct proc_smap *v;
	size_t n;
};

#define PRECOPY_MOST                                                                               \
	((uint64_t)128 << 20) /* bytes of the whole tree; the rest is read in the freeze */

/* More than FEW_PAGES of its own. */
struct busy {
	pid_t pid;
	uint64_t start_time, pages;
};

struct memory_save {
	struct early_smaps *early; /* who is large; .v when .reading has ended */
	size_t n, cap;
	struct aside *reading;
	struct busy *busy;
	size_t n_busy, cap_busy;
	size_t expected; /* bytes to be read in the freeze, as far as can be told before it */
	struct precopy *precopy;
	struct spool *spool;
	struct aside *late;
	struct parents *parents;
};

static bool is_large(const struct proc_dir *dir, const struct proc_stat *st)
{
	return st->rss > MANY_PAGES || st->vsize > MUCH_SPACE || proc_maps_exceed(dir, MANY_VMAS);
}

static void note_large(struct memory_save *m, const struct proc_dir *dir,
		       const struct proc_stat *st)
{
	const struct early_smaps e = { .pid = proc_id(dir), .start_time = st->starttime };

	if (is_large(dir, st))
		ARRAY_PUSH(m->early, m->n, m->cap, e);
}

/* Whether it is still that one; @dir is to be closed in any case. */
static bool open_again(struct proc_dir **dir, pid_t pid, uint64_t start_time)
{
	struct proc_stat st;

	return proc_open(dir, NULL, pid, NULL) == 0 && proc_stat_read(*dir, &st, NULL) == 0 &&
	       st.starttime == start_time;
}

static void read_large(struct early_smaps *e)
{
	scoped_proc dir = NULL;

	if (open_again(&dir, e->pid, e->start_time))
		proc_smaps_read(dir, &e->v, &e->n, NULL);
}

/* What cannot be read now is read in the freeze. */
static int read_all_large(void *memory, struct err *err)
{
	const struct memory_save *m = memory;

	for (size_t i = 0; i < m->n; i++)
		read_large(&m->early[i]);
	return 0;
}

static uint64_t anonymous_pages(const struct proc_dir *dir)
{
	uint64_t resident = 0, shared = 0;
	scoped char *statm = NULL;
	size_t len;

	if (proc_read(dir, "statm", &statm, &len, NULL) < 0 ||
	    sscanf(statm, "%*s %" SCNu64 " %" SCNu64, &resident, &shared) != 2)
		return 0;
	return resident > shared ? resident - shared : 0;
}

/* Where there are few pages it does not matter how many of them are written. */
static void early_pages(struct memory_save *m, const struct proc_dir *dir,
			const struct proc_stat *st)
{
	struct busy b = { proc_id(dir), st->starttime, anonymous_pages(dir) };

	if (b.pages > FEW_PAGES)
		ARRAY_PUSH(m->busy, m->n_busy, m->cap_busy, b);
	else
		m->expected += b.pages * PAGE_SIZE;
}

/* Whether it is worth looking for children: of a thousand threads that takes longer than it saves. */
static bool early_one(struct saver *s, const struct proc_dir *dir)
{
	struct proc_stat st;

	if (proc_stat_read(dir, &st, NULL) < 0)
		return false;
	note_large(s->memory, dir, &st);
	early_pages(s->memory, dir, &st);
	return st.num_threads < MANY_THREADS;
}

static void early_tree(struct saver *s, pid_t pid, int depth)
{
	scoped_proc dir = NULL;
	scoped int *child = NULL;
	size_t n = 0;

	if (proc_open(&dir, NULL, pid, NULL) < 0)
		return;
	if (!early_one(s, dir) || !depth || proc_children_read(dir, &child, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		early_tree(s, child[i], depth - 1);
}

static struct memory_save *memory_saved(struct saver *s)
{
	if (!s->memory)
		s->memory = xcalloc(1, sizeof(*s->memory));
	return s->memory;
}

struct spool *memory_spool(struct saver *s)
{
	struct memory_save *m = memory_saved(s);

	if (!m->spool)
		m->spool = spool_new(m->expected);
	return m->spool;
}

void memory_early(struct saver *s, pid_t root)
{
	enum { DEPTH = 64 };

	struct memory_save *m = memory_saved(s);

	early_tree(s, root, DEPTH);
	if (m->n)
		m->reading = aside_begin_urgent(read_all_large, m);
}

/* Returns the bytes read. */
static uint64_t precopy_one(struct saver *s, const struct busy *b, uint64_t most)
{
	struct memory_save *m = s->memory;
	scoped_proc dir = NULL;
	struct task task = { .pid = b->pid, .start_time = b->start_time };
	uint64_t read, left, armed, written;

	if (!open_again(&dir, b->pid, b->start_time))
		return 0;
	task.proc = dir;
	read = precopy_task(m->precopy, s->track, &task, most, &left);
	armed = read + left;
	written = track_expect(s->track, dir, armed > 0 && armed < most);
	m->expected += (written < b->pages ? written : b->pages) * PAGE_SIZE + left;
	return read;
}

/* NULL, and no error: there is none. */
int memory_parents(struct saver *s, struct parents **out, struct err *err)
{
	struct memory_save *m = memory_saved(s);
	int rc = 0;

	if (!parents_are_of(m->parents, &s->parent)) {
		parents_free(m->parents);
		m->parents = NULL;
		if (s->parent.dirfd >= 0)
			rc = parents_open(&m->parents, &s->parent, err);
	}
	*out = m->parents;
	return rc;
}

/* Who has few pages of its own has few in the parent. */
static void expect_parents(struct saver *s)
{
	const struct memory_save *m = s->memory;
	struct parents *parents;

	if (memory_parents(s, &parents, NULL) < 0 || !parents)
		return;
	for (size_t i = 0; i < m->n_busy; i++)
		parents_expect(parents, m->busy[i].pid);
}

void memory_precopy(struct saver *s)
{
	struct memory_save *m = s->memory;
	uint64_t room = PRECOPY_MOST;

	expect_parents(s);
	m->precopy = precopy_new();
	for (size_t i = 0; i < m->n_busy; i++)
		room -= precopy_one(s, &m->busy[i], room);
	memory_spool(s);
	aside_end(&m->reading, NULL);
}

const struct precopied *memory_precopied(const struct saver *s, const struct task *task)
{
	return s->memory ? precopy_find(s->memory->precopy, task) : NULL;
}

static bool same_ranges(const struct proc_smap *smap, size_t n_smap, const struct proc_vma *vma,
			size_t n_vma)
{
	if (n_smap != n_vma)
		return false;
	for (size_t i = 0; i < n_vma; i++)
		if (smap[i].start != vma[i].start || smap[i].end != vma[i].end)
			return false;
	return true;
}

static struct early_smaps *find_early(const struct saver *s, const struct task *task)
{
	for (size_t i = 0; s->memory && i < s->memory->n; i++)
		if (s->memory->early[i].pid == task->pid &&
		    s->memory->early[i].start_time == task->start_time)
			return &s->memory->early[i];
	return NULL;
}

/*
 * Mappings and what smaps says of them: that may be what was read early if no border has
 * moved since (memory_late will tell whether the flags held still as well).
 */
static int read_mappings(struct saver *s, struct task *task, struct err *err)
{
	struct early_smaps *early = find_early(s, task);
	struct task_memory *m = memory_of(task);
	const struct proc_vma *vma;
	size_t n;
	int rc;

	if (early) {
		rc = task_maps(task, &vma, &n, err);
		if (rc < 0)
			return rc;
		m->early = same_ranges(early->v, early->n, vma, n);
	}
	if (m->early) {
		m->smap = early->v;
		m->n_smaps = early->n;
		early->v = NULL;
		return 0;
	}
	free(task->vma);
	task->vma = NULL;
	rc = proc_smaps_maps_read(task->proc, &m->smap, &task->vma, &m->n_smaps, err);
	task->n_vmas = m->n_smaps;
	return rc;
}

/* What is saved from smaps alone; all else was read frozen, or is counted. */
#define FLAGS_SAVED                                                                                \
	(VMF_BIT(VMF_GD) | VMF_BIT(VMF_LO) | VMF_BIT(VMF_LF) | VMF_BIT(VMF_NR) | VMF_BIT(VMF_DP) | \
	 VMF_BIT(VMF_SL) | VMF_BIT(VMF_UM) | VMF_BIT(VMF_UI) | VMF_BIT(VMF_SS) | VMF_BIT(VMF_HT))

static bool flags_differ(const struct proc_smap *a, const struct proc_smap *b)
{
	return ((a->flags ^ b->flags) & FLAGS_SAVED) ||
	       proc_smap_madv(a->flags) != proc_smap_madv(b->flags);
}

/*
 * Mappings that went away since the thaw are no reason to doubt: after a restore they
 * will go just as quickly.
 */
static int still_the_same(struct task *task, struct err *err)
{
	struct task_memory *m = task->memory;
	scoped struct proc_smap *now = NULL;
	size_t n, k = 0;
	int rc = proc_smaps_read(task->proc, &now, &n, err);

	if (proc_ended(rc))
		return 0;
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < m->n_smaps; i++) {
		const struct proc_smap *then = &m->smap[i];

		while (k < n && now[k].end <= then->start)
			k++;
		for (size_t j = k; j < n && now[j].start < then->end; j++)
			if (flags_differ(then, &now[j]))
				return err_set(err, -EAGAIN,
					       "the advice for %#" PRIx64
					       " changed while it was saved",
					       then->start);
	}
	return 0;
}

static bool was_early(const struct task *task)
{
	return task->memory && task->memory->early;
}

static int all_still_the_same(void *saver, struct err *err)
{
	struct saver *s = saver;
	struct task *task;

	for_each_live_task (task, s->tree) {
		int rc = was_early(task) ? still_the_same(task, err) : 0;

		if (rc < 0)
			return err_add(err, rc, "task %d", task->pid);
	}
	return 0;
}

bool memory_late_fits(const struct saver *s)
{
	struct task *task;

	if (spool_too_much(s->memory->expected))
		return true;
	for_each_live_task (task, s->tree)
		for (size_t i = 0; was_early(task) && i < task->memory->n_smaps; i++)
			if (task->memory->smap[i].end - task->memory->smap[i].start > SHORT_STEP)
				return false;
	return true;
}

void memory_late_begin(struct saver *s)
{
	struct memory_save *m = s->memory;
	struct task *task;

	for_each_live_task (task, s->tree)
		if (!m->late && was_early(task))
			m->late = aside_begin(all_still_the_same, s);
}

int memory_late(struct saver *s, struct err *err)
{
	return aside_end(&s->memory->late, err);
}

int memory_write(struct saver *s, struct chain *chain, struct err *err)
{
	int rc;

	memory_late_begin(s);
	rc = spool_drain(s->memory->spool, err);
	if (!rc)
		spool_give_sums(s->memory->spool, chain);
	return rc;
}

/* --- VMAs -------------------------------------------------------------------------- */

static void add_vma(MmEntry *mm, size_t *cap, VmaEntry *e)
{
	ARRAY_PUSH(mm->vmas, mm->n_vmas, *cap, e);
}

/* The kernel shows vvar in two parts; in images it is one. */
static bool joins_last(const MmEntry *mm, const VmaEntry *e)
{
	const VmaEntry *last = mm->n_vmas ? mm->vmas[mm->n_vmas - 1] : NULL;

	return last && (last->status & VMA_VVAR) && (e->status & VMA_VVAR) && last->end == e->start;
}

/* What a VMA has that images have no place for is our own addition. */
static SdTaskExtra *extra_of(struct task *task)
{
	struct thread *t = task_leader(task);

	if (!t->extra)
		t->extra = extra_new(t);
	return t->extra;
}

/* Images know locked or not; these pages are locked only when they come. */
static void note_on_fault(struct task *task, const struct proc_vma *v)
{
	SdTaskExtra *extra = extra_of(task);
	SdRange *r = xmalloc(sizeof(*r));

	sd_range__init(r);
	r->start = v->start;
	r->end = v->end;
	ARRAY_PUSH(extra->locked_on_fault, extra->n_locked_on_fault, task->memory->cap_on_fault, r);
}

static void note_name(struct task *task, const struct proc_vma *v)
{
	SdTaskExtra *extra;
	SdVmaName *name;
	char *text = vma_given_name(v);

	if (!text)
		return;
	extra = extra_of(task);
	name = xmalloc(sizeof(*name));
	sd_vma_name__init(name);
	name->start = v->start;
	name->end = v->end;
	name->name = text;
	ARRAY_PUSH(extra->vma_names, extra->n_vma_names, task->memory->cap_names, name);
}

static int save_vmas(struct saver *s, struct task *task, size_t *cap, struct err *err)
{
	const struct proc_vma *vma = task->vma;
	MmEntry *mm = memory_mm(task);

	for (size_t i = 0; i < task->n_vmas; i++) {
		VmaEntry *e;
		int rc = vma_save(s, task, &vma[i], &task->memory->smap[i], &e, err);

		if (rc < 0)
			return err_add(err, rc, "memory at %#" PRIx64, vma[i].start);
		if (task->memory->smap[i].flags & VMF_BIT(VMF_LF))
			note_on_fault(task, &vma[i]);
		if (e)
			note_name(task, &vma[i]);
		if (e && joins_last(mm, e)) {
			mm->vmas[mm->n_vmas - 1]->end = e->end;
			free(e);
		} else if (e) {
			add_vma(mm, cap, e);
		}
	}
	return 0;
}

static void save_guards(struct task *task, size_t *cap)
{
	const struct page_regions *found = &task->memory->guards;

	for (size_t i = 0; i < found->n; i++)
		add_vma(task->mm, cap, vma_guard(found->v[i].start, found->v[i].end));
}

/* Kernels that have no guard pages, or no way to see them, find none. */
static int find_guards(struct task *task, int pagemap, struct err *err)
{
	struct pagemap_query q = { .mask = PAGE_IS_GUARD, .return_mask = PAGE_IS_GUARD };
	int rc = pagemap_scan(pagemap, 0, USER_END, &q, &task->memory->guards, err);

	return rc == -ENOTTY || rc == -EINVAL ? 0 : rc;
}

/*
 * Write protection without a monitor, as a tracker has it, may get lost; with one that
 * waits for faults outside of the tree it may not. Asked of a row of such mappings at once:
 * those of the first kind are passed over by the kernel.
 */
static int find_watched(struct task_memory *m, int pagemap, uint64_t start, uint64_t end,
			struct err *err)
{
	const struct pagemap_query q = { .mask = PAGE_IS_WPALLOWED,
					 .inverted = PAGE_IS_WPALLOWED,
					 .return_mask = PAGE_IS_WPALLOWED };
	const struct page_region all = { .start = start, .end = end };
	struct page_regions found = {};
	int rc = pagemap_scan(pagemap, start, end, &q, &found, err);

	if (rc == -ENOTTY || found.n) {
		ARRAY_PUSH(m->watched.v, m->watched.n, m->watched.cap, found.n ? found.v[0] : all);
		rc = 0;
	}
	page_regions_release(&found);
	return rc;
}

static int look_for_watchers(struct task *task, int pagemap, struct err *err)
{
	struct task_memory *m = task->memory;
	int rc = 0;

	for (size_t i = 0, k; !rc && i < m->n_smaps; i = k) {
		k = i + 1;
		if (!(m->smap[i].flags & VMF_BIT(VMF_UW)))
			continue;
		while (k < m->n_smaps && m->smap[k].flags & VMF_BIT(VMF_UW))
			k++;
		rc = find_watched(m, pagemap, m->smap[i].start, m->smap[k - 1].end, err);
	}
	return rc;
}

static void refuse_watched(struct saver *s, const struct task *task)
{
	const struct page_regions *watched = &task->memory->watched;

	for (size_t i = 0; i < watched->n; i++)
		refuse(s->refusals,
		       "task %d: memory at %#" PRIx64 ": write protection by a userfaultfd is not"
		       " supported",
		       task->pid, watched->v[i].start);
}

/* What was read early may have been so of mappings that are gone, with others in their place. */
static int refused_early(struct saver *s, const struct task *task, size_t refused, struct err *err)
{
	if (!task->memory->early || s->refusals->n == refused)
		return 0;
	return err_set(err, -EAGAIN, "its mappings were not looked at in the freeze");
}

int memory_read(struct saver *s, struct task *task, struct err *err)
{
	scoped_fd pagemap = -1;
	int rc = read_mappings(s, task, err);

	for (size_t i = 0; !rc && i < task->n_vmas; i++)
		vma_read(task, &task->vma[i], &task->memory->smap[i]);
	if (!rc)
		rc = pagemap = proc_pagemap_open(task->proc, err);
	if (rc >= 0)
		rc = look_for_watchers(task, pagemap, err);
	if (!rc)
		rc = find_guards(task, pagemap, err);
	return rc < 0 ? err_add(err, rc, "task %d", task->pid) : 0;
}

int memory_look(struct saver *s, struct task *task, struct err *err)
{
	size_t cap = 0, refused = s->refusals->n;
	int rc;

	refuse_watched(s, task);
	rc = save_vmas(s, task, &cap, err);
	if (!rc) {
		save_guards(task, &cap);
		rc = refused_early(s, task, refused, err);
	}
	return rc < 0 ? err_add(err, rc, "task %d", task->pid) : 0;
}

void memory_save_release(struct saver *s)
{
	struct task *task;

	if (s->memory) {
		memory_late(s, NULL);
		aside_end(&s->memory->reading, NULL);
	}
	for_each_task (task, s->tree)
		memory_of_release(task);
	if (!s->memory)
		return;
	for (size_t i = 0; i < s->memory->n; i++)
		free(s->memory->early[i].v);
	free(s->memory->early);
	free(s->memory->busy);
	spool_free(s->memory->spool);
	precopy_free(s->memory->precopy);
	parents_free(s->memory->parents);
	free(s->memory);
	s->memory = NULL;
}
