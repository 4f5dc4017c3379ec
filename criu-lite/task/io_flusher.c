/*
 * io_flusher.c - PR_SET_IO_FLUSHER, for user space block devices. To ask takes
 * CAP_SYS_RESOURCE in the thread, as to set it did; of a leader that gave the
 * capability up since, the flags in /proc tell, and its threads are taken to be alike.
 */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/row.h"

#include <sys/prctl.h>

/* The two flags that the call sets, include/linux/sched.h. */
#define PF_MEMALLOC_NOIO  0x00080000u
#define PF_LOCAL_THROTTLE 0x00100000u
#define PF_IO_FLUSHER	  (PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE)

static uint64_t io_flusher_ask(struct thread *t, struct plan *p)
{
	return plan_add(p, PLAN_MAY, "ask whether it is an I/O flusher", SYS_prctl,
			PR_GET_IO_FLUSHER);
}

static int io_flusher_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			   struct err *err)
{
	uint32_t flags = task_leader(t->task)->core->tc->flags;
	int64_t ret = plan_ret(p, asked);

	t->extra->has_io_flusher = true;
	t->extra->io_flusher = ret >= 0 ? ret != 0 : (flags & PF_IO_FLUSHER) == PF_IO_FLUSHER;
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
	.ask = io_flusher_ask,
	.save = io_flusher_save,
	.rebuild = io_flusher_rebuild,
};
