/* sas.c - the alternate signal stack: sigaltstack(2), given back by the thread's frame. */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <signal.h>

/* The kernel's layout. */
struct kernel_stack {
	uint64_t sp;
	int32_t flags;
	int32_t pad;
	uint64_t size;
};
_Static_assert(sizeof(struct kernel_stack) == 24, "layout of sigaltstack(2)");

static uint64_t sas_ask(struct thread *t, struct plan *p)
{
	uint64_t at = plan_put(p, NULL, sizeof(struct kernel_stack));

	return plan_add(p, PLAN_MUST, "ask for the alternate signal stack", SYS_sigaltstack, 0, at);
}

static int sas_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		    struct err *err)
{
	const struct kernel_stack *ss = row_answer(p, asked, 1);
	ThreadSasEntry *e = t->core->thread_core->sas;

	e->ss_sp = ss->sp;
	e->ss_size = ss->size;
	/* Whether it is in use right now depends on our stack pointer, not on the thread's. */
	e->ss_flags = (uint32_t)ss->flags & ~(uint32_t)SS_ONSTACK;
	return 0;
}

const struct task_kind kind_sas = {
	.name = "alternate signal stack",
	.every_thread = true,
	.ask = sas_ask,
	.save = sas_save,
};
