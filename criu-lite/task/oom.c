/*
 * oom.c - how soon the kernel ends a task when memory runs out: /proc/PID/oom_score_adj.
 * Set before credentials change: the file of a task that is not dumpable is root's.
 */
#include "criu-lite/proc/values.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/outside.h"

#include <errno.h>

enum { OOM_MAX = 1000 };

static int oom_look(struct saver *s, struct thread *t, struct err *err)
{
	int32_t adj;
	int rc = proc_oom_score_adj_read(t->task->proc, &adj, err);

	if (rc < 0)
		return rc;
	t->core->tc->has_oom_score_adj = true;
	t->core->tc->oom_score_adj = adj;
	return 0;
}

static int oom_outside(struct builder *b, struct thread *t, struct err *err)
{
	const TaskCoreEntry *tc = t->core->tc;
	int rc;

	if (!tc->has_oom_score_adj)
		return 0;
	if (tc->oom_score_adj < -OOM_MAX || tc->oom_score_adj > OOM_MAX)
		return err_set(err, -EBADMSG, "task %d: oom_score_adj %d", t->task->pid,
			       tc->oom_score_adj);
	rc = outside_write(t->task->pid, "oom_score_adj", err, "%d", tc->oom_score_adj);
	if (rc == -EACCES)
		return err_add(err, rc, "task %d: a value below our own needs CAP_SYS_RESOURCE",
			       t->task->pid);
	return rc;
}

const struct task_kind kind_oom = {
	.name = "oom_score_adj",
	.stage = STAGE_STATE,
	.file = "oom_score_adj",
	.look = oom_look,
	.outside = oom_outside,
};
