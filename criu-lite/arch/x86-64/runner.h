/*
 * runner - the instructions inside a tracee that walk a plan.
 *
 * Scratch is one page of code and, behind it, slices: one a thread, each with
 * the thread's plan and what it needs to let itself go. The tool maps the same
 * pages. The runner waits in rt_sigtimedwait(2) with a limit, because that is a
 * sleep which leaves the thread's restart block alone; when it is interrupted it
 * looks at .cmd again; when nobody comes it undoes what is to be undone and
 * returns to the thread by its frame.
 *
 * It starts with the slice's address in %rbx and all signals blocked, touches
 * neither stack nor xstate, and never returns.
 */
#ifndef ARCH_RUNNER_H
#define ARCH_RUNNER_H

#include "criu-lite/arch/x86-64/runner-offsets.h"
#include "criu-lite/remote/plan.h"

#include <stddef.h>
#include <stdint.h>

struct runner_undo {
	uint64_t nr, arg;
};

struct runner_timespec {
	int64_t sec, nsec;
};

struct runner_slice {
	uint32_t cmd;	/* RUNNER_RUN: walk the rows; the runner puts RUNNER_IDLE back */
	uint32_t state; /* RUNNER_DONE, RUNNER_GONE */
	uint64_t count; /* rows */
	struct runner_timespec limit; /* waits so long for the tool */
	uint64_t empty_set;	      /* no signal */
	int64_t kept;		      /* the last result of a row with ROW_KEEP */
	struct runner_timespec grace; /* the leader's last wait for the others */
	uint64_t chain;	    /* leader: stack pointer for sigreturn, on the frame that unmaps */
	uint64_t sigreturn; /* gadgets of the task */
	uint64_t call;
	uint64_t done;	    /* address of the counter of plans walked */
	uint64_t table_len; /* leader: frames of other threads ... */
	uint64_t table;	    /* ... at this address; 0: not the leader */
	uint64_t n_undo;
	uint64_t spare[9]; /* for other runners */
	struct runner_undo undo[SLICE_MAX_UNDO];
	struct plan_row row[PLAN_ROWS];
	char data[PLAN_DATA];
};

#define RUNNER_FIELD(field, at)                                                                    \
	_Static_assert(offsetof(struct runner_slice, field) == (at), "shared with the runner")
RUNNER_FIELD(cmd, SLICE_CMD);
RUNNER_FIELD(state, SLICE_STATE);
RUNNER_FIELD(count, SLICE_COUNT);
RUNNER_FIELD(limit, SLICE_LIMIT);
RUNNER_FIELD(empty_set, SLICE_EMPTY_SET);
RUNNER_FIELD(kept, SLICE_KEPT);
RUNNER_FIELD(grace, SLICE_GRACE);
RUNNER_FIELD(chain, SLICE_CHAIN);
RUNNER_FIELD(sigreturn, SLICE_SIGRETURN);
RUNNER_FIELD(call, SLICE_CALL);
RUNNER_FIELD(done, SLICE_DONE);
RUNNER_FIELD(table_len, SLICE_TABLE_LEN);
RUNNER_FIELD(table, SLICE_TABLE);
RUNNER_FIELD(n_undo, SLICE_N_UNDO);
RUNNER_FIELD(spare, SLICE_SPARE);
RUNNER_FIELD(undo, SLICE_UNDO);
RUNNER_FIELD(row, SLICE_ROWS);
#undef RUNNER_FIELD
_Static_assert(sizeof(struct runner_slice) <= SLICE_SIZE, "a slice is whole pages");
_Static_assert(offsetof(struct plan_row, ret) == ROW_OFF_RET, "shared with the runner");
_Static_assert(offsetof(struct plan_row, undo) == ROW_OFF_UNDO, "shared with the runner");
_Static_assert(offsetof(struct plan_row, flags) == ROW_OFF_FLAGS, "shared with the runner");
_Static_assert(offsetof(struct plan_row, use) == ROW_OFF_USE, "shared with the runner");
_Static_assert(ROW_STOP == 1 && ROW_KEEP == 2, "shared with the runner");

/* The code, to be copied to the start of scratch. */
extern const char runner_start[];
extern const uint32_t runner_len; /* bytes */

#endif
