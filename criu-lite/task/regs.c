/*
 * regs.c - registers, extended registers and what else the processor and the
 * kernel keep for a thread's start and end: TLS slots, clear_child_tid.
 *
 * Registers are read while the thread is merely stopped, and given back by the
 * frame that it leaves through.
 */
#include "base/mem.h"
#include "criu-lite/arch/x86-64/regs.h"
#include "criu-lite/arch/x86-64/xstate.h"
#include "criu-lite/remote/tracee.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/row.h"

#include <asm/ldt.h>
#include <errno.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#ifndef PTRACE_GET_THREAD_AREA
#define PTRACE_GET_THREAD_AREA 25
#endif

enum { TLS_FIRST = 12, TLS_SLOTS = 3 };

/* What image messages have a place for: x87 to AVX-512, and PKRU. */
#define XSTATE_SAVED ((1ull << 8) - 1 + (1ull << 9))

static int peek_thread(void *thread, uint64_t addr, void *buf, size_t len)
{
	const struct thread *t = thread;

	return task_peek(t->tid, addr, buf, len);
}

/*
 * Who stopped the thread has settled its registers: what it interrupted, and a
 * restartable sequence that it was in. Only a thread held by nobody of ours
 * is asked directly.
 */
static int gp_look(struct saver *s, struct thread *t, struct err *err)
{
	struct regs regs;
	int rc = 0;

	if (t->tracee)
		regs = t->tracee->regs;
	else
		rc = regs_get(t->tid, &regs, err);
	if (rc < 0)
		return rc;
	regs_name_call(&regs, peek_thread, t);
	regs_for_image(&regs);
	regs_to_entry(&regs, t->core->thread_info->gpregs);
	return 0;
}

static void fp_save(struct saver *s, struct thread *t, const struct xstate *x)
{
	uint64_t beyond = xstate_in_use(x) & ~XSTATE_SAVED;
	char name[LOOK_NAME];

	if (beyond)
		refuse(s->refusals, "%s: registers of %s in use are not supported",
		       look_name(t, name), xstate_feature_name((unsigned)__builtin_ctzll(beyond)));
	xstate_to_entry(x, t->core->thread_info->fpregs);
}

static int fp_look(struct saver *s, struct thread *t, struct err *err)
{
	struct xstate x = {};
	struct err why = {};
	char name[LOOK_NAME];
	int rc;

	if (t->tracee) {
		fp_save(s, t, &t->tracee->xstate);
		return 0;
	}
	rc = xstate_get(t->tid, &x, &why);
	if (rc == ERR_REFUSED) {
		refuse(s->refusals, "%s: %s", look_name(t, name), why.text);
		return 0;
	}
	if (rc < 0)
		return err_set(err, rc, "%s", why.text);
	fp_save(s, t, &x);
	xstate_release(&x);
	return 0;
}

/* --- GDT slots: nothing but 32-bit code has a use for them -------------------------- */

static UserDescT *slot_entry(const struct user_desc *d)
{
	UserDescT *e = xmalloc(sizeof(*e));

	user_desc_t__init(e);
	e->entry_number = d->entry_number;
	e->base_addr = d->base_addr;
	e->limit = d->limit;
	e->seg_32bit = d->seg_32bit;
	e->contents_h = d->contents >> 1;
	e->contents_l = d->contents & 1;
	e->read_exec_only = d->read_exec_only;
	e->limit_in_pages = d->limit_in_pages;
	e->seg_not_present = d->seg_not_present;
	e->usable = d->useable;
	return e;
}

static int tls_look(struct saver *s, struct thread *t, struct err *err)
{
	ThreadInfoX86 *info = t->core->thread_info;
	char name[LOOK_NAME];

	info->tls = xcalloc(TLS_SLOTS, sizeof(*info->tls));
	for (unsigned i = 0; i < TLS_SLOTS; i++) {
		struct user_desc d = { .entry_number = TLS_FIRST + i,
				       .read_exec_only = 1,
				       .seg_not_present = 1 };

		/* EIO: a kernel without 32-bit code, all slots are free. */
		if (ptrace(PTRACE_GET_THREAD_AREA, t->tid, TLS_FIRST + i, &d) < 0 && errno != EIO)
			return err_errno(err, "read TLS slot %u", TLS_FIRST + i);
		if (!d.seg_not_present)
			refuse(s->refusals, "%s: a 32-bit TLS segment is not supported",
			       look_name(t, name));
		info->tls[info->n_tls++] = slot_entry(&d);
	}
	return 0;
}

static int regs_look(struct saver *s, struct thread *t, struct err *err)
{
	int rc = gp_look(s, t, err);

	if (!rc)
		rc = fp_look(s, t, err);
	if (!rc)
		rc = tls_look(s, t, err);
	return rc;
}

/* --- clear_child_tid: see set_tid_address(2) ------------------------------------------ */

static uint64_t regs_ask(struct thread *t, struct plan *p)
{
	uint64_t at = plan_put(p, NULL, sizeof(uint64_t));

	return plan_add(p, PLAN_MUST, "ask for clear_child_tid (CONFIG_CHECKPOINT_RESTORE)",
			SYS_prctl, PR_GET_TID_ADDRESS, at);
}

static int regs_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		     struct err *err)
{
	t->core->thread_info->clear_tid_addr = *(uint64_t *)row_answer(p, asked, 1);
	return 0;
}

static int regs_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	const ThreadInfoX86 *info = t->core->thread_info;
	size_t row;
	int rc;

	for (size_t i = 0; i < info->n_tls; i++)
		if (!info->tls[i]->seg_not_present)
			return err_set(err, ERR_REFUSED,
				       "thread %d: a 32-bit TLS segment is not supported", t->tid);
	if (!info->clear_tid_addr)
		return 0;
	rc = batch_room(batch, 1, 0, err);
	if (rc < 0)
		return rc;
	row = plan_add(&batch->plan, PLAN_IS, "set clear_child_tid", SYS_set_tid_address,
		       info->clear_tid_addr);
	batch->plan.note[row].expect = t->tid;
	return 0;
}

const struct task_kind kind_regs = {
	.name = "registers",
	.every_thread = true,
	.stage = STAGE_STATE,
	.look = regs_look,
	.ask = regs_ask,
	.save = regs_save,
	.rebuild = regs_rebuild,
};
