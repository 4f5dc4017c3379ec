/*
 * sharing.c - tasks that share memory, descriptors, directory or handlers with
 * one another (clone(2) without being threads) are refused by name. kcmp(2)
 * orders the kernel's objects, so that sorting brings equal ones together.
 */
#include "base/mem.h"
#include "criu-lite/task/kinds.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

struct compared {
	int type;
	int errnum; /* of the first comparison that failed */
};

static long compare_pids(pid_t a, pid_t b, int type)
{
	return syscall(SYS_kcmp, a, b, type, 0, 0);
}

static int by_object(const void *a, const void *b, void *arg)
{
	struct compared *c = arg;
	long order = compare_pids((*(struct task *const *)a)->pid, (*(struct task *const *)b)->pid,
				  c->type);

	if (order < 0 && !c->errnum)
		c->errnum = errno;
	return order == 1 ? -1 : order == 2 ? 1 : 0;
}

static int look_for(struct saver *s, struct task **task, size_t n, int type, const char *what,
		    struct err *err)
{
	struct compared c = { .type = type };

	qsort_r(task, n, sizeof(*task), by_object, &c);
	for (size_t i = 1; i < n && !c.errnum; i++)
		if (!by_object(&task[i - 1], &task[i], &c) && !c.errnum)
			refuse(s->refusals,
			       "task %d: shares its %s with task %d, which is not"
			       " supported",
			       task[i - 1]->pid, what, task[i]->pid);
	errno = c.errnum;
	return c.errnum ? err_errno(err, "compare tasks (kcmp)") : 0;
}

/* Once for the whole tree, with the root's leader. */
static int sharing_look(struct saver *s, struct thread *t, struct err *err)
{
	static const struct {
		int type;
		const char *what;
	} shared[] = {
		{ KCMP_VM, "memory" },
		{ KCMP_FILES, "descriptors" },
		{ KCMP_FS, "current directory" },
		{ KCMP_SIGHAND, "signal handlers" },
	};
	scoped struct task **live = NULL;
	struct task *task;
	size_t n = 0;
	int rc = 0;

	if (t->task != s->tree->task[0])
		return 0;
	live = xcalloc(s->tree->n_tasks, sizeof(*live));
	for_each_live_task (task, s->tree)
		live[n++] = task;
	for (size_t i = 0; !rc && i < ARRAY_SIZE(shared); i++)
		rc = look_for(s, live, n, shared[i].type, shared[i].what, err);
	return rc;
}

const struct task_kind kind_sharing = {
	.name = "sharing",
	.look = sharing_look,
};
