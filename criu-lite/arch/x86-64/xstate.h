/*
 * xstate - x87, SSE, AVX and later registers of a thread.
 *
 * The area is in the XSAVE standard format, laid out by CPUID leaf 0xd, which
 * is how ptrace(2) (NT_X86_XSTATE) and signal frames show it. AMX (TILEDATA)
 * needs a permission that only the task itself can ask for; in use it is
 * refused by name, permitted and idle it is passed over.
 */
#ifndef ARCH_XSTATE_H
#define ARCH_XSTATE_H

#include "base/err.h"
#include "proto/core-x86.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define XSTATE_MAX (16 * 1024) /* of an area we take, AMX included */

/* All zeros is empty; release it. */
struct xstate {
	uint8_t *area;
	size_t len;
	uint64_t features; /* that the area has room for */
};

/*
 * How areas are laid out, and who tells: CPUID (false: there is no such leaf) and
 * XCR0, which is asked only where the system has enabled XSAVE.
 */
struct xstate_layout {
	bool xsave;	   /* enabled; without it nobody shows areas in this format */
	uint64_t features; /* XCR0, or x87 and SSE */
	struct {
		uint32_t at, len; /* len 0: none in user state */
	} component[63];
};
struct xstate_processor {
	bool (*cpuid)(uint32_t leaf, uint32_t subleaf, uint32_t r[4]);
	uint64_t (*xcr0)(void);
};
void xstate_layout_ask(struct xstate_layout *out, const struct xstate_processor *cpu);
/* ERR_REFUSED: there is no XSAVE, or registers lie where we would not find them. */
int xstate_layout_check(const struct xstate_layout *l, struct err *err);
/* The same of this machine: before anything is saved or brought back here. */
int xstate_host_check(struct err *err);

/*
 * ERR_REFUSED: the area is of no length that is known, or, as xstate_check says, AMX is
 * in use, or registers in use lie behind its end.
 */
int xstate_get(pid_t tid, struct xstate *x, struct err *err);
int xstate_check(pid_t tid, const struct xstate *x, struct err *err);
void xstate_release(struct xstate *x);

/* XSTATE_BV: the features whose registers are not in their initial state. */
uint64_t xstate_in_use(const struct xstate *x);

/* What a signal frame must hold to bring @x back, and how long that area is. */
uint64_t xstate_frame_features(const struct xstate *x);
size_t xstate_frame_len(const struct xstate *x);

/* XCR0 of this machine, and the length of an area for @features (0: x87 and SSE). */
uint64_t xstate_host_features(void);
size_t xstate_len(uint64_t features);

/*
 * To and from image messages. to_entry fills @entry, which may hold arrays from
 * before, and allocates what protobuf-c frees. from_entry refuses by name what this
 * machine does not have (-EOPNOTSUPP) and arrays of a wrong length (-EINVAL).
 */
void xstate_to_entry(const struct xstate *x, UserX86FpregsEntry *entry);
int xstate_from_entry(struct xstate *x, const UserX86FpregsEntry *entry, struct err *err);

/* The name of a feature by its number, "AVX" for 2. */
const char *xstate_feature_name(unsigned int nr);

#endif
