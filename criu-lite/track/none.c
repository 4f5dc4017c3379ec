/* none.c - the tracker that tracks nothing: every populated page, every time. */
#include "criu-lite/track/tracker.h"
#include "base/mem.h"
#include "criu-lite/proc/pagemap.h"

#include <errno.h>
#include <fcntl.h>

#define PAGE	   4096ull
#define READ_PAGES 32768ull /* of the pagemap file at a time: 256 KiB */
#define THERE	   (PAGE_IS_PRESENT | PAGE_IS_SWAPPED)
#define KINDS	   (THERE | PAGE_IS_FILE | PAGE_IS_PFNZERO)

/* One walk over the whole address space costs less than a call a mapping. */
static int by_scan(const struct track_pages *p, const struct track_vma *vma, size_t n_vma,
		   struct err *err)
{
	struct pagemap_query q = { .anyof = THERE, .return_mask = KINDS | PAGE_IS_GUARD };
	struct page_regions found = {};
	size_t at = 0;
	int rc;

	rc = pagemap_scan(p->pagemap, vma[0].start, vma[n_vma - 1].end, &q, &found, err);
	if (rc == -EINVAL) { /* before 6.15 there is no PAGE_IS_GUARD */
		q.return_mask = KINDS;
		found.n = 0;
		rc = pagemap_scan(p->pagemap, vma[0].start, vma[n_vma - 1].end, &q, &found, err);
	}
	for (size_t i = 0; rc >= 0 && i < found.n; i++) {
		const struct page_region *r = &found.v[i];

		while (at < n_vma && vma[at].end <= r->start)
			at++;
		for (size_t k = at; k < n_vma && vma[k].start < r->end; k++) {
			const struct page_region part = {
				.start = vma[k].start > r->start ? vma[k].start : r->start,
				.end = vma[k].end < r->end ? vma[k].end : r->end,
				.categories = r->categories,
			};

			track_region_add(p, &vma[k], &part, true);
		}
	}
	page_regions_release(&found);
	return rc < 0 ? rc : 0;
}

static uint64_t categories_of(uint64_t entry)
{
	return (entry & PME_PRESENT ? PAGE_IS_PRESENT : 0) |
	       (entry & PME_SWAPPED ? PAGE_IS_SWAPPED : 0) | (entry & PME_FILE ? PAGE_IS_FILE : 0) |
	       (entry & PME_GUARD ? PAGE_IS_GUARD : 0);
}

/* Kernels before 6.7: the pagemap file, in large blocks. */
static int by_reading(const struct track_pages *p, const struct track_vma *v, struct err *err)
{
	scoped uint64_t *entry = xcalloc(READ_PAGES, sizeof(*entry));

	for (uint64_t at = v->start; at < v->end; at += READ_PAGES * PAGE) {
		uint64_t n = (v->end - at) / PAGE;
		int rc;

		if (n > READ_PAGES)
			n = READ_PAGES;
		rc = proc_pagemap_read(p->pagemap, at, n, entry, err);
		if (rc < 0)
			return rc;
		for (uint64_t i = 0; i < n; i++) {
			const struct page_region page = {
				.start = at + i * PAGE,
				.end = at + (i + 1) * PAGE,
				.categories = categories_of(entry[i]),
			};

			if (page.categories & THERE)
				track_region_add(p, v, &page, true);
		}
	}
	return 0;
}

int track_populated(struct task *task, const struct track_vma *vma, size_t n_vma,
		    struct track_runs *runs, struct err *err)
{
	struct track_pages p = { .runs = runs };
	scoped_fd pagemap = -1, mem = -1;
	int rc;

	if (!n_vma)
		return 0;
	pagemap = p.pagemap = proc_pagemap_open(task->proc, err);
	if (pagemap < 0)
		return pagemap;
	mem = p.mem = proc_openat(task->proc, "mem", O_RDONLY);
	if (mem < 0)
		return err_code(err, mem, "opening mem");
	rc = by_scan(&p, vma, n_vma, err);
	if (rc != -ENOTTY)
		return rc;
	rc = 0;
	for (size_t i = 0; !rc && i < n_vma; i++)
		rc = by_reading(&p, &vma[i], err);
	return rc;
}

static int none_open(struct track *t, struct err *err)
{
	track_set_full(t, "the tracker 'none' writes every page");
	return 0;
}

static int none_scan(struct track *t, struct task *task, const struct track_vma *vma, size_t n_vma,
		     struct track_runs *runs, struct err *err)
{
	return track_populated(task, vma, n_vma, runs, err);
}

const struct tracker track_none = {
	.name = "none",
	.open = none_open,
	.scan = none_scan,
};
