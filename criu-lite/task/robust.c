/* robust.c - the list of robust futexes a thread holds: get_robust_list(2) from outside. */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <unistd.h>

static int robust_look(struct saver *s, struct thread *t, struct err *err)
{
	ThreadCoreEntry *th = t->core->thread_core;
	uint64_t head = 0;
	size_t len = 0;

	if (syscall(SYS_get_robust_list, t->tid, &head, &len) < 0)
		return err_errno(err, "read the address of the robust futex list");
	th->futex_rla = head;
	th->futex_rla_len = (uint32_t)len;
	return 0;
}

static int robust_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	const ThreadCoreEntry *th = t->core->thread_core;
	int rc;

	if (!th->futex_rla)
		return 0;
	rc = batch_room(batch, 1, 0, err);
	if (rc < 0)
		return rc;
	plan_add(&batch->plan, PLAN_MUST, "set the robust futex list", SYS_set_robust_list,
		 th->futex_rla, th->futex_rla_len);
	return 0;
}

const struct task_kind kind_robust = {
	.name = "robust futexes",
	.every_thread = true,
	.stage = STAGE_STATE,
	.look = robust_look,
	.rebuild = robust_rebuild,
};
