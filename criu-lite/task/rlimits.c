/*
 * rlimits.c - resource limits: from /proc/PID/limits, set inside by prlimit(2).
 *
 * Two kinds: limits_room raises what the restore itself needs and refuses what
 * this machine cannot give; rlimits sets the saved values when everything that
 * might have gone beyond them stands (a task may hold more than its limit: the
 * limit came later).
 */
#include "base/mem.h"
#include "criu-lite/proc/limits.h"
#include "criu-lite/proc/status.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/resource.h>

static const char *const limit_names[PROC_N_LIMITS] = {
	[RLIMIT_CPU] = "set the limit RLIMIT_CPU",
	[RLIMIT_FSIZE] = "set the limit RLIMIT_FSIZE",
	[RLIMIT_DATA] = "set the limit RLIMIT_DATA",
	[RLIMIT_STACK] = "set the limit RLIMIT_STACK",
	[RLIMIT_CORE] = "set the limit RLIMIT_CORE",
	[RLIMIT_RSS] = "set the limit RLIMIT_RSS",
	[RLIMIT_NPROC] = "set the limit RLIMIT_NPROC",
	[RLIMIT_NOFILE] = "set the limit RLIMIT_NOFILE",
	[RLIMIT_MEMLOCK] = "set the limit RLIMIT_MEMLOCK",
	[RLIMIT_AS] = "set the limit RLIMIT_AS",
	[RLIMIT_LOCKS] = "set the limit RLIMIT_LOCKS",
	[RLIMIT_SIGPENDING] = "set the limit RLIMIT_SIGPENDING",
	[RLIMIT_MSGQUEUE] = "set the limit RLIMIT_MSGQUEUE",
	[RLIMIT_NICE] = "set the limit RLIMIT_NICE",
	[RLIMIT_RTPRIO] = "set the limit RLIMIT_RTPRIO",
	[RLIMIT_RTTIME] = "set the limit RLIMIT_RTTIME",
};

static int rlimits_look(struct saver *s, struct thread *t, struct err *err)
{
	TaskRlimitsEntry *list = t->core->tc->rlimits;
	struct proc_limit limits[PROC_N_LIMITS];
	int rc = proc_limits_read(t->task->proc, limits, err);

	if (rc < 0)
		return rc;
	list->rlimits = xcalloc(PROC_N_LIMITS, sizeof(*list->rlimits));
	for (size_t i = 0; i < PROC_N_LIMITS; i++) {
		RlimitEntry *e = xmalloc(sizeof(*e));

		rlimit_entry__init(e);
		e->cur = limits[i].cur;
		e->max = limits[i].max;
		list->rlimits[list->n_rlimits++] = e;
	}
	return 0;
}

/* The newborn inherits our limits; whether it may go beyond them is our capability too. */
static int own_limits(struct rlimit64 own[PROC_N_LIMITS], bool *may_raise, struct err *err)
{
	scoped_proc me = NULL;
	struct proc_status st;
	int rc;

	for (int i = 0; i < PROC_N_LIMITS; i++)
		if (getrlimit64(i, &own[i]) < 0)
			return err_errno(err, "read our own limits");
	rc = proc_open(&me, NULL, getpid(), err);
	if (!rc)
		rc = proc_status_read(me, &st, err);
	if (rc < 0)
		return rc;
	*may_raise = st.cap_eff >> CAP_SYS_RESOURCE & 1;
	proc_status_release(&st);
	return 0;
}

static int limits_of(const struct thread *t, const TaskRlimitsEntry **list, struct err *err)
{
	*list = t->core->tc->rlimits;
	if (*list && (*list)->n_rlimits > PROC_N_LIMITS)
		return err_set(err, -EBADMSG, "task %d: %zu resource limits", t->task->pid,
			       (*list)->n_rlimits);
	return 0;
}

static int add_limit(struct batch *batch, size_t i, struct rlimit64 v, struct err *err)
{
	int rc = batch_room(batch, 1, sizeof(v), err);

	if (rc < 0)
		return rc;
	plan_add(&batch->plan, PLAN_MUST, limit_names[i], SYS_prlimit64, 0, i,
		 plan_put(&batch->plan, &v, sizeof(v)), 0);
	return 0;
}

static int limits_room_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			       struct err *err)
{
	struct rlimit64 own[PROC_N_LIMITS];
	const TaskRlimitsEntry *list;
	bool may_raise = false;
	int rc = limits_of(t, &list, err);

	if (rc < 0 || !list)
		return rc;
	rc = own_limits(own, &may_raise, err);
	for (size_t i = 0; !rc && i < list->n_rlimits; i++) {
		uint64_t max = own[i].rlim_max;

		if (list->rlimits[i]->max > max) {
			if (!may_raise)
				return err_set(err, ERR_REFUSED,
					       "task %d: %s to %llu: only %llu is allowed here;"
					       " raise it first (ulimit -H, CAP_SYS_RESOURCE)",
					       t->task->pid, limit_names[i],
					       (unsigned long long)list->rlimits[i]->max,
					       (unsigned long long)max);
			max = list->rlimits[i]->max;
		}
		if (own[i].rlim_cur != max)
			rc = add_limit(batch, i, (struct rlimit64) { max, max }, err);
	}
	return rc;
}

static int rlimits_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			   struct err *err)
{
	const TaskRlimitsEntry *list;
	int rc = limits_of(t, &list, err);

	for (size_t i = 0; !rc && list && i < list->n_rlimits; i++) {
		const RlimitEntry *e = list->rlimits[i];

		rc = add_limit(batch, i, (struct rlimit64) { e->cur, e->max }, err);
	}
	return rc;
}

const struct task_kind kind_limits_room = {
	.name = "room in limits",
	.stage = STAGE_EARLY,
	.rebuild = limits_room_rebuild,
};

const struct task_kind kind_rlimits = {
	.name = "limits",
	.stage = STAGE_CREDS,
	.file = "limits",
	.look = rlimits_look,
	.rebuild = rlimits_rebuild,
};
