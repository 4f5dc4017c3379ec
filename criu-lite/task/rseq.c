/*
 * rseq.c - the area of restartable sequences that a thread registered, rseq(2).
 *
 * A thread caught inside a sequence has had its instruction pointer moved to the
 * abort handler when it was stopped, so the sequence itself is never saved.
 */
#include "base/mem.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <sys/ptrace.h>

/* As PTRACE_GET_RSEQ_CONFIGURATION (5.13) fills it. */
struct rseq_configuration {
	uint64_t pointer;
	uint32_t size;
	uint32_t signature;
	uint32_t flags;
	uint32_t pad;
};

static int rseq_look(struct saver *s, struct thread *t, struct err *err)
{
	struct rseq_configuration rc = {};
	RseqEntry *e;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, t->tid, sizeof(rc), &rc) < 0) {
		if (errno == EIO) /* a kernel without restartable sequences */
			return 0;
		return err_errno(err, "read the rseq area's address");
	}
	if (!rc.pointer)
		return 0;
	e = xmalloc(sizeof(*e));
	rseq_entry__init(e);
	e->rseq_abi_pointer = rc.pointer;
	e->rseq_abi_size = rc.size;
	e->signature = rc.signature;
	t->core->thread_core->rseq_entry = e;
	return 0;
}

static int rseq_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	const RseqEntry *e = t->core->thread_core->rseq_entry;
	int rc;

	if (!e || !e->rseq_abi_pointer)
		return 0;
	/* The kernel clears rseq_cs at the first return to user mode outside of the sequence. */
	if (e->has_rseq_cs_pointer && e->rseq_cs_pointer)
		return err_set(err, ERR_REFUSED,
			       "thread %d: a restartable sequence that must not be restarted is not"
			       " supported",
			       t->tid);
	rc = batch_room(batch, 1, 0, err);
	if (rc < 0)
		return rc;
	plan_add(&batch->plan, PLAN_MUST, "register the rseq area", SYS_rseq, e->rseq_abi_pointer,
		 e->rseq_abi_size, 0, e->signature);
	return 0;
}

const struct task_kind kind_rseq = {
	.name = "rseq",
	.every_thread = true,
	.stage = STAGE_LAST,
	.look = rseq_look,
	.rebuild = rseq_rebuild,
};
