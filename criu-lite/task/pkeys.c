/*
 * pkeys.c - which protection keys a task has taken: pkey_alloc(2). What a thread may do
 * by them is in its registers (PKRU); memory that has one is refused, see vma.c.
 */
#include "base/mem.h"
#include "criu-lite/remote/remote.h"
#include "criu-lite/task/kinds.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { N_KEYS = 16, ALL_KEYS = 0xfffe }; /* key 0 is everybody's */

static bool have_keys(void)
{
	int key = pkey_alloc(0, 0);

	if (key > 0)
		pkey_free(key);
	return key > 0;
}

/*
 * Nobody tells, so they are taken until there are no more: those that are not to be had
 * have an owner. A rescue gives them back.
 */
static int find_keys(struct task *task, uint32_t *taken, struct err *err)
{
	struct plan p, back;
	int rc;

	remote_plan_init(task, &p);
	remote_plan_init(task, &back);
	for (int i = 1; i < N_KEYS; i++) {
		size_t row = plan_add(&p, PLAN_MAY, "take a protection key", SYS_pkey_alloc, 0, 0);

		p.row[row].undo = SYS_pkey_free;
	}
	rc = remote_run(task, &p, err);
	*taken = ALL_KEYS;
	for (size_t i = 0; !rc && i < p.n; i++) {
		int64_t key = plan_ret(&p, i);

		if (key <= 0 || key >= N_KEYS)
			continue;
		*taken &= ~(1u << key);
		plan_add(&back, PLAN_MUST, "give a protection key back", SYS_pkey_free,
			 (uint64_t)key);
	}
	if (!rc && back.n)
		rc = remote_run(task, &back, err);
	if (!rc)
		rc = plan_judge(&back, err);
	plan_release(&p);
	plan_release(&back);
	return rc;
}

/* Memory that is only to be executed gets a key from the kernel, once, and will again. */
static bool kernel_took_one(const struct task *task)
{
	for (size_t i = 0; i < task->mm->n_vmas; i++)
		if (task->mm->vmas[i]->prot == PROT_EXEC)
			return true;
	return false;
}

static int keys_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		     struct err *err)
{
	uint32_t taken = 0;
	int rc = have_keys() ? find_keys(t->task, &taken, err) : 0;

	if (rc < 0 || !taken)
		return rc;
	if (!kernel_took_one(t->task)) {
		t->extra->has_protection_keys = true;
		t->extra->protection_keys = taken;
	} else if (__builtin_popcount(taken) > 1) {
		refuse(s->refusals,
		       "task %d: protection keys (pkey_alloc) beside memory that is only to be "
		       "executed are not supported",
		       t->task->pid);
	}
	return 0;
}

/* A newborn has none: they come in ascending order. */
static int keys_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	uint32_t wanted = t->extra && t->extra->has_protection_keys ? t->extra->protection_keys : 0;
	int rc;

	if (wanted & ~(uint32_t)ALL_KEYS)
		return err_set(err, -EBADMSG, "protection keys %#x", wanted);
	if (!wanted)
		return 0;
	rc = batch_room(batch, (size_t)2 * N_KEYS, 0, err);
	if (rc < 0)
		return rc;
	for (int i = 1; wanted >> i; i++)
		plan_add(&batch->plan, PLAN_MUST, "take a protection key", SYS_pkey_alloc, 0, 0);
	for (int i = 1; wanted >> i; i++)
		if (!(wanted >> i & 1))
			plan_add(&batch->plan, PLAN_MUST, "give a protection key back",
				 SYS_pkey_free, (uint64_t)i);
	return 0;
}

const struct task_kind kind_protection_keys = {
	.name = "protection keys",
	.stage = STAGE_STATE,
	.save = keys_save,
	.rebuild = keys_rebuild,
};
