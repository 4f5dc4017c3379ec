/*
 * regs - the general registers of a stopped thread.
 *
 * Interrupted calls: a thread that PTRACE_INTERRUPT pulled out of a sleeping
 * call stands behind its syscall instruction with a restart code, or with
 * -EINTR where the kernel knows no better. Three readers want three answers:
 * the kernel when the thread goes on (regs_resume), a signal frame that may be
 * all that is left of us (regs_for_frame), and an image (regs_for_image).
 *
 * Functions that can fail return 0 or a negative errno and fill @err.
 */
#ifndef ARCH_REGS_H
#define ARCH_REGS_H

#include "base/err.h"
#include "proto/core-x86.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct regs {
	struct user_regs_struct user; /* as PTRACE_GETREGS gives it */
};

int regs_get(pid_t tid, struct regs *regs, struct err *err);
int regs_set(pid_t tid, const struct regs *regs, struct err *err);
/* Nothing but where it goes on, in less than half the time. Not for one that stopped in a call. */
int regs_set_ip(pid_t tid, uint64_t ip, struct err *err);

/* 64-bit code? False for 32-bit and, inside a call, for x32. */
bool regs_native(const struct regs *regs);

static inline uint64_t regs_ip(const struct regs *regs)
{
	return regs->user.rip;
}
static inline uint64_t regs_sp(const struct regs *regs)
{
	return regs->user.rsp;
}
static inline int64_t regs_result(const struct regs *regs)
{
	return (int64_t)regs->user.rax;
}
static inline void regs_jump(struct regs *regs, uint64_t ip)
{
	regs->user.rip = ip;
}

/* Did it stop inside a system call? */
bool regs_in_call(const struct regs *regs);

/* Was the thread pulled out of a system call that it must go back into? */
bool regs_interrupted(const struct regs *regs);

/*
 * What to give back to the kernel. -EINTR from a call that has no restart code
 * of its own becomes ERESTARTNOHAND: gone on with unless a handler runs, as if
 * the call had been asleep all along. @slept_ns is taken off epoll_wait's
 * timeout, the one that lies in a register. All else is the kernel's to finish.
 * Returns whether anything was changed.
 */
bool regs_resume(struct regs *regs, uint64_t slept_ns);

/* The thread on its own, without a restart block: what a sigreturn frame holds. */
void regs_for_frame(struct regs *regs);

/* The same for an image: a call with a restart block begins again in full. */
void regs_for_image(struct regs *regs);

/* Copy @len bytes at @addr of the thread to @buf: 0, or not all is there. */
typedef int regs_peek_fn(void *arg, uint64_t addr, void *buf, size_t len);

/*
 * A call with a restart block that an earlier stop had interrupted already goes by the name
 * of restart_syscall. Find out which it was from the code in front of it, or from
 * what its arguments point to. False: it could not be told, and regs_for_image
 * makes it return EINTR.
 */
bool regs_name_call(struct regs *regs, regs_peek_fn *peek, void *arg);

/* Does call @nr sleep with a timeout that lies in a register (epoll_wait)? */
bool syscall_timeout_in_register(int64_t nr);

/* All zeros, but for the segments of 64-bit code. */
void regs_blank(struct regs *regs);

/* Run at @ip with the slice in the runner's register, on the stack @sp; @old gives segments. */
void regs_run_at(struct regs *regs, const struct regs *old, uint64_t ip, uint64_t slice,
		 uint64_t sp);

/* One call through the `syscall; ret` at @gadget; `ret` finds its address at @sp. */
void regs_call(struct regs *regs, const struct regs *old, uint64_t gadget, uint64_t sp,
	       const uint64_t nr_args[7]);

/*
 * In front of `call *%rax` at @call, to push into the word below @sp and land in @sigreturn; or,
 * after regs_set_ip, to run with @slice as regs_run_at has it.
 */
void regs_park(struct regs *regs, const struct regs *old, uint64_t call, uint64_t sigreturn,
	       uint64_t slice, uint64_t sp);

/* At the sigreturn sequence, with @sp on the frame. */
void regs_sigreturn(struct regs *regs, const struct regs *old, uint64_t sigreturn, uint64_t sp);

/* To and from image messages, fs_base and gs_base included. */
void regs_to_entry(const struct regs *regs, UserX86RegsEntry *entry);
void regs_from_entry(struct regs *regs, const UserX86RegsEntry *entry);

#endif
