/*
 * namespaces.c - every thread lives in our own namespaces, or is refused by name;
 * and the numbers that tell readers so (ids-PID.img).
 */
#include "criu-lite/proc/ns.h"
#include "base/mem.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

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
static const enum proc_ns of_threads[] = {
	PROC_NS_CGROUP, PROC_NS_IPC,	      PROC_NS_NET,
	PROC_NS_UTS,	PROC_NS_PID_CHILDREN, PROC_NS_TIME_CHILDREN,
};

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

static int leader_look(struct saver *s, struct thread *t, const struct look_self *self,
		       struct err *err)
{
	uint64_t ns[PROC_N_NS] = {};
	int rc = proc_ns_read(t->task->proc, ns, err);

	if (!t->task->parent)
		s->time_ns = ns[PROC_NS_TIME];
	for (int i = 0; !rc && i < PROC_N_NS; i++)
		if (ns[i] != wanted(s, self, (enum proc_ns)i))
			refuse_ns(s, t, (enum proc_ns)i);
	if (!rc && !t->task->ids)
		t->task->ids = ids_new((uint32_t)index_of(s->tree, t->task) + FIRST_TASK_ID);
	return rc;
}

/* There may be thousands of them: one directory, and no more links than it takes. */
static int thread_look(struct saver *s, struct thread *t, const struct look_self *self,
		       struct err *err)
{
	struct proc_dir *dir;
	scoped_fd fd = -1;
	int rc = look_dir(s, t, &dir, err);

	if (rc < 0)
		return rc;
	fd = proc_openat(dir, "ns", O_PATH | O_DIRECTORY);
	if (fd < 0)
		return err_code(err, fd, "open ns");
	for (size_t i = 0; i < ARRAY_SIZE(of_threads); i++) {
		enum proc_ns which = of_threads[i];
		uint64_t ino = wanted(s, self, which);
		char link[64], want[64];
		const char *kind = proc_ns_name(which);
		ssize_t n = readlinkat(fd, kind, link, sizeof(link) - 1);

		if (n < 0 && errno != ENOENT)
			return err_errno(err, "read ns/%s", kind);
		link[n < 0 ? 0 : n] = 0;
		snprintf(want, sizeof(want), "[%" PRIu64 "]", ino);
		if (strcmp(link + strcspn(link, "["), ino ? want : ""))
			refuse_ns(s, t, which);
	}
	return 0;
}

static int namespaces_look(struct saver *s, struct thread *t, struct err *err)
{
	const struct look_self *self;
	int rc = look_self(s, &self, err);

	if (rc < 0)
		return rc;
	return t == task_leader(t->task) ? leader_look(s, t, self, err)
					 : thread_look(s, t, self, err);
}

const struct task_kind kind_namespaces = {
	.name = "namespaces",
	.every_thread = true,
	.look = namespaces_look,
};
