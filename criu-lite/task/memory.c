/* memory.c - looking at the memory of frozen tasks: VMAs, their flags, guard pages. */
#include "criu-lite/task/memory.h"
#include "base/mem.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/task/memory_vma.h"

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
	if (!task->memory)
		task->memory = xcalloc(1, sizeof(*task->memory));
	return task->memory;
}

void memory_of_release(struct task *task)
{
	struct task_memory *m = task->memory;

	if (!m)
		return;
	for (size_t i = 0; i < m->n_files; i++)
		free(m->file[i].path);
	free(m->file);
	free(m->early);
	page_sources_release(&m->src);
	free(m);
	task->memory = NULL;
}

/* --- smaps: before the freeze, frozen, after the thaw ------------------------------ */

int memory_early(struct saver *s, struct task *task, struct err *err)
{
	struct task_memory *m = memory_of(task);

	free(m->early);
	m->early = NULL;
	m->n_early = 0;
	return proc_smaps_read(task->proc, &m->early, &m->n_early, err);
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

/*
 * The smaps that belong to @vma: those read early if no border has moved since
 * (memory_late will tell whether the flags held still as well), else read now.
 */
static int smaps_for(struct task *task, const struct proc_vma *vma, size_t n, struct err *err)
{
	struct task_memory *m = memory_of(task);
	int rc;

	m->early_used = m->early && same_ranges(m->early, m->n_early, vma, n);
	if (m->early_used)
		return 0;
	rc = memory_early(NULL, task, err);
	if (rc < 0)
		return rc;
	if (!same_ranges(m->early, m->n_early, vma, n))
		return err_set(err, -EAGAIN, "the mappings change although the task is stopped");
	return 0;
}

/* A counter may have moved; what was said of the mapping must not. */
#define FLAGS_THAT_STAY (~(VMF_BIT(VMF_SD) | VMF_BIT(VMF_UW) | VMF_BIT(VMF_GU)))

static int still_the_same(struct task *task, struct err *err)
{
	struct task_memory *m = task->memory;
	scoped struct proc_smap *now = NULL;
	size_t n, k = 0;
	int rc = proc_smaps_read(task->proc, &now, &n, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < m->n_early; i++) {
		const struct proc_smap *then = &m->early[i];

		while (k < n && now[k].start < then->start)
			k++;
		if (k == n || now[k].start != then->start || now[k].end != then->end ||
		    ((now[k].flags ^ then->flags) & FLAGS_THAT_STAY))
			return err_set(err, -EAGAIN,
				       "the mapping at %#" PRIx64 " changed while it was saved",
				       then->start);
	}
	return 0;
}

int memory_late(struct saver *s, struct err *err)
{
	struct task *task;

	for_each_live_task (task, s->tree) {
		int rc;

		if (!task->memory || !task->memory->early_used)
			continue;
		rc = still_the_same(task, err);
		if (rc < 0)
			return err_add(err, rc, "task %d", task->pid);
	}
	return 0;
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

/* Images know locked or not; that pages are locked only when they come is our own addition. */
static void note_on_fault(struct task *task, uint64_t start, uint64_t end)
{
	struct thread *t = task_leader(task);
	SdRange *r = xmalloc(sizeof(*r));

	sd_range__init(r);
	r->start = start;
	r->end = end;
	if (!t->extra)
		t->extra = extra_new(t);
	t->extra->locked_on_fault = xreallocarray(t->extra->locked_on_fault,
						  t->extra->n_locked_on_fault + 1, sizeof(r));
	t->extra->locked_on_fault[t->extra->n_locked_on_fault++] = r;
}

static int save_vmas(struct saver *s, struct task *task, const struct proc_vma *vma, size_t n,
		     size_t *cap, struct err *err)
{
	MmEntry *mm = memory_mm(task);

	for (size_t i = 0; i < n; i++) {
		VmaEntry *e;
		int rc = vma_save(s, task, &vma[i], &task->memory->early[i], &e, err);

		if (rc < 0)
			return err_add(err, rc, "memory at %#" PRIx64, vma[i].start);
		if (task->memory->early[i].flags & VMF_BIT(VMF_LF))
			note_on_fault(task, vma[i].start, vma[i].end);
		if (e && joins_last(mm, e)) {
			mm->vmas[mm->n_vmas - 1]->end = e->end;
			free(e);
		} else if (e) {
			add_vma(mm, cap, e);
		}
	}
	return 0;
}

/* Kernels that have no guard pages, or no way to see them, find none. */
static int save_guards(struct task *task, size_t *cap, struct err *err)
{
	struct pagemap_query q = { .mask = PAGE_IS_GUARD, .return_mask = PAGE_IS_GUARD };
	struct page_regions found = {};
	scoped_fd fd = -1;
	int rc;

	fd = proc_pagemap_open(task->proc, err);
	if (fd < 0)
		return fd;
	rc = pagemap_scan(fd, 0, USER_END, &q, &found, err);
	if (rc == -ENOTTY || rc == -EINVAL)
		rc = 0;
	for (size_t i = 0; rc >= 0 && i < found.n; i++)
		add_vma(task->mm, cap, vma_guard(found.v[i].start, found.v[i].end));
	page_regions_release(&found);
	return rc < 0 ? rc : 0;
}

int memory_look(struct saver *s, struct task *task, struct err *err)
{
	scoped struct proc_vma *vma = NULL;
	size_t n, cap = 0;
	int rc;

	rc = proc_maps_read(task->proc, &vma, &n, err);
	if (!rc)
		rc = smaps_for(task, vma, n, err);
	if (!rc)
		rc = save_vmas(s, task, vma, n, &cap, err);
	if (!rc)
		rc = save_guards(task, &cap, err);
	if (rc < 0)
		return err_add(err, rc, "task %d", task->pid);
	return 0;
}

void memory_save_release(struct saver *s)
{
	struct task *task;

	for_each_task (task, s->tree)
		memory_of_release(task);
}
