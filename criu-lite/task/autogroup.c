/*
 * autogroup.c - the nice value of a session as a whole: /proc/PID/autogroup, see
 * sched(7). It is set for a session that came along, not for one that the tree is
 * put into.
 */
#include "criu-lite/proc/values.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/outside.h"

#include <errno.h>
#include <unistd.h>

static int autogroup_look(struct saver *s, struct thread *t, struct err *err)
{
	int32_t nice;
	int rc = proc_autogroup_read(t->task->proc, &nice, err);

	if (rc == -ENOENT || rc == -ENODATA)
		return 0;
	if (rc < 0)
		return rc;
	t->extra->has_autogroup_nice = true;
	t->extra->autogroup_nice = nice;
	return 0;
}

static int autogroup_outside(struct builder *b, struct thread *t, struct err *err)
{
	scoped_proc dir = NULL;
	pid_t pid = t->task->pid;
	int32_t now;
	int rc;

	if (!t->extra || !t->extra->has_autogroup_nice || getsid(pid) == getsid(0))
		return 0;
	rc = proc_open(&dir, NULL, pid, err);
	if (!rc)
		rc = proc_autogroup_read(dir, &now, err);
	/* Once a session, as its other members then have it; and not where there is no such thing. */
	if ((!rc && now == t->extra->autogroup_nice) || rc == -ENOENT || rc == -ENODATA)
		return 0;
	return rc < 0 ? rc
		      : outside_write(pid, "autogroup", err, "%lld",
				      (long long)t->extra->autogroup_nice);
}

const struct task_kind kind_autogroup = {
	.name = "autogroup",
	.stage = STAGE_STATE,
	.file = "autogroup",
	.look = autogroup_look,
	.outside = autogroup_outside,
};
