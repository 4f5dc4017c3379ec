/*
 * io_flusher.c - PR_SET_IO_FLUSHER, for user space block devices. Asking needs
 * CAP_SYS_RESOURCE, but the thread's flags in /proc tell.
 */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/row.h"

#include <sys/prctl.h>

/* The two flags that the call sets, include/linux/sched.h. */
#define PF_MEMALLOC_NOIO  0x00080000u
#define PF_LOCAL_THROTTLE 0x00100000u
#define PF_IO_FLUSHER	  (PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE)

static int io_flusher_look(struct saver *s, struct thread *t, struct err *err)
{
	const struct proc_stat *stat;
	int rc = look_stat(s, t, &stat, err);

	if (rc < 0)
		return rc;
	if ((stat->flags & PF_IO_FLUSHER) == PF_IO_FLUSHER) {
		t->extra->has_io_flusher = true;
		t->extra->io_flusher = 1;
	}
	return 0;
}

static int io_flusher_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			      struct err *err)
{
	int rc;

	if (!t->extra || !t->extra->has_io_flusher || !t->extra->io_flusher)
		return 0;
	rc = batch_room(batch, 1, 0, err);
	if (!rc)
		plan_add(&batch->plan, PLAN_MUST, "make it an I/O flusher (CAP_SYS_RESOURCE)",
			 SYS_prctl, PR_SET_IO_FLUSHER, 1);
	return rc;
}

const struct task_kind kind_io_flusher = {
	.name = "I/O flusher",
	.every_thread = true,
	.stage = STAGE_STATE,
	.look = io_flusher_look,
	.rebuild = io_flusher_rebuild,
};
