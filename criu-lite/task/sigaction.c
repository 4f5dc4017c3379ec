/* sigaction.c - signal handlers: rt_sigaction(2) of every signal, asked and set inside. */
#include "base/mem.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <signal.h>

enum { N_SIGNALS = 64, N_ACTIONS = 62 };

/* The kernel's own layout, which is not that of libc. */
struct kernel_sigaction {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};
_Static_assert(sizeof(struct kernel_sigaction) == 32, "layout of rt_sigaction(2)");

/* The signals in image order: all but the two that cannot be caught. */
static int signal_of(size_t i)
{
	int sig = (int)i + 1;

	if (sig >= SIGKILL)
		sig++;
	if (sig >= SIGSTOP)
		sig++;
	return sig;
}

static uint64_t sigaction_ask(struct thread *t, struct plan *p)
{
	size_t first = p->n;

	for (size_t i = 0; i < N_ACTIONS; i++) {
		uint64_t at = plan_put(p, NULL, sizeof(struct kernel_sigaction));

		plan_add(p, PLAN_MUST, "ask for a signal handler", SYS_rt_sigaction,
			 (uint64_t)signal_of(i), 0, at, sizeof(uint64_t));
	}
	return first;
}

static int sigaction_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			  struct err *err)
{
	TaskCoreEntry *tc = t->core->tc;

	tc->sigactions = xcalloc(N_ACTIONS, sizeof(*tc->sigactions));
	for (size_t i = 0; i < N_ACTIONS; i++) {
		const struct kernel_sigaction *sa = row_answer(p, asked + i, 2);
		SaEntry *e = xmalloc(sizeof(*e));

		sa_entry__init(e);
		e->sigaction = sa->handler;
		e->flags = sa->flags;
		e->restorer = sa->restorer;
		e->mask = sa->mask;
		tc->sigactions[tc->n_sigactions++] = e;
	}
	return 0;
}

static int sigaction_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			     struct err *err)
{
	const TaskCoreEntry *tc = t->core->tc;

	if (tc->n_sigactions != N_ACTIONS)
		return err_set(err, -EBADMSG, "task %d: %zu signal handlers, not %d", t->task->pid,
			       tc->n_sigactions, N_ACTIONS);
	for (size_t i = 0; i < N_ACTIONS; i++) {
		const SaEntry *e = tc->sigactions[i];
		struct kernel_sigaction sa = { e->sigaction, e->flags, e->restorer, e->mask };
		int rc = batch_room(batch, 1, sizeof(sa), err);

		if (rc < 0)
			return rc;
		if (e->has_compat_sigaction && e->compat_sigaction)
			return err_set(err, ERR_REFUSED,
				       "task %d: 32-bit signal handlers are not supported",
				       t->task->pid);
		plan_add(&batch->plan, PLAN_MUST, "set a signal handler", SYS_rt_sigaction,
			 (uint64_t)signal_of(i), plan_put(&batch->plan, &sa, sizeof(sa)), 0,
			 sizeof(uint64_t));
	}
	return 0;
}

const struct task_kind kind_sigaction = {
	.name = "signal handlers",
	.stage = STAGE_STATE,
	.ask = sigaction_ask,
	.save = sigaction_save,
	.rebuild = sigaction_rebuild,
};
