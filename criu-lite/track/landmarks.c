/* landmarks.c - pages whose frames tell whether a page table is where it was. */
#include "criu-lite/track/landmarks.h"
#include "base/mem.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/track/tracker.h"

#define PAGE  4096ull
#define BLOCK (2ull << 20) /* what one page table maps */

enum { PER_BLOCK = 4 };

static uint64_t block_of(uint64_t at)
{
	return at & ~(BLOCK - 1);
}

/* The part of [at, end) that lies in the block of @at ends here. */
static uint64_t block_end(uint64_t at, uint64_t end)
{
	uint64_t next = block_of(at) + BLOCK;

	return next < end ? next : end;
}

/* --- when arming -------------------------------------------------------------------- */

static size_t taken_in(const struct landmarks *l, uint64_t block)
{
	size_t n = 0;

	while (2 * n < l->n && block_of(l->v[l->n - 2 * n - 2]) == block)
		n++;
	return n;
}

static int take_page(struct landmarks *l, int pagemap, uint64_t at, struct err *err)
{
	uint64_t entry;
	int rc = proc_pagemap_read(pagemap, at, 1, &entry, err);

	if (rc < 0 || !(entry & PME_PRESENT) || !(entry & PME_PFN_MASK))
		return rc;
	ARRAY_PUSH(l->v, l->n, l->cap, at);
	ARRAY_PUSH(l->v, l->n, l->cap, entry & PME_PFN_MASK);
	return 0;
}

/* Far from each other, since what is written is often written side by side. */
static int take_piece(struct landmarks *l, int pagemap, uint64_t start, uint64_t end,
		      struct err *err)
{
	uint64_t pages = (end - start) / PAGE;
	size_t room = PER_BLOCK - taken_in(l, block_of(start));
	int rc = 0;

	if (room > pages)
		room = pages;
	for (size_t i = 0; !rc && i < room; i++)
		rc = take_page(l, pagemap, start + pages * i / room * PAGE, err);
	return rc;
}

int landmarks_take(struct landmarks *l, int pagemap, const struct track_runs *runs, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < runs->n; i++)
		for (uint64_t at = runs->run[i].start, upto; !rc && at < runs->run[i].end;
		     at = upto) {
			upto = block_end(at, runs->run[i].end);
			rc = take_piece(l, pagemap, at, upto, err);
		}
	return rc;
}

/* --- when looking ---------------------------------------------------------------------- */

struct doubt {
	const struct landmarks *l;
	int pagemap;
	size_t at;	/* landmarks before it lie below what is looked at */
	uint64_t block; /* that was looked at last; its answer: */
	bool stands;
};

/* 1: the page table of @block is where it was. */
static int look(struct doubt *d, uint64_t block, struct err *err)
{
	while (d->at + 1 < d->l->n && d->l->v[d->at] < block)
		d->at += 2;
	for (size_t i = d->at; i + 1 < d->l->n && block_of(d->l->v[i]) == block; i += 2) {
		uint64_t entry;
		int rc = proc_pagemap_read(d->pagemap, d->l->v[i], 1, &entry, err);

		if (rc < 0)
			return rc;
		if (entry & PME_PRESENT && !(entry & PME_SOFT_DIRTY) &&
		    (entry & PME_PFN_MASK) == d->l->v[i + 1])
			return 1;
	}
	return 0;
}

static int stands(struct doubt *d, uint64_t block, struct err *err)
{
	int rc;

	if (block == d->block)
		return d->stands;
	rc = look(d, block, err);
	d->block = block;
	d->stands = rc > 0;
	return rc;
}

static int doubt_run(struct doubt *d, const struct track_run *r, struct track_runs *out,
		     struct err *err)
{
	for (uint64_t at = r->start, upto; at < r->end; at = upto) {
		int rc = stands(d, block_of(at), err);

		if (rc < 0)
			return rc;
		upto = block_end(at, r->end);
		track_run_add(out, at, upto, !rc);
	}
	return 0;
}

int landmarks_doubt(const struct landmarks *l, int pagemap, struct track_runs *runs,
		    struct err *err)
{
	struct doubt d = { .l = l, .pagemap = pagemap, .block = UINT64_MAX };
	struct track_runs out = {};
	int rc = 0;

	for (size_t i = 0; !rc && i < runs->n; i++) {
		const struct track_run *r = &runs->run[i];

		if (r->written)
			track_run_add(&out, r->start, r->end, true);
		else
			rc = doubt_run(&d, r, &out, err);
	}
	track_runs_release(runs);
	*runs = out;
	return rc;
}
