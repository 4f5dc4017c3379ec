/* arm.c - the tracker of a tree that is about to run again. */
#include "criu-lite/restore/arm.h"
#include "base/mem.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/task/memory.h"

#include <errno.h>
#include <sys/syscall.h>

static void say(const struct arming *a, const char *what, const struct err *err)
{
	scoped char *line = NULL;

	if (!a->say)
		return;
	line = xasprintf("%s: %s; the next dump will be full", what, err->text);
	a->say(line);
}

/* The tracker of the checkpoint; where it does not work here, the best that does. */
static int open_tracker(struct arming *a, const struct loaded *l, struct err *err)
{
	struct track_request rq = {
		.name = l->info->tracker,
		.chain_id = chain_id(l->chain),
		.seq = l->seq,
		.newest = chain_newest(l->chain),
		.chain_dirfd = chain_dirfd(l->chain),
	};

	if (track_open(&a->track, &rq, NULL) == 0)
		return 0;
	rq.name = "auto";
	return track_open(&a->track, &rq, err);
}

/* Restored tasks are new ones under an old number. */
static int identify(struct task *task, struct err *err)
{
	struct proc_stat st;
	int rc = proc_open(&task->proc, NULL, task->pid, err);

	if (!rc)
		rc = proc_stat_read(task->proc, &st, err);
	if (rc < 0)
		return rc;
	task->start_time = st.starttime;
	task->pidfd = (int)syscall(SYS_pidfd_open, task->pid, 0);
	return task->pidfd < 0 ? err_errno(err, "task %d: pidfd_open", task->pid) : 0;
}

static int arm_task(struct arming *a, struct newborn *n, struct err *err)
{
	struct task *task = n->thread->task;
	scoped struct track_vma *vma = NULL;
	size_t n_vma = 0;
	int rc = identify(task, err);

	if (rc < 0)
		return rc;
	vma = memory_tracked(task, &n_vma);
	return track_arm(a->track, task, newborn_batch(n), vma, n_vma, n->frames, err);
}

static int arm_all(struct arming *a, const struct loaded *l, struct nursery *h, struct err *err)
{
	int rc = chain_lock(l->chain, err);

	if (!rc)
		rc = open_tracker(a, l, err);
	for (size_t i = 0; !rc && i < h->n; i++)
		if (h->newborn[i].alive && h->newborn[i].birth && h->newborn[i].thread)
			rc = arm_task(a, &h->newborn[i], err);
	return rc ? rc : track_end(a->track, h->tree, err);
}

void arm_tree(struct arming *a, const struct loaded *l, struct nursery *h)
{
	struct err err = {};

	if (!l->info || !l->seq || !chain_id(l->chain)[0])
		return;
	if (arm_all(a, l, h, &err) == 0)
		return;
	say(a, "no tracker is armed", &err);
	arm_close(a, h->tree, false);
}

void arm_close(struct arming *a, struct tree *tree, bool alive)
{
	struct err err = {};

	if (a->track && track_close(a->track, tree, alive, &err) < 0)
		say(a, "the tracker could not be handed over", &err);
	a->track = NULL;
}
