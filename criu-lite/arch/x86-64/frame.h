/*
 * frame - a signal frame that rt_sigreturn(2) makes a thread out of.
 *
 * Registers, signal mask, alternate stack and the whole xstate come back in
 * one instruction that needs nothing but this memory and a way to the call.
 */
#ifndef ARCH_FRAME_H
#define ARCH_FRAME_H

#include "criu-lite/arch/x86-64/regs.h"
#include "criu-lite/arch/x86-64/xstate.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_ALIGN 64

struct frame {
	const struct regs *regs;
	uint64_t mask;
	const struct frame_altstack *altstack; /* NULL: stays what it is */
	const struct xstate *xstate;	       /* NULL: initial state */
	uint64_t flags; /* uc_flags, the first word; any value does, 0 leaves it to the kernel */
};

/* As sigaltstack(2) takes it. */
struct frame_altstack {
	uint64_t sp;
	int32_t flags;
	uint64_t size;
};

#define FRAME_FLAGS 7 /* xstate and stack segment are valid: what the kernel itself writes */

/* Bytes that a frame with @xstate (may be NULL) takes, a multiple of FRAME_ALIGN. */
size_t frame_size(const struct xstate *xstate);

/*
 * Write the frame that will lie at @addr (a multiple of FRAME_ALIGN) to @buf, of
 * frame_size bytes. rt_sigreturn must be called with the stack pointer at
 * @addr. Returns the bytes used.
 */
size_t frame_build(void *buf, uint64_t addr, const struct frame *frame);

#endif
