/*
 * pdeathsig.c - the signal a thread gets when its parent ends, PR_SET_PDEATHSIG.
 * A change of credentials clears it, so it comes after them.
 */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <sys/prctl.h>

enum { N_SIGNALS = 64 };

static uint64_t pdeathsig_ask(struct thread *t, struct plan *p)
{
	return row_prctl_int(p, PLAN_MUST, "ask for the parent-death signal", PR_GET_PDEATHSIG);
}

static int pdeathsig_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			  struct err *err)
{
	int sig = *(int *)row_answer(p, asked, 1);

	t->core->thread_core->has_pdeath_sig = sig != 0;
	t->core->thread_core->pdeath_sig = (uint32_t)sig;
	return 0;
}

static int pdeathsig_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			     struct err *err)
{
	const ThreadCoreEntry *th = t->core->thread_core;
	int rc;

	if (!th->has_pdeath_sig || !th->pdeath_sig)
		return 0;
	if (th->pdeath_sig > N_SIGNALS)
		return err_set(err, -EBADMSG, "thread %d: parent-death signal %u", t->tid,
			       th->pdeath_sig);
	rc = batch_room(batch, 1, 0, err);
	if (!rc)
		plan_add(&batch->plan, PLAN_MUST, "set the parent-death signal", SYS_prctl,
			 PR_SET_PDEATHSIG, th->pdeath_sig);
	return rc;
}

const struct task_kind kind_pdeathsig = {
	.name = "parent-death signal",
	.every_thread = true,
	.stage = STAGE_LAST,
	.ask = pdeathsig_ask,
	.save = pdeathsig_save,
	.rebuild = pdeathsig_rebuild,
};
