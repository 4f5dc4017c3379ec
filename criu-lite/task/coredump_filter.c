/* coredump_filter.c - which memory goes into a core file: /proc/PID/coredump_filter, see core(5). */
#include "criu-lite/proc/values.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/outside.h"

#include <errno.h>

static int filter_look(struct saver *s, struct thread *t, struct err *err)
{
	uint32_t value;
	int rc = proc_coredump_filter_read(t->task->proc, &value, err);

	if (rc == -ENOENT) /* a kernel without core files */
		return 0;
	if (rc < 0)
		return rc;
	t->extra->has_coredump_filter = true;
	t->extra->coredump_filter = value;
	return 0;
}

static int filter_outside(struct builder *b, struct thread *t, struct err *err)
{
	if (!t->extra || !t->extra->has_coredump_filter)
		return 0;
	return outside_write(t->task->pid, "coredump_filter", err, "%#x",
			     t->extra->coredump_filter);
}

const struct task_kind kind_coredump_filter = {
	.name = "coredump_filter",
	.stage = STAGE_STATE,
	.file = "coredump_filter",
	.look = filter_look,
	.outside = filter_outside,
};
