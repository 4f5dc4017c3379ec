/* soft_dirty.c - bit 55 of /proc/PID/pagemap, cleared by writing 4 to /proc/PID/clear_refs. */
#include "base/mem.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/track/armed.h"
#include "criu-lite/track/landmarks.h"
#include "criu-lite/track/tracker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE	   4096ull
#define HUGE	   (2ull << 20)
#define READ_PAGES 32768ull
#define THERE	   (PAGE_IS_PRESENT | PAGE_IS_SWAPPED)

static int clear_refs(int fd)
{
	return write(fd, "4", 1) == 1 ? 0 : -errno;
}

/*
 * Many kernels are built without soft-dirty: then writing to clear_refs succeeds
 * and the bit never sets. Only trying it tells.
 */
static int probe_on(char *page, int clear, int pagemap, struct err *err)
{
	uint64_t entry[2];

	page[0] = 1;
	if (clear_refs(clear) < 0)
		return err_errno(err, "clearing soft-dirty bits");
	if (proc_pagemap_read(pagemap, (uintptr_t)page, 1, &entry[0], err) < 0)
		return -EIO;
	page[0] = 2;
	if (proc_pagemap_read(pagemap, (uintptr_t)page, 1, &entry[1], err) < 0)
		return -EIO;
	if (entry[0] & PME_SOFT_DIRTY || !(entry[1] & PME_SOFT_DIRTY))
		return err_set(err, -ENOTSUP, "this kernel is built without soft-dirty tracking");
	if (!(entry[1] & PME_PFN_MASK))
		return err_set(err, -EPERM, "frame numbers are hidden from this user");
	return 0;
}

static int sd_probe(struct err *err)
{
	scoped_fd clear = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	scoped_fd pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *page;
	int rc;

	if (clear < 0 || pagemap < 0)
		return err_errno(err, "opening /proc/self/clear_refs and pagemap");
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return err_errno(err, "mapping a page");
	rc = probe_on(page, clear, pagemap, err);
	munmap(page, PAGE);
	return rc;
}

/* --- scanning ---------------------------------------------------------------------- */

struct scan {
	struct track_pages at;
	int clear;
	bool known;	   /* the parent has this task, and was armed for it */
	uint64_t zero_pfn; /* for by_reading; 0: not looked for yet */
};

/*
 * A read of memory that was given back (MADV_DONTNEED) maps the zero page, clean: it
 * must not pass for what the parent has there. Not every kernel says PAGE_IS_PFNZERO
 * of the huge zero page, so a huge page that begins with zeros counts as
 * written; whoever writes pages looks at all of it.
 */
static bool may_be_zero_page(const struct scan *s, uint64_t at)
{
	uint64_t word = 0;

	return pread(s->at.mem, &word, sizeof(word), at) != sizeof(word) || !word;
}

static void add_clean_huge(const struct scan *s, uint64_t start, uint64_t end)
{
	for (uint64_t at = start, next; at < end; at = next) {
		next = (at | (HUGE - 1)) + 1;
		if (next > end)
			next = end;
		track_run_add(s->at.runs, at, next, may_be_zero_page(s, at));
	}
}

static int by_scan(const struct scan *s, const struct track_vma *v, struct err *err)
{
	const struct pagemap_query q = { .anyof = THERE,
					 .return_mask = track_page_kinds(v) | PAGE_IS_HUGE |
							PAGE_IS_SOFT_DIRTY };
	struct page_regions found = {};
	int rc = pagemap_scan(s->at.pagemap, v->start, v->end, &q, &found, err);

	for (size_t i = 0; rc >= 0 && i < found.n; i++) {
		const struct page_region *r = &found.v[i];
		bool written = !s->known || r->categories & PAGE_IS_SOFT_DIRTY;

		if (written || !(r->categories & PAGE_IS_HUGE))
			track_region_add(&s->at, v, r, written);
		else if (track_page_counts(v, r->categories))
			add_clean_huge(s, r->start, r->end);
	}
	page_regions_release(&found);
	return rc < 0 ? rc : 0;
}

/* The frame of the page that every read of untouched memory maps. */
static uint64_t find_zero_pfn(void)
{
	scoped_fd pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	const volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t entry = 0;

	if (page == MAP_FAILED)
		return 0;
	(void)page[0];
	proc_pagemap_read(pagemap, (uintptr_t)page, 1, &entry, NULL);
	munmap((void *)page, PAGE);
	return entry & PME_PFN_MASK;
}

/* The huge zero page is the one in anonymous memory that is no anonymous page. */
static bool is_zero_page(const struct scan *s, const struct track_vma *v, uint64_t entry)
{
	if (!(entry & PME_PRESENT) || entry & PME_EXCLUSIVE)
		return false;
	if (entry & PME_FILE)
		return !v->file;
	return (entry & PME_PFN_MASK) == s->zero_pfn;
}

