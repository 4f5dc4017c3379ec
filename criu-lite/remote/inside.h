/*
 * inside - what the parts of this room share about one task: its gadgets, its
 * scratch and its frames. Nobody else includes this.
 */
#ifndef REMOTE_INSIDE_H
#define REMOTE_INSIDE_H

#include "criu-lite/arch/x86-64/runner.h"
#include "criu-lite/proc/maps.h"
#include "criu-lite/remote/crowd.h"
#include "criu-lite/remote/remote.h"
#include "criu-lite/remote/tracee.h"

#include <signal.h>

#define SCRATCH_PAGE 4096
#define MAX_SLOTS    256 /* threads of one group, the leader's slice not counted */

/* Scratch in order: the code page, the board, the slices (the leader's first). */
struct runner_board {
	uint32_t done, target; /* DONE_COUNT, DONE_TARGET */
	uint64_t pad[7];
	uint64_t table[MAX_SLOTS]; /* frames of the threads inside; 0: none */
};
_Static_assert(sizeof(struct runner_board) <= SCRATCH_PAGE, "the board is one page");

struct task_remote {
	struct gadgets gadgets;
	unsigned int timeout_ms;
	unsigned int limit_s; /* a runner waits so long for the tool, then lets its thread go */
	bool protected;	      /* frames are there: it could let itself go */
	bool inside;	      /* the leader has left its own code */
	bool mapped;	      /* scratch is there */
	bool calls;	      /* it makes the call that is being made by many */
	bool lost;	      /* it let itself go while we were not looking */

	uint64_t scratch, scratch_len; /* in the task */
	size_t slots;
	char *mem; /* the same pages in the tool, or NULL */

	uint64_t stack_start;	   /* of the leader's [stack] */
	uint64_t room_lo, room_hi; /* its unused pages; equal: none */
	uint64_t frames_lo;	   /* the lowest page written so far */
	uint64_t leader_page;	   /* holds the leader's two frames */
	uint64_t chain;	     /* stack pointer from which a `ret` unmaps scratch, then is the task */
	uint64_t chain_self; /* the same without unmapping */
};

static inline struct tracee *leader_tracee(const struct task *task)
{
	return task_leader(task)->tracee;
}

/* What the tool changed in itself while it holds a tree. */
struct tree_hold {
	uint64_t since_ns; /* the first interrupt; 0: none yet */
	sigset_t old_mask;
	int old_oom_score_adj;
	bool oom_raised;
};

/* check.c - what cannot be held or could not rescue itself, by name; every thread's status. */
struct sharing;
int check_tree(struct tree *tree, const struct sharing *sharing, bool unprotected,
	       struct refusals *refusals, struct err *err);

/* scratch.c - the two mappings. find chooses the address; map needs the chain to be ready. */
int scratch_find(struct task *task, const struct proc_vma *v, size_t n, struct err *err);
void scratch_map(struct crowd *c);
void scratch_unmap(struct crowd *c);
void scratch_forget(struct task_remote *r); /* the tool's own mapping */

struct runner_board *scratch_board(const struct task_remote *r);
struct runner_slice *scratch_slice(const struct task_remote *r, size_t slot);
uint64_t slice_addr(const struct task_remote *r, size_t slot);
uint64_t board_addr(const struct task_remote *r);

/* room.c - unused pages of the leader's stack. */
/* Asked while it runs, so no more than a hint that room_grow, in the freeze, has something to do. */
bool room_is_scarce(pid_t pid, const struct proc_dir *dir, const struct proc_vma *v, size_t n);
/* Whether it does grow, room_find will see. */
int room_grow(struct task *task, struct err *err);
int room_find(struct task *task, const struct proc_vma *v, size_t n, struct err *err);
/* Write @len bytes of frames, pages from @addr on, marked so that a later dump knows them. */
int room_write(struct task *task, uint64_t addr, char *pages, size_t len, struct err *err);
int room_clear(struct task *task, struct err *err);

/* run.c - plans in slices, and waiting for several threads at once. */
void slice_reset(struct task_remote *r, size_t slot);
int slice_load(struct task_remote *r, size_t slot, struct plan *p, struct err *err);
void slice_store(struct task_remote *r, size_t slot, struct plan *p);
bool slice_gone(const struct task_remote *r, size_t slot);
/* Whether @t, of that slice, has not gone by itself, nor fallen: then an error, without its signal. */
int slice_held(const struct task_remote *r, size_t slot, struct tracee *t, struct err *err);
/* Wait until the board counts all plans as walked, seeing to the stops of @t[0..n). */
int board_wait(struct task *task, struct thread **t, size_t n, struct err *err);
void board_expect(struct task_remote *r, uint32_t target);

#endif
