/*
 * sched.c - how a thread is scheduled: policy, priorities, nice value, deadline,
 * utilization clamps, affinity (sched_setattr(2), sched_setaffinity(2)), and the
 * cookie of core scheduling, which is refused. All of it is read and set from outside.
 */
#include "base/mem.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	MAX_CPU_BYTES = 8192 / 8, /* more processors than any kernel is built for */
	ALL_CPU_BYTES = 128,
	MAX_NICE = 19,
};

/* As sched_getattr(2) fills it; linux/sched/types.h and sched.h do not go together. */
struct kernel_sched_attr {
	uint32_t size;
	uint32_t sched_policy;
	uint64_t sched_flags;
	int32_t sched_nice;
	uint32_t sched_priority;
	uint64_t sched_runtime;
	uint64_t sched_deadline;
	uint64_t sched_period;
	uint32_t sched_util_min;
	uint32_t sched_util_max;
};
_Static_assert(sizeof(struct kernel_sched_attr) == 56, "layout of sched_getattr(2)");

#define FLAG_UTIL_CLAMP_MIN 0x20u
#define FLAG_UTIL_CLAMP_MAX 0x40u

static int attr_get(pid_t tid, struct kernel_sched_attr *attr, struct err *err)
{
	*attr = (struct kernel_sched_attr) {};
	if (syscall(SYS_sched_getattr, tid, attr, sizeof(*attr), 0) < 0)
		return err_errno(err, "read the scheduling attributes");
	return 0;
}

/* --- saving ---------------------------------------------------------------------- */

static bool is_every_cpu(const uint8_t *mask, size_t len, long n)
{
	for (long i = 0; i < n; i++)
		if ((size_t)i / 8 >= len || !(mask[i / 8] >> (i % 8) & 1))
			return false;
	return true;
}

/*
 * A thread that may run everywhere is not bound to the processors that happen
 * to be here: its mask is written with bits for machines larger than this one.
 */
static int affinity_look(struct saver *s, struct thread *t, struct err *err)
{
	uint8_t mask[MAX_CPU_BYTES] = {};
	long len = syscall(SYS_sched_getaffinity, t->tid, sizeof(mask), mask);
	const struct look_self *self;
	int rc;

	if (len < 0)
		return err_errno(err, "read the processor affinity");
	rc = look_self(s, &self, err);
	if (rc < 0)
		return rc;
	if (is_every_cpu(mask, (size_t)len, self->n_cpus)) {
		len = len > ALL_CPU_BYTES ? len : ALL_CPU_BYTES;
		memset(mask, 0xff, (size_t)len);
	}
	t->extra->has_cpu_affinity = true;
	t->extra->cpu_affinity.len = (size_t)len;
	t->extra->cpu_affinity.data = xmemdup(mask, (size_t)len);
	return 0;
}

static void cookie_look(struct saver *s, struct thread *t)
{
	char name[LOOK_NAME];
	uint64_t cookie = 0;

	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, t->tid, 0, &cookie) == 0 && cookie)
		refuse(s->refusals, "%s: core scheduling is not supported", look_name(t, name));
}

static int sched_look(struct saver *s, struct thread *t, struct err *err)
{
	ThreadCoreEntry *th = t->core->thread_core;
	struct kernel_sched_attr attr;
	int rc = attr_get(t->tid, &attr, err);

	if (rc < 0)
		return rc;
	th->has_sched_policy = th->has_sched_prio = th->has_sched_nice = true;
	th->sched_policy = attr.sched_policy;
	th->sched_prio = attr.sched_priority;
	/* A real-time thread keeps its nice value for later, and the attributes hide it. */
	errno = 0;
	th->sched_nice = getpriority(PRIO_PROCESS, (id_t)t->tid);
	if (errno)
		return err_errno(err, "read the nice value");
	t->extra->has_sched_flags = true;
	t->extra->sched_flags = attr.sched_flags;
	t->extra->has_sched_runtime = true;
	t->extra->sched_runtime = attr.sched_runtime;
	t->extra->has_sched_deadline = true;
	t->extra->sched_deadline = attr.sched_deadline;
	t->extra->has_sched_period = true;
	t->extra->sched_period = attr.sched_period;
	t->extra->has_sched_util_min = true;
	t->extra->sched_util_min = attr.sched_util_min;
	t->extra->has_sched_util_max = true;
	t->extra->sched_util_max = attr.sched_util_max;
	cookie_look(s, t);
	return affinity_look(s, t, err);
}

/* --- rebuilding --------------------------------------------------------------------- */

