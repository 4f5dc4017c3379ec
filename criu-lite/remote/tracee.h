/*
 * tracee - one thread held by ptrace(2), and the stops it makes.
 *
 * Stops are judged by what they are, never counted: a group stop comes again
 * after each resume, SIGSTOP cannot be masked, and an interrupt may still be
 * pending when the stop it asked for came for another reason.
 */
#ifndef REMOTE_TRACEE_H
#define REMOTE_TRACEE_H

#include "base/err.h"
#include "criu-lite/arch/x86-64/gadget.h"
#include "criu-lite/arch/x86-64/regs.h"
#include "criu-lite/arch/x86-64/xstate.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct tracee {
	pid_t tid;
	struct regs regs;     /* the thread's own, settled (regs_resume) */
	struct xstate xstate; /* its own */
	uint64_t mask;	      /* its own signal mask */

	bool held;	/* in a stop: ptrace requests work */
	bool gone;	/* it ended */
	bool inside;	/* its registers are ours at the moment */
	int group_stop; /* the signal that stopped its task, or 0 */
	bool owes_stop; /* a SIGSTOP that we kept from it */
	int signal;	/* one that it is about to receive: given back when it goes on */
	bool suspends_seccomp;
	uint8_t call_op;  /* of the call that it makes for us: PTRACE_SYSCALL_INFO_* */
	int64_t call_ret; /* at its exit */
	uint64_t frame;	  /* where its frame lies while it is inside */
};

enum stop {
	STOP_NONE,   /* it runs */
	STOP_EVENT,  /* our interrupt, or a group stop */
	STOP_SIGNAL, /* about to receive .signal */
	STOP_CALL,   /* at a system call: PTRACE_SYSCALL asked for it */
	STOP_GONE,
};

/*
 * Attach and ask to stop; does not wait. -ESRCH: no such thread (any more);
 * -EPERM: the kernel refuses (tracer, exiting, kernel thread, no privilege).
 */
int tracee_seize(struct tracee *t, pid_t tid);
void tracee_interrupt(struct tracee *t);

/* Has it stopped? Never waits. */
enum stop tracee_poll(struct tracee *t);
/* Has it, though wait(2) may not say so yet? To be asked when something takes long. */
bool tracee_ended(struct tracee *t);

/* Wait for the next stop, up to @timeout_ms: -ETIMEDOUT, -ESRCH when it ended. */
int tracee_wait(struct tracee *t, unsigned int timeout_ms, enum stop *stop, struct err *err);

/*
 * Interrupt a running one and wait until it is held, whatever the stop is. Of one that is inside
 * SIGSTOP is kept for later; any other .signal means that it left by itself, and is its own then,
 * or that our code is at fault.
 */
int tracee_hold(struct tracee *t, unsigned int timeout_ms, struct err *err);
/* Only SIGSTOP gets through the mask while our code runs in it: it is given back at the end. */
void tracee_owe_stop(struct tracee *t);
/* It has not left by itself: a .signal that it stopped for is not its own, and an error. */
int tracee_drop_fault(struct tracee *t, struct err *err);

/* Go on with the registers set, and with .signal if there is one. -ESRCH when it ended. */
int tracee_continue(struct tracee *t, struct err *err);

/* Read registers, mask and xstate of a held thread and settle its interrupted call at once. */
int tracee_load(struct tracee *t, uint64_t slept_ns, struct err *err);

/*
 * Everything that we took from it, registers last: were they first, a death of the tool in
 * between would leave it with all signals blocked. Its xstate it has all along: no runner and no
 * call changes that.
 */
int tracee_give_back(struct tracee *t, struct err *err);
int tracee_set_mask(struct tracee *t, uint64_t mask, struct err *err);

/*
 * Make one call through the gadget, with the stack pointer at @sp (see regs_call). Its two
 * stops need not be waited for one after the other: begin the call in many tracees, push
 * each on when it has come to the entry of its call, then end all.
 */
int tracee_call_begin(struct tracee *t, uint64_t gadget, uint64_t sp, const uint64_t nr_args[7],
		      unsigned int timeout_ms, struct err *err);
int tracee_call_push(struct tracee *t, unsigned int timeout_ms, struct err *err);
int tracee_call_end(struct tracee *t, unsigned int timeout_ms, int64_t *ret, struct err *err);

/* Detach a held thread. It owes nothing any more afterwards; one that ended is fine too. */
void tracee_detach(struct tracee *t);
void tracee_free(struct tracee *t);

/* Memory of a stopped task; -EFAULT when a part is not there. */
int task_peek(pid_t pid, uint64_t addr, void *buf, size_t len);
int task_poke(pid_t pid, uint64_t addr, const void *buf, size_t len);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

#endif