static void add_entry(const struct scan *s, const struct track_vma *v, uint64_t at, uint64_t entry)
{
	const struct page_region page = {
		.start = at,
		.end = at + PAGE,
		.categories = (entry & PME_FILE ? PAGE_IS_FILE : 0) |
			      (entry & PME_SWAPPED ? PAGE_IS_SWAPPED : 0) |
			      (is_zero_page(s, v, entry) ? PAGE_IS_PFNZERO : 0),
	};

	if (entry & (PME_PRESENT | PME_SWAPPED))
		track_region_add(&s->at, v, &page, !s->known || entry & PME_SOFT_DIRTY);
}

/* Kernels whose PAGEMAP_SCAN does not know soft-dirty, or that have none. */
static int by_reading(const struct scan *s, const struct track_vma *v, struct err *err)
{
	scoped uint64_t *entry = xcalloc(READ_PAGES, sizeof(*entry));

	for (uint64_t at = v->start; at < v->end; at += READ_PAGES * PAGE) {
		uint64_t n = (v->end - at) / PAGE < READ_PAGES ? (v->end - at) / PAGE : READ_PAGES;
		int rc = proc_pagemap_read(s->at.pagemap, at, n, entry, err);

		if (rc < 0)
			return rc;
		for (uint64_t i = 0; i < n; i++)
			add_entry(s, v, at + i * PAGE, entry[i]);
	}
	return 0;
}

static int scan_vma(struct scan *s, const struct track_vma *v, struct err *err)
{
	int rc = by_scan(s, v, err);

	if (rc != -ENOTTY && rc != -EINVAL && rc != -EPERM)
		return rc;
	if (!s->zero_pfn)
		s->zero_pfn = find_zero_pfn();
	return by_reading(s, v, err);
}

/* What was in the page tables then, and what the next scan must find there. */
static int clear_and_note(struct scan *s, SdArmedTask *next, struct err *err)
{
	struct landmarks l = {};
	int rc = clear_refs(s->clear);

	if (rc < 0)
		return err_code(err, rc, "clearing soft-dirty bits");
	rc = landmarks_take(&l, s->at.pagemap, s->at.runs, err);
	next->landmarks = l.v;
	next->n_landmarks = l.n;
	return rc;
}

static int scan_all(struct scan *s, const struct track_vma *vma, size_t n_vma,
		    const SdArmedTask *then, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < n_vma; i++)
		rc = scan_vma(s, &vma[i], err);
	if (!rc && s->known) {
		const struct landmarks l = { .v = then->landmarks, .n = then->n_landmarks };

		rc = landmarks_doubt(&l, s->at.pagemap, s->at.runs, err);
	}
	return rc;
}

static int open_scan(struct scan *s, const struct task *task, struct err *err)
{
	s->at.pagemap = proc_openat(task->proc, "pagemap", O_RDONLY);
	s->clear = proc_openat(task->proc, "clear_refs", O_WRONLY);
	s->at.mem = proc_openat(task->proc, "mem", O_RDONLY);
	if (s->at.pagemap < 0 || s->clear < 0 || s->at.mem < 0)
		return err_set(err, -EACCES, "cannot open pagemap, clear_refs and mem");
	return 0;
}

static void close_scan(struct scan *s)
{
	int fd[] = { s->at.pagemap, s->clear, s->at.mem };

	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

static int sd_scan(struct track *t, struct task *task, const struct track_vma *vma, size_t n_vma,
		   struct track_runs *runs, struct err *err)
{
	struct scan s = { .at.runs = runs,
			  .known = !t->full_reason && armed_knows(t->armed, task) };
	int rc = open_scan(&s, task, err);

	if (!rc)
		rc = scan_all(&s, vma, n_vma, armed_task(t->armed, task->pid), err);
	if (!rc)
		rc = clear_and_note(&s, armed_task(t->next, task->pid), err);
	close_scan(&s);
	return rc < 0 ? err_add(err, rc, "task %d", task->pid) : 0;
}

static int sd_arm(struct track *t, struct task *task, struct batch *batch,
		  const struct track_vma *vma, size_t n_vma, struct err *err)
{
	struct track_runs all = {};
	struct scan s = { .at.runs = &all };
	int rc = open_scan(&s, task, err);

	if (!rc)
		rc = track_populated(task, vma, n_vma, &all, err);
	if (!rc)
		rc = clear_and_note(&s, armed_task(t->next, task->pid), err);
	close_scan(&s);
	track_runs_release(&all);
	return rc;
}

static int sd_canary(struct track *t, const struct task *task, uint64_t addr, struct err *err)
{
	scoped_fd pagemap = proc_pagemap_open(task->proc, err);
	uint64_t entry = 0;
	int rc = pagemap < 0 ? pagemap
			     : proc_pagemap_read(pagemap, addr & ~(PAGE - 1), 1, &entry, err);

	return rc < 0 ? rc : !!(entry & PME_SOFT_DIRTY);
}

const struct tracker track_soft_dirty = {
	.name = "soft-dirty",
	.arms = true,
	.written = PAGE_IS_SOFT_DIRTY,
	.probe = sd_probe,
	.canary = sd_canary,
	.scan = sd_scan,
	.arm = sd_arm,
};
