/*
 * hidden.c - what nobody but the thread itself can find out, and no kind can bring
 * back: keyrings of its own, io_uring without descriptor or mapping, a local descriptor
 * table, whom it traces. Refused by name.
 */
#include "base/mem.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <sys/wait.h>

static const struct {
	const char *ask, *name;
	int64_t id;
} keyrings[] = {
	{ "ask for a keyring of the thread", "a keyring of the thread", KEY_SPEC_THREAD_KEYRING },
	{ "ask for a keyring of the process", "a keyring of the process",
	  KEY_SPEC_PROCESS_KEYRING },
};

static uint64_t keyrings_ask(struct thread *t, struct plan *p)
{
	size_t first = p->n;

	for (size_t i = 0; i < ARRAY_SIZE(keyrings); i++)
		plan_add(p, PLAN_MAY, keyrings[i].ask, SYS_keyctl, KEYCTL_GET_KEYRING_ID,
			 (uint64_t)keyrings[i].id, 0);
	return first;
}

static int keyrings_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			 struct err *err)
{
	char name[LOOK_NAME];

	for (size_t i = 0; i < ARRAY_SIZE(keyrings); i++)
		if (plan_ret(p, asked + i) >= 0)
			refuse(s->refusals, "%s: %s (keyctl) is not supported", look_name(t, name),
			       keyrings[i].name);
	return 0;
}

const struct task_kind kind_keyrings = {
	.name = "keyrings",
	.every_thread = true,
	.ask = keyrings_ask,
	.save = keyrings_save,
};

/* --- rings that are registered with the thread -------------------------------------------- */

#define N_RINGS		   16	      /* IO_RINGFD_REG_MAX */
#define BY_REGISTERED_RING (1u << 31) /* IORING_REGISTER_USE_REGISTERED_RING, since 6.3 */

/* The number of a ring that is there is good for a probe of nothing. */
static uint64_t rings_ask(struct thread *t, struct plan *p)
{
	uint64_t room = plan_put(p, NULL, sizeof(struct io_uring_probe));
	size_t first = p->n;

	for (unsigned i = 0; i < N_RINGS; i++)
		plan_add(p, PLAN_MAY, "ask for a registered ring", SYS_io_uring_register, i,
			 IORING_REGISTER_PROBE | BY_REGISTERED_RING, room, 0);
	return first;
}

/* EINVAL: no ring at all, or a kernel that has none such; EBADF: none of that number. */
static bool is_ring(int64_t ret)
{
	return ret != -EINVAL && ret != -EBADF && ret != -ENOSYS && ret != -EPERM;
}

static int rings_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		      struct err *err)
{
	char name[LOOK_NAME];

	for (size_t i = 0; i < N_RINGS; i++)
		if (is_ring(plan_ret(p, asked + i))) {
			refuse(s->refusals, "%s: io_uring (registered ring %zu) is not supported",
			       look_name(t, name), i);
			return 0;
		}
	return 0;
}

const struct task_kind kind_rings = {
	.name = "io_uring",
	.every_thread = true,
	.ask = rings_ask,
	.save = rings_save,
};

/* --- segments of its own ------------------------------------------------------------------- */

enum { READ_LDT = 0, LDT_ENTRY = 8 };

/* All threads have the same one, as they have the same memory. */
static uint64_t ldt_ask(struct thread *t, struct plan *p)
{
	uint64_t room = plan_put(p, NULL, LDT_ENTRY);

	return plan_add(p, PLAN_MAY, "ask for a local descriptor table", SYS_modify_ldt, READ_LDT,
			room, LDT_ENTRY);
}

/* An int in the register, not sign-extended: how much was read, 0 where there is none. */
static int ldt_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		    struct err *err)
{
	if ((int32_t)plan_ret(p, asked) > 0)
		refuse(s->refusals,
		       "task %d: a local descriptor table (modify_ldt) is not supported",
		       t->task->pid);
	return 0;
}

const struct task_kind kind_ldt = {
	.name = "local descriptor table",
	.ask = ldt_ask,
	.save = ldt_save,
};

/* --- whom it traces ------------------------------------------------------------------------ */

/* Tracees are waited for like children, by any thread; nothing is taken away. */
static uint64_t tracees_ask(struct thread *t, struct plan *p)
{
	return plan_add(p, PLAN_MAY, "ask for tracees", SYS_waitid, P_ALL, 0, 0,
			WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL, 0);
}

static bool has_children(const struct tree *tree, const struct task *of)
{
	const struct task *task;

	for_each_task (task, tree)
		if (task->parent == of)
			return true;
	return false;
}

/* Of one that has children the answer says nothing. Those of the tree that are traced are refused. */
static int tracees_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			struct err *err)
{
	if (plan_ret(p, asked) == 0 && !has_children(s->tree, t->task))
		refuse(s->refusals, "task %d: it traces a task outside of the tree (ptrace)",
		       t->task->pid);
	return 0;
}

const struct task_kind kind_tracees = {
	.name = "tracees",
	.ask = tracees_ask,
	.save = tracees_save,
};
