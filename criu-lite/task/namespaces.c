/*
 * namespaces.c - every thread lives in our own namespaces, or is refused by name;
 * and the numbers that tell readers so (ids-PID.img).
 */
#include "criu-lite/proc/ns.h"
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

static int namespaces_look(struct saver *s, struct thread *t, struct err *err)
{
	uint64_t ns[PROC_N_NS] = {};
	const struct look_self *self;
	struct proc_dir *dir;
	char name[LOOK_NAME];
	int rc = look_self(s, &self, err);

	if (!rc)
		rc = look_dir(s, t, &dir, err);
	if (!rc)
		rc = proc_ns_read(dir, ns, err);
	if (rc < 0)
		return rc;
	for (int i = 0; i < PROC_N_NS; i++)
		if (ns[i] != self->ns[i])
			refuse(s->refusals,
			       "%s: another %s namespace than this program's is not"
			       " supported; run the dump inside it (nsenter)",
			       look_name(t, name), proc_ns_name(i));
	if (t == task_leader(t->task) && !t->task->ids)
		t->task->ids = ids_new((uint32_t)index_of(s->tree, t->task) + FIRST_TASK_ID);
	return 0;
}

const struct task_kind kind_namespaces = {
	.name = "namespaces",
	.every_thread = true,
	.look = namespaces_look,
};
