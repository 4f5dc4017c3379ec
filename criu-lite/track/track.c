/* track.c - choosing a tracker, and handing every call on to it. */
#include "criu-lite/track/tracker.h"
#include "base/kernel-abi.h"
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/track/armed.h"
#include "images/pagemap.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* Best first: "auto" takes the first that works. */
static const struct tracker *const track_table[] = {
	&track_soft_dirty,
	&track_wp_async,
	&track_hash,
	&track_none,
};

void track_set_full(struct track *t, const char *fmt, ...)
{
	va_list ap;

	if (t->full_reason)
		return;
	va_start(ap, fmt);
	if (vasprintf(&t->full_reason, fmt, ap) < 0)
		abort();
	va_end(ap);
}

void track_set_untracked(struct track *t, const struct task *task, int rc, struct err *why)
{
	if (why->text[0])
		err_add(why, rc, "task %d", task->pid);
	else
		err_code(why, rc, "task %d: userfaultfd", task->pid);
	ARRAY_PUSH(t->untracked, t->n_untracked, t->cap_untracked, xstrdup(why->text));
}

/* The tracker called @name, or the first that works; a probe's words stay in @err. */
static int choose(const char *name, const struct tracker **out, struct err *err)
{
	bool automatic = !strcmp(name, "auto");

	for (size_t i = 0; i < ARRAY_SIZE(track_table); i++) {
		const struct tracker *tracker = track_table[i];
		int rc;

		if (!automatic && strcmp(name, tracker->name))
			continue;
		rc = tracker->probe ? tracker->probe(err) : 0;
		if (rc < 0 && !automatic)
			return err_add(err, rc, "tracker %s", name);
		if (rc < 0)
			continue;
		*out = tracker;
		return 0;
	}
	return err_set(err, -EINVAL, "there is no tracker '%s'", name);
}

const char *track_choice(const char *name)
{
	const struct tracker *tracker = NULL;

	return choose(name, &tracker, NULL) < 0 ? NULL : tracker->name;
}

static void track_free(struct track *t)
{
	armed_release(t);
	free((char *)t->rq.name);
	free((char *)t->rq.chain_id);
	free((char *)t->rq.parent_id);
	free(t->full_reason);
	for (size_t i = 0; i < t->n_untracked; i++)
		free(t->untracked[i]);
	free(t->untracked);
	free(t->early_tree);
	free(t);
}

int track_open(struct track **out, const struct track_request *rq, struct err *err)
{
	const struct tracker *tracker = NULL;
	struct track *t;
	int rc;

	rc = choose(rq->name ? rq->name : "auto", &tracker, err);
	if (rc < 0)
		return rc;
	t = xcalloc(1, sizeof(*t));
	t->tracker = tracker;
	t->rq = *rq;
	t->rq.name = xstrdup(tracker->name);
	t->rq.chain_id = xstrdup(rq->chain_id ? rq->chain_id : "");
	t->rq.parent_id = xstrdup(rq->parent_id ? rq->parent_id : "");
	if (rq->full)
		track_set_full(t, "%s", rq->full);
	rc = armed_open(t, err);
	if (!rc && tracker->open)
		rc = tracker->open(t, err);
	if (rc < 0) {
		track_free(t);
		return err_add(err, rc, "tracker %s", tracker->name);
	}
	*out = t;
	return 0;
}

const char *track_name(const struct track *t)
{
	return t->tracker->name;
}

static uint64_t count_pages(int pagemap, const struct pagemap_query *q)
{
	struct page_regions found = {};
	uint64_t n = 0;

	pagemap_scan(pagemap, 0, PAGEMAP_END - IMG_PAGE_SIZE, q, &found, NULL);
	for (size_t i = 0; i < found.n; i++)
		n += (found.v[i].end - found.v[i].start) / IMG_PAGE_SIZE;
	page_regions_release(&found);
	return n;
}

uint64_t track_expect(const struct track *t, const struct proc_dir *dir, bool armed)
{
	const uint64_t there = PAGE_IS_PRESENT | PAGE_IS_SWAPPED, written = t->tracker->written;
	const struct pagemap_query known = { .mask = written,
					     .anyof = there,
					     .return_mask = written },
				   unknown = { .mask = PAGE_IS_WPALLOWED | PAGE_IS_FILE,
					       .anyof = there,
					       .inverted = PAGE_IS_WPALLOWED | PAGE_IS_FILE,
					       .return_mask = PAGE_IS_FILE };
	scoped_fd pagemap = -1;
	uint64_t n;

	if (t->full_reason || !t->rq.newest || !written)
		return UINT64_MAX;
	pagemap = proc_pagemap_open(dir, NULL);
	if (pagemap < 0)
		return 0;
	n = armed ? 0 : count_pages(pagemap, &known);
	return written & PAGE_IS_WPALLOWED ? n + count_pages(pagemap, &unknown) : n;
}

void track_early(struct track *t, const struct task *task, uint64_t most, struct track_runs *runs)
{
	uint64_t canary;

	if (!t->tracker->early || !armed_early(t, task, &canary))
		return;
	STEP();
	t->tracker->early(t, task, canary, most, runs);
	STEP();
}

const char *track_full_reason(const struct track *t)
{
	return t->rq.newest ? t->full_reason : NULL;
}

size_t track_take_untracked(struct track *t, char ***lines)
{
	size_t n = t->n_untracked;

	*lines = t->untracked;
	t->untracked = NULL;
	t->n_untracked = t->cap_untracked = 0;
	return n;
}

