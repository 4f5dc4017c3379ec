/*
 * sigmask.c - blocked signals. Read while the thread is merely stopped, before
 * anything of ours runs in it; given back by the frame it leaves through.
 */
#include "criu-lite/remote/tracee.h"
#include "criu-lite/task/kinds.h"

#include <signal.h>
#include <sys/ptrace.h>

static int sigmask_look(struct saver *s, struct thread *t, struct err *err)
{
	uint64_t mask = 0;

	/* Of a thread in sigsuspend(2) and its kin this is the mask that the call will put back. */
	if (t->tracee)
		mask = t->tracee->mask;
	else if (ptrace(PTRACE_GETSIGMASK, t->tid, sizeof(mask), &mask) < 0)
		return err_errno(err, "read the signal mask");
	if (t->core->tc) {
		t->core->tc->blk_sigset = mask;
	} else {
		t->core->thread_core->has_blk_sigset = true;
		t->core->thread_core->blk_sigset = mask;
	}
	return 0;
}

const struct task_kind kind_sigmask = {
	.name = "signal mask",
	.every_thread = true,
	.look = sigmask_look,
};
