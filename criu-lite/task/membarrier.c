/* membarrier.c - what a task has registered for with membarrier(2). */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <linux/membarrier.h>

enum { GET_REGISTRATIONS = 1 << 9 }; /* MEMBARRIER_CMD_GET_REGISTRATIONS, since 6.3 */

/*
 * Older kernels do not tell. But the barriers themselves are harmless, and
 * refused (EPERM) to those who have not registered. Only the wish to take
 * part in everyone's barriers stays unknown.
 */
static const struct {
	const char *try_it;
	int command, registers;
} barriers[] = {
	{ "try a private barrier", MEMBARRIER_CMD_PRIVATE_EXPEDITED,
	  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED },
	{ "try a core barrier", MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
	  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE },
	{ "try an rseq barrier", MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ,
	  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ },
};
enum { N_BARRIERS = sizeof(barriers) / sizeof(barriers[0]), N_COMMANDS = 16 };

static uint64_t membarrier_ask(struct thread *t, struct plan *p)
{
	size_t first = plan_add(p, PLAN_MAY, "ask for membarrier registrations", SYS_membarrier,
				GET_REGISTRATIONS);

	for (size_t i = 0; i < N_BARRIERS; i++)
		plan_add(p, PLAN_MAY, barriers[i].try_it, SYS_membarrier,
			 (uint64_t)barriers[i].command);
	return first;
}

static int membarrier_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			   struct err *err)
{
	int64_t mask = plan_ret(p, asked);

	if (mask < 0) {
		mask = 0;
		for (size_t i = 0; i < N_BARRIERS; i++)
			if (plan_ret(p, asked + 1 + i) == 0)
				mask |= barriers[i].registers;
	}
	t->core->tc->has_membarrier_registration_mask = mask != 0;
	t->core->tc->membarrier_registration_mask = (uint32_t)mask;
	return 0;
}

static int membarrier_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			      struct err *err)
{
	uint32_t mask = t->core->tc->has_membarrier_registration_mask
				? t->core->tc->membarrier_registration_mask
				: 0;
	int rc = batch_room(batch, N_COMMANDS, 0, err);

	if (rc < 0)
		return rc;
	if (mask >> N_COMMANDS)
		return err_set(err, -EBADMSG, "task %d: membarrier registrations %#x", t->task->pid,
			       mask);
	for (uint32_t i = 0; i < N_COMMANDS; i++)
		if (mask >> i & 1)
			plan_add(&batch->plan, PLAN_MUST, "register for barriers", SYS_membarrier,
				 1u << i);
	return 0;
}

const struct task_kind kind_membarrier = {
	.name = "membarrier",
	.stage = STAGE_STATE,
	.ask = membarrier_ask,
	.save = membarrier_save,
	.rebuild = membarrier_rebuild,
};