struct chain_at track_parent_at(const struct track *t)
{
	if (t->rq.plain)
		return (struct chain_at) { .dirfd = t->rq.parent_dirfd };
	return (struct chain_at) { .dirfd = t->rq.chain_dirfd, .seq = t->parent };
}

uint32_t track_parent(const struct track *t)
{
	return t->full_reason ? 0 : t->parent;
}

int track_begin(struct track *t, struct tree *tree, struct err *err)
{
	int rc = armed_check(t, tree, err);

	if (!rc && t->tracker->begin)
		rc = t->tracker->begin(t, tree, err);
	return rc;
}

int track_scan(struct track *t, struct task *task, const struct track_vma *vma, size_t n_vma,
	       struct track_runs *runs, struct err *err)
{
	int rc;

	t->scanned = true;
	rc = armed_note(t, task, 0, err);
	STEP();
	if (!rc)
		rc = t->tracker->scan(t, task, vma, n_vma, runs, err);
	STEP();
	if (rc < 0)
		return err_add(err, rc, "tracker %s", t->tracker->name);
	return 0;
}

int track_arm(struct track *t, struct task *task, struct batch *batch, const struct track_vma *vma,
	      size_t n_vma, uint64_t canary, struct err *err)
{
	int rc;

	if (!t->tracker->arm)
		return 0;
	t->scanned = true;
	rc = armed_note(t, task, canary, err);
	STEP();
	if (!rc)
		rc = t->tracker->arm(t, task, batch, vma, n_vma, err);
	STEP();
	if (rc < 0)
		return err_add(err, rc, "task %d: tracker %s", task->pid, t->tracker->name);
	return 0;
}

bool track_compares(const struct track *t)
{
	return t->tracker->compares;
}

bool track_same(struct track *t, uint64_t object, uint64_t vaddr, const void *page)
{
	return t->tracker->same && t->tracker->same(t, object, vaddr, page);
}

int track_end(struct track *t, struct tree *tree, struct err *err)
{
	int rc = armed_set_canaries(t, tree, err);

	if (!rc && t->tracker->end)
		rc = t->tracker->end(t, tree, err);
	return rc;
}

int track_write(struct track *t, int dirfd, struct err *err)
{
	return t->tracker->write ? t->tracker->write(t, dirfd, err) : 0;
}

/* A dump that is given up before it scanned costs the next one nothing. */
static void undo_early(struct track *t)
{
	if (!t->early_tree || t->scanned || !t->tracker->undo_early(t))
		return;
	free(t->early_tree);
	t->early_tree = NULL;
}

int track_close(struct track *t, struct tree *tree, bool published, struct err *err)
{
	int rc;

	if (!published)
		undo_early(t);
	rc = t->tracker->close ? t->tracker->close(t, tree, published, err) : 0;

	STEP();
	if (!rc)
		rc = armed_close(t, published, err);
	STEP();
	track_free(t);
	return rc;
}

bool track_page_counts(const struct track_vma *v, uint64_t categories)
{
	if (categories & PAGE_IS_GUARD)
		return false;
	if (v->shared)
		return true;
	if (v->file)
		return !(categories & PAGE_IS_FILE);
	return !(categories & PAGE_IS_PFNZERO);
}

uint64_t track_page_kinds(const struct track_vma *v)
{
	return v->file ? PAGE_IS_FILE | PAGE_IS_SWAPPED : PAGE_IS_PFNZERO;
}

/* The kernel's number of its own for a marker of write protection, where it shows it. */
#define SWAP_IS_MARKER 31
#define WP_MARKER      (SWAP_IS_MARKER | 1 << 5)

static uint64_t pagemap_entry(const struct track_pages *p, uint64_t at)
{
	uint64_t entry = 0;

	return proc_pagemap_read(p->pagemap, at, 1, &entry, NULL) < 0 ? 0 : entry;
}

/*
 * A copy of its own, and not the file's page? Where frame numbers are hidden, a touch turns a
 * marker into what it stands for; what cannot be read then lies behind the end of the file.
 * Where they are not, what cannot be read counts, so that whoever reads it says so.
 */
static bool is_copy(const struct track_pages *p, uint64_t at)
{
	uint64_t entry = pagemap_entry(p, at);
	bool hidden = !(entry & PME_PFN_MASK);
	char byte;

	if (entry & PME_UFFD_WP && !(entry & PME_PRESENT) && (entry & PME_PFN_MASK) == WP_MARKER)
		return false;
	if (pread(p->mem, &byte, 1, (off_t)at) != 1)
		return !hidden;
	return !(pagemap_entry(p, at) & PME_FILE);
}

void track_region_add(const struct track_pages *p, const struct track_vma *v,
		      const struct page_region *r, bool written)
{
	if (!track_page_counts(v, r->categories))
		return;
	if (!v->file || !(r->categories & PAGE_IS_SWAPPED)) {
		track_run_add(p->runs, r->start, r->end, written);
		return;
	}
	for (uint64_t at = r->start; at < r->end; at += IMG_PAGE_SIZE)
		if (is_copy(p, at))
			track_run_add(p->runs, at, at + IMG_PAGE_SIZE, written);
}

void track_run_add(struct track_runs *r, uint64_t start, uint64_t end, bool written)
{
	struct track_run *last = r->n ? &r->run[r->n - 1] : NULL;

	if (start >= end)
		return;
	if (last && last->end == start && last->written == written) {
		last->end = end;
		return;
	}
	ARRAY_PUSH(r->run, r->n, r->cap,
		   ((struct track_run) { .start = start, .end = end, .written = written }));
}

void track_runs_release(struct track_runs *r)
{
	free(r->run);
	*r = (struct track_runs) {};
}