static struct kernel_sched_attr attr_wanted(const struct thread *t,
					    const struct kernel_sched_attr *now)
{
	const ThreadCoreEntry *th = t->core->thread_core;
	const SdTaskExtra *x = t->extra;
	struct kernel_sched_attr a = {
		.size = sizeof(a),
		.sched_policy = th->has_sched_policy ? th->sched_policy : SCHED_OTHER,
		.sched_priority = th->has_sched_prio ? th->sched_prio : 0,
		.sched_nice = th->has_sched_nice ? th->sched_nice : 0,
		.sched_util_min = now->sched_util_min,
		.sched_util_max = now->sched_util_max,
	};

	if (!x)
		return a;
	a.sched_flags = x->has_sched_flags ? x->sched_flags : 0;
	a.sched_runtime = x->has_sched_runtime ? x->sched_runtime : 0;
	a.sched_deadline = x->has_sched_deadline ? x->sched_deadline : 0;
	a.sched_period = x->has_sched_period ? x->sched_period : 0;
	a.sched_util_min = x->has_sched_util_min ? x->sched_util_min : now->sched_util_min;
	a.sched_util_max = x->has_sched_util_max ? x->sched_util_max : now->sched_util_max;
	return a;
}

static bool is_fair(uint32_t policy)
{
	return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE;
}

/* sched_setattr(2) takes a nice value for these only; an idle thread has one, too. */
static bool takes_nice(uint32_t policy)
{
	return policy == SCHED_OTHER || policy == SCHED_BATCH;
}

static bool attr_same(const struct kernel_sched_attr *a, const struct kernel_sched_attr *b)
{
	return a->sched_policy == b->sched_policy && a->sched_flags == b->sched_flags &&
	       a->sched_priority == b->sched_priority && a->sched_runtime == b->sched_runtime &&
	       a->sched_deadline == b->sched_deadline && a->sched_period == b->sched_period &&
	       a->sched_util_min == b->sched_util_min && a->sched_util_max == b->sched_util_max &&
	       (!is_fair(a->sched_policy) || a->sched_nice == b->sched_nice);
}

static int attr_set(struct thread *t, struct err *err)
{
	struct kernel_sched_attr now, want;
	int rc = attr_get(t->tid, &now, err);

	if (rc < 0)
		return rc;
	want = attr_wanted(t, &now);
	if (want.sched_nice < -MAX_NICE - 1 || want.sched_nice > MAX_NICE)
		return err_set(err, -EBADMSG, "nice value %d", want.sched_nice);
	if (attr_same(&now, &want))
		return 0;
	/* What a fair thread has by default must not become a slice of its own. */
	if (is_fair(want.sched_policy) && want.sched_runtime == now.sched_runtime)
		want.sched_runtime = 0;
	if (want.sched_util_min != now.sched_util_min)
		want.sched_flags |= FLAG_UTIL_CLAMP_MIN;
	if (want.sched_util_max != now.sched_util_max)
		want.sched_flags |= FLAG_UTIL_CLAMP_MAX;
	if (!takes_nice(want.sched_policy) && want.sched_nice != now.sched_nice &&
	    setpriority(PRIO_PROCESS, (id_t)t->tid, want.sched_nice) < 0)
		return err_errno(err, "set the nice value %d", want.sched_nice);
	if (syscall(SYS_sched_setattr, t->tid, &want, 0) < 0)
		return err_errno(err,
				 "set scheduling policy %u, priority %u, nice %d (negative"
				 " nice and real time need CAP_SYS_NICE)",
				 want.sched_policy, want.sched_priority, want.sched_nice);
	return 0;
}

static int affinity_set(const struct thread *t, struct err *err)
{
	const ProtobufCBinaryData *mask;

	if (!t->extra || !t->extra->has_cpu_affinity)
		return 0;
	mask = &t->extra->cpu_affinity;
	if (mask->len > MAX_CPU_BYTES)
		return err_set(err, -EBADMSG, "a processor mask of %zu bytes", mask->len);
	if (syscall(SYS_sched_setaffinity, t->tid, mask->len, mask->data) < 0)
		return err_errno(err, "set the processor affinity (none of its processors may be"
				      " here)");
	return 0;
}

static int sched_outside(struct builder *b, struct thread *t, struct err *err)
{
	/* Affinity first: a deadline thread may not be bound any more. */
	int rc = affinity_set(t, err);

	if (!rc)
		rc = attr_set(t, err);
	return rc < 0 ? err_add(err, rc, "thread %d", t->tid) : 0;
}

const struct task_kind kind_sched = {
	.name = "scheduling",
	.every_thread = true,
	.stage = STAGE_LAST,
	.look = sched_look,
	.outside = sched_outside,
};
