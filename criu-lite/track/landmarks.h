/*
 * landmarks - pages whose frames tell whether a page table is where it was.
 *
 * Soft-dirty bits live in page tables, and mremap(2) moves a whole table (2 MiB)
 * where it can, looking at no entry: pages that are clean at the place they
 * came from then pass for clean at the place they went to. The kernel tells
 * nobody. So a few pages of every table are written down with their frame
 * numbers when the tracker is armed. While one of them is clean and in its frame, its
 * table has not moved: a page in that frame that is clean now is the one that
 * was there then. A block without such a page (its landmarks were all written,
 * or migrated) is not believed, which costs writing it, and nothing else.
 *
 * Frame numbers are seen by CAP_SYS_ADMIN only; see proc_pid_pagemap(5).
 */
#ifndef TRACK_LANDMARKS_H
#define TRACK_LANDMARKS_H

#include "criu-lite/track/track.h"

/* Pairs of address and frame number, ascending. Owned by the caller. */
struct landmarks {
	uint64_t *v;
	size_t n, cap; /* numbers, two a landmark */
};

/* Choose landmarks among the pages of @runs, at the moment of arming. */
int landmarks_take(struct landmarks *l, int pagemap, const struct track_runs *runs,
		   struct err *err);
/* What @runs calls unwritten becomes written where no landmark of @l vouches for it. */
int landmarks_doubt(const struct landmarks *l, int pagemap, struct track_runs *runs,
		    struct err *err);

#endif
