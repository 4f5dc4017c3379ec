/*
 * pagemap - /proc/PID/pagemap (proc_pid_pagemap(5)): which pages are there, in
 * swap, soft-dirty; and PAGEMAP_SCAN (kernel 6.7 and later), the fast way to ask.
 */
#ifndef PROC_PAGEMAP_H
#define PROC_PAGEMAP_H

#include "base/kernel-abi.h"
#include "criu-lite/proc/proc.h"

/* Bits of an entry. */
#define PME_PRESENT    (1ull << 63)
#define PME_SWAPPED    (1ull << 62)
#define PME_FILE       (1ull << 61) /* file-mapped or shared anonymous */
#define PME_GUARD      (1ull << 58) /* since 6.15 */
#define PME_UFFD_WP    (1ull << 57)
#define PME_EXCLUSIVE  (1ull << 56)
#define PME_SOFT_DIRTY (1ull << 55)
#define PME_PFN_MASK   ((1ull << 55) - 1) /* 0 without CAP_SYS_ADMIN */

/* A descriptor for the functions below, or a negative errno. The caller closes it. */
int proc_pagemap_open(const struct proc_dir *dir, struct err *err);

/*
 * The entries of @n_pages pages from @start (page-aligned). Past the end of the
 * address space, and in a recorded tree, missing entries read as 0 (absent).
 */
int proc_pagemap_read(int pagemap_fd, uint64_t start, size_t n_pages, uint64_t *entries,
		      struct err *err);

/* Ranges of pages, in order; neighbours with equal categories are one. All zeros is empty. */
struct page_regions {
	struct page_region *v;
	size_t n, cap;
};

void page_regions_release(struct page_regions *regions);

/* What to look for, as in the kernel's struct pm_scan_arg. */
struct pagemap_query {
	uint64_t flags; /* PM_SCAN_* */
	uint64_t mask;	/* PAGE_IS_*: all of them */
	uint64_t anyof; /* one of them, unless 0 */
	uint64_t inverted;
	uint64_t return_mask;
	uint64_t max_pages; /* it ends after as many; 0: does not */
};

/*
 * Append all regions of [@start, @end) that match. Calls the kernel as often as it takes.
 * With PM_SCAN_WP_MATCHING a failure in the middle leaves a part re-armed:
 * what was found up to there is in @out all the same, so that no written page is lost.
 * -ENOTTY: this kernel has no PAGEMAP_SCAN. -EPERM (CHECK_WPASYNC): the range holds memory
 * that is not registered.
 */
int pagemap_scan(int pagemap_fd, uint64_t start, uint64_t end, const struct pagemap_query *query,
		 struct page_regions *out, struct err *err);

#endif
