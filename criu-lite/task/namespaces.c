/*
 * namespaces.c - every thread lives in our own namespaces, or is refused by name;
 * and the numbers that tell readers so (ids-PID.img).
 */
#include "criu-lite/task/namespaces.h"
#include "base/mem.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"

/* Image-local numbers: the same for all tasks and for the dumper itself. */
enum {
	ID_PID_NS = 1,
	ID_NET_NS,
	ID_IPC_NS,
	ID_UTS_NS,
	ID_MNT_NS,
	ID_USER_NS,
	ID_CGROUP_NS,
	ID_TIME_NS
};

/* Numbers of what tasks could share but do not: 1 is the dumper's. */
enum { FIRST_TASK_ID = 2 };

static size_t index_of(const struct tree *tree, const struct task *task)
{
	size_t i = 0;

	while (i < tree->n_tasks && tree->task[i] != task)
		i++;
	return i;
}

static TaskKobjIdsEntry *ids_new(uint32_t own)
{
	TaskKobjIdsEntry *ids = xmalloc(sizeof(*ids));

	task_kobj_ids_entry__init(ids);
	ids->vm_id = ids->files_id = ids->fs_id = ids->sighand_id = own;
#define NS(name, number)                                                                           \
	ids->has_##name = true;                                                                    \
	ids->name = (number)
	NS(pid_ns_id, ID_PID_NS);
	NS(net_ns_id, ID_NET_NS);
	NS(ipc_ns_id, ID_IPC_NS);
	NS(uts_ns_id, ID_UTS_NS);
	NS(mnt_ns_id, ID_MNT_NS);
	NS(user_ns_id, ID_USER_NS);
	NS(cgroup_ns_id, ID_CGROUP_NS);
	NS(time_ns_id, ID_TIME_NS);
#undef NS
	return ids;
}

/*
 * What a thread can have for itself. Of the others the kernel lets a task change
 * them while it has one thread only, and a mount namespace comes with a working
 * directory of one's own, which is refused before.
 */
#define OF_THREADS                                                                                 \
	(1u << PROC_NS_CGROUP | 1u << PROC_NS_IPC | 1u << PROC_NS_NET | 1u << PROC_NS_UTS |        \
	 1u << PROC_NS_PID_CHILDREN | 1u << PROC_NS_TIME_CHILDREN)
#define OF_TASKS (~0u)

static uint32_t which_of(const struct thread *t)
{
	return t == task_leader(t->task) ? OF_TASKS : OF_THREADS;
}

int namespaces_read(struct thread *t, struct err *err)
{
	t->ns = xcalloc(PROC_N_NS, sizeof(*t->ns));
	return proc_ns_read_thread(t->task->proc, t->tid, which_of(t), t->ns, err);
}

/*
 * Clocks go on in a time namespace (clocks.c), so a tree may be in one, all of it in the
 * root's, which is looked at first. In all other kinds it must be where we are.
 */
static uint64_t wanted(const struct saver *s, const struct look_self *self, enum proc_ns which)
{
	return which == PROC_NS_TIME || which == PROC_NS_TIME_CHILDREN ? s->time_ns
								       : self->ns[which];
}

static void refuse_ns(struct saver *s, const struct thread *t, enum proc_ns which)
{
	char name[LOOK_NAME];

	refuse(s->refusals,
	       "%s: another %s namespace than this program's is not supported; run the dump"
	       " inside it (nsenter)",
	       look_name(t, name), proc_ns_name(which));
}

static int namespaces_look(struct saver *s, struct thread *t, struct err *err)
{
	bool leader = t == task_leader(t->task);
	const struct look_self *self;
	int rc = look_self(s, &self, err);

	if (!rc && !t->ns)
		rc = namespaces_read(t, err);
	if (rc < 0)
		return rc;
	if (leader && !t->task->parent)
		s->time_ns = t->ns[PROC_NS_TIME];
	for (int i = 0; i < PROC_N_NS; i++)
		if (which_of(t) >> i & 1 && t->ns[i] != wanted(s, self, (enum proc_ns)i))
			refuse_ns(s, t, (enum proc_ns)i);
	if (leader && !t->task->ids)
		t->task->ids = ids_new((uint32_t)index_of(s->tree, t->task) + FIRST_TASK_ID);
	return 0;
}

const struct task_kind kind_namespaces = {
	.name = "namespaces",
	.every_thread = true,
	.look = namespaces_look,
};
