/*
 * tracker - what one tracker provides: the row of its file in the table of track.c.
 *
 * Functions that a tracker does not need are NULL. They are called in the order
 * of track.h; @t->own is the tracker's, freed by its close.
 */
#ifndef TRACK_TRACKER_H
#define TRACK_TRACKER_H

#include "criu-lite/track/track.h"
#include "images/chain.h"

struct tracker {
	const char *name;
	bool compares;	  /* see track_compares */
	bool arms;	  /* marks pages clean: the armed record is read and written */
	uint64_t written; /* the PAGE_IS_ categories of a written page; 0: there are none */
	/* Does it work here? Tried on ourselves, so that it never has to be believed. */
	int (*probe)(struct err *err);
	int (*open)(struct track *t, struct err *err);
	/*
	 * Before the freeze: arm @task except for the page at @canary, and add what was
	 * written, at most @most pages. What it armed is in @runs, or t->full_reason is set.
	 */
	void (*early)(struct track *t, const struct task *task, uint64_t canary, uint64_t most,
		      struct track_runs *runs);
	/* Nothing more was armed: what @early did is undone, if that is possible. */
	bool (*undo_early)(struct track *t);
	int (*begin)(struct track *t, struct tree *tree, struct err *err);
	/* Is the page at @addr reported written? 1, 0 or a negative errno; nothing is armed. */
	int (*canary)(struct track *t, const struct task *task, uint64_t addr, struct err *err);
	int (*scan)(struct track *t, struct task *task, const struct track_vma *vma, size_t n_vma,
		    struct track_runs *runs, struct err *err);
	int (*arm)(struct track *t, struct task *task, struct batch *batch,
		   const struct track_vma *vma, size_t n_vma, struct err *err);
	bool (*same)(struct track *t, uint64_t object, uint64_t vaddr, const void *page);
	int (*end)(struct track *t, struct tree *tree, struct err *err);
	/* Files of its own, into the checkpoint being built. */
	int (*write)(struct track *t, int dirfd, struct err *err);
	int (*close)(struct track *t, struct tree *tree, bool published, struct err *err);
};

struct track {
	const struct tracker *tracker;
	struct track_request rq; /* its texts are copies, owned */
	char *full_reason;	 /* owned; NULL: an increment */
	char **untracked;	 /* owned: "task 7: why not" */
	size_t n_untracked, cap_untracked;
	SdArmed *found;	  /* the record that was there, owned; NULL: none */
	SdArmed *armed;	  /* the same, if it can be trusted; else NULL */
	SdArmed *next;	  /* what will be written: tasks are added by armed_note */
	uint32_t parent;  /* what an increment would be based on; 0: nothing */
	char *early_tree; /* owned: armed in part before the freeze */
	int notes;	  /* KEEPER_DIR, if the tracker arms */
	bool claimed;	  /* the notes of all tasks that .armed knows are ours already */
	bool scanned;	  /* from here the old record is worth nothing */
	void *own;
};

/* Where @t->parent lies. */
struct chain_at track_parent_at(const struct track *t);

/* Everything is to be written, and why; the first reason given stays. */
void track_set_full(struct track *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* All of @task's pages are written each time, because of what @why says, or else @rc. */
void track_set_untracked(struct track *t, const struct task *task, int rc, struct err *why);

/*
 * Which pages of @v count, by their PAGE_IS_ categories. A guard page is in no run; nor is the
 * zero page where absent means zero as well. In a private file mapping absent means
 * the file's page, so only what was copied counts.
 */
bool track_page_counts(const struct track_vma *v, uint64_t categories);
/*
 * The categories by which it tells, for a return_mask. Not more: to say whether a page is a
 * file's takes the kernel four times as long as all the rest.
 */
uint64_t track_page_kinds(const struct track_vma *v);

struct page_region;

/* Where a task's pages are looked at, and where those that count go. */
struct track_pages {
	int pagemap, mem; /* of /proc/PID; .mem for private mappings of files only */
	struct track_runs *runs;
};

/*
 * Add what counts of @r, a region of @v. A page of a file's mapping that is not present may be
 * none: an armed one that was given back (MADV_DONTNEED, truncation, reclaim) leaves
 * a marker in the page table that looks like an unwritten page in swap.
 */
void track_region_add(const struct track_pages *p, const struct track_vma *v,
		      const struct page_region *r, bool written);

/* Add [start, end), after all that was added before; joins a neighbour of the same kind. */
void track_run_add(struct track_runs *r, uint64_t start, uint64_t end, bool written);

/*
 * The populated pages that count of @vma, all of them as written: what every
 * tracker says in a full dump. Cost follows what is populated, not what is mapped.
 */
int track_populated(struct task *task, const struct track_vma *vma, size_t n_vma,
		    struct track_runs *runs, struct err *err);

extern const struct tracker track_soft_dirty;
extern const struct tracker track_wp_async;
extern const struct tracker track_hash;
extern const struct tracker track_none;

#endif
