/* io_prio.c - the priority of a thread's disk requests: ioprio_get(2) and ioprio_set(2). */
#include "criu-lite/task/kinds.h"

#include <linux/ioprio.h>
#include <sys/syscall.h>
#include <unistd.h>

static int io_prio_look(struct saver *s, struct thread *t, struct err *err)
{
	long prio = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, t->tid);

	if (prio < 0)
		return err_errno(err, "read the I/O priority");
	t->extra->has_io_prio = true;
	t->extra->io_prio = (int32_t)prio;
	return 0;
}

static int io_prio_outside(struct builder *b, struct thread *t, struct err *err)
{
	if (!t->extra || !t->extra->has_io_prio)
		return 0;
	/* Older kernels answer with what no priority amounts to; it does no harm to set it. */
	if (syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, t->tid) == t->extra->io_prio)
		return 0;
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, t->tid, t->extra->io_prio) < 0)
		return err_errno(err, "thread %d: set the I/O priority %#x", t->tid,
				 (unsigned)t->extra->io_prio);
	return 0;
}

const struct task_kind kind_io_prio = {
	.name = "I/O priority",
	.every_thread = true,
	.stage = STAGE_STATE,
	.look = io_prio_look,
	.outside = io_prio_outside,
};
