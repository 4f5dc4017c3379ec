/* subreaper.c - whether orphans below a task become its children, PR_SET_CHILD_SUBREAPER. */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <sys/prctl.h>

static uint64_t subreaper_ask(struct thread *t, struct plan *p)
{
	return row_prctl_int(p, PLAN_MUST, "ask whether it reaps orphans", PR_GET_CHILD_SUBREAPER);
}

static int subreaper_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			  struct err *err)
{
	t->core->tc->has_child_subreaper = true;
	t->core->tc->child_subreaper = *(int *)row_answer(p, asked, 1) != 0;
	return 0;
}

static int subreaper_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			     struct err *err)
{
	int rc;

	if (!t->core->tc->child_subreaper)
		return 0;
	rc = batch_room(batch, 1, 0, err);
	if (!rc)
		plan_add(&batch->plan, PLAN_MUST, "let it reap orphans", SYS_prctl,
			 PR_SET_CHILD_SUBREAPER, 1);
	return rc;
}

const struct task_kind kind_subreaper = {
	.name = "subreaper",
	.stage = STAGE_STATE,
	.ask = subreaper_ask,
	.save = subreaper_save,
	.rebuild = subreaper_rebuild,
};
