/*
 * runner-restore - the few instructions that every thread of a tree being built
 * walks, and what its slice of scratch holds besides the plan.
 *
 * Scratch is one shared mapping, made in the tool and inherited by every
 * newborn: the code, then a slice a thread. The tool writes a command into the
 * slice and wakes its futex; no stop is needed. Idle, a newborn sleeps on that
 * word with all signals blocked. At the gate it polls a pipe whose only write
 * end is the tool's: one byte lets all of them go, a close without one ends
 * them all.
 */
#ifndef ARCH_RUNNER_RESTORE_H
#define ARCH_RUNNER_RESTORE_H

#include "criu-lite/arch/x86-64/runner-offsets.h"

/* .cmd, besides RUNNER_IDLE and RUNNER_RUN */
#define RUNNER_GATE  2 /* wait for the byte, then leave */
#define RUNNER_LEAVE 3

/* Where the spare words of a slice are used. */
#define NEWBORN_GATE	  (SLICE_SPARE + 0)
#define NEWBORN_REVENTS	  (SLICE_SPARE + 6)
#define NEWBORN_LEADER	  (SLICE_SPARE + 8)
#define NEWBORN_CERTIFIED (SLICE_SPARE + 12)
#define NEWBORN_INSIDE	  (SLICE_SPARE + 16)
#define NEWBORN_OUT	  (SLICE_SPARE + 24)
#define NEWBORN_OUT_ALONE (SLICE_SPARE + 32)

#ifndef __ASSEMBLER__
#include "criu-lite/arch/x86-64/runner.h"

#include <poll.h>

struct newborn_words {
	struct pollfd gate;
	uint32_t leader;
	/* Of a leader: all other threads are known to be out of scratch, so it may be unmapped. */
	uint32_t certified;
	uint64_t
		inside; /* address of the leader's .others; each thread that leaves takes one off */
	uint64_t out;	/* stack pointer: the frame, or chain of frames, that makes the thread */
	uint64_t out_alone; /* of a leader that is not certified: the chain without the unmapping */
	int32_t others, pad;
	uint32_t count, target; /* what .done points to */
};

struct newborn_slice {
	union {
		struct {
			char before[SLICE_SPARE];
			struct newborn_words own;
		};
		struct runner_slice plan;
		char size[SLICE_SIZE];
	};
	char frame[16384]; /* of a thread that is not the leader */
};
#define NEWBORN_FIELD(field, at)                                                                   \
	_Static_assert(offsetof(struct newborn_slice, own.field) == (at), "shared with the runner")
NEWBORN_FIELD(gate, NEWBORN_GATE);
NEWBORN_FIELD(gate.revents, NEWBORN_REVENTS);
NEWBORN_FIELD(leader, NEWBORN_LEADER);
NEWBORN_FIELD(certified, NEWBORN_CERTIFIED);
NEWBORN_FIELD(inside, NEWBORN_INSIDE);
NEWBORN_FIELD(out, NEWBORN_OUT);
NEWBORN_FIELD(out_alone, NEWBORN_OUT_ALONE);
#undef NEWBORN_FIELD
_Static_assert(sizeof(struct newborn_words) <= sizeof(((struct runner_slice *)0)->spare),
	       "they fit where the other runner has nothing");
_Static_assert(sizeof(struct newborn_slice) % 4096 == 0, "slices are whole pages");

extern const char runner_restore_start[];
extern const uint32_t runner_restore_len; /* bytes */
#endif
#endif
