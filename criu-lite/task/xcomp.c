/*
 * xcomp.c - the permission to use AMX, which a program asks for itself
 * (arch_prctl(2), ARCH_REQ_XCOMP_PERM) and its threads share. Registers of AMX in
 * use are refused elsewhere; the permission comes back.
 */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <errno.h>

#ifndef ARCH_GET_XCOMP_PERM
#define ARCH_GET_XCOMP_PERM 0x1022 /* since 5.16 */
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif

/* The one feature that needs a permission so far: AMX tile data. */
enum { TILE_DATA = 18 };

static uint64_t xcomp_ask(struct thread *t, struct plan *p)
{
	uint64_t at = plan_put(p, NULL, sizeof(uint64_t));

	return plan_add(p, PLAN_MAY, "ask for processor features permitted", SYS_arch_prctl,
			ARCH_GET_XCOMP_PERM, at);
}

static int xcomp_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		      struct err *err)
{
	if (plan_ret(p, asked) < 0)
		return 0;
	t->extra->has_xcomp_perm = true;
	t->extra->xcomp_perm = *(uint64_t *)row_answer(p, asked, 1);
	return 0;
}

static int xcomp_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	int rc;

	if (!t->extra || !t->extra->has_xcomp_perm || !(t->extra->xcomp_perm >> TILE_DATA & 1))
		return 0;
	rc = batch_room(batch, 1, 0, err);
	if (!rc)
		plan_add(&batch->plan, PLAN_MUST, "ask for permission to use AMX", SYS_arch_prctl,
			 ARCH_REQ_XCOMP_PERM, TILE_DATA);
	return rc;
}

const struct task_kind kind_xcomp = {
	.name = "AMX permission",
	.stage = STAGE_EARLY,
	.ask = xcomp_ask,
	.save = xcomp_save,
	.rebuild = xcomp_rebuild,
};
