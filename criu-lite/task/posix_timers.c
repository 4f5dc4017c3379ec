/*
 * posix_timers.c - timers of timer_create(2): which there are from
 * /proc/PID/timers, their times asked inside, made again with the same numbers.
 */
#include "base/mem.h"
#include "criu-lite/proc/timers.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"
#include "criu-lite/remote/remote.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS	77 /* since 6.15 */
#define PR_TIMER_CREATE_RESTORE_IDS_OFF 0
#define PR_TIMER_CREATE_RESTORE_IDS_ON	1
#endif

enum {
	ROWS_A_TIMER = 2,
	ASK_FIRST = 8, /* in the plan of all kinds, which is not ours alone */
	ASK_AT_ONCE = 32,
	MAX_TIMERS = 1 << 20,
	NSEC = 1000000000,
	/*
	 * An older kernel counts timer numbers up from 0 in a new task: every
	 * number below is made and deleted. Beyond this it would take seconds.
	 */
	MAX_COUNTED_ID = 1 << 20,
};

/* The kernel's struct sigevent, all 64 bytes. */
struct kernel_sigevent {
	uint64_t value;
	int32_t signo;
	int32_t notify;
	int32_t tid;
	int32_t pad[11];
};
_Static_assert(sizeof(struct kernel_sigevent) == 64, "layout of timer_create(2)");

/* --- saving ------------------------------------------------------------------------- */

static PosixTimerEntry *timer_entry(const struct proc_timer *v)
{
	PosixTimerEntry *e = xmalloc(sizeof(*e));

	posix_timer_entry__init(e);
	e->it_id = (uint32_t)v->id;
	e->clock_id = (uint32_t)v->clockid;
	e->si_signo = (uint32_t)v->signo;
	e->it_sigev_notify = (uint32_t)v->notify;
	e->sival_ptr = v->sival_ptr;
	if (v->notify & SIGEV_THREAD_ID) {
		e->has_notify_thread_id = true;
		e->notify_thread_id = v->target;
	}
	return e;
}

static bool has_thread(const struct task *task, pid_t tid)
{
	for (size_t i = 0; i < task->n_threads; i++)
		if (task->thread[i]->tid == tid)
			return true;
	return false;
}

/*
 * CPU time clocks are negative: the complement of a pid (0: the creator's own),
 * then three bits. The clock of the creating thread is bound to one that the
 * kernel does not name; that of another task holds its pid.
 */
static void refuse_clock(struct saver *s, const struct task *task, const struct proc_timer *v)
{
	enum { KIND_BITS = 7, DEVICE = 3, PER_THREAD = 4 };
	pid_t owner = v->clockid < 0 ? ~(v->clockid >> 3) : 0;

	if (v->clockid < 0 && (v->clockid & KIND_BITS) == DEVICE)
		refuse(s->refusals, "task %d: timer %d on a device's clock is not supported",
		       task->pid, v->id);
	else if (!owner && task->n_threads > 1 &&
		 (v->clockid == CLOCK_THREAD_CPUTIME_ID ||
		  (v->clockid < 0 && v->clockid & PER_THREAD)))
		refuse(s->refusals,
		       "task %d: timer %d on the CPU time of one of several threads is not"
		       " supported",
		       task->pid, v->id);
	else if (owner && !has_thread(task, owner) && !tree_find(s->tree, owner))
		refuse(s->refusals,
		       "task %d: timer %d on the CPU time of %d, which is not in the tree, is not"
		       " supported",
		       task->pid, v->id, owner);
}

static int timers_look(struct saver *s, struct thread *t, struct err *err)
{
	TaskTimersEntry *timers = t->core->tc->timers;
	scoped struct proc_timer *v = NULL;
	size_t n = 0;
	int rc = proc_timers_read(t->task->proc, &v, &n, err);

	if (rc == -ENOENT)
		return err_set(err, ERR_REFUSED,
			       "task %d: this kernel does not show timers (CONFIG_POSIX_TIMERS,"
			       " CONFIG_CHECKPOINT_RESTORE)",
			       t->task->pid);
	if (rc < 0 || !n)
		return rc;
	timers->posix = xcalloc(n, sizeof(*timers->posix));
	for (size_t i = 0; i < n; i++) {
		refuse_clock(s, t->task, &v[i]);
		timers->posix[timers->n_posix++] = timer_entry(&v[i]);
	}
	return 0;
}

/* Rows for the timers from @at on, @max at the most; returns how many. */
static size_t ask_some(const TaskTimersEntry *timers, size_t at, size_t max, struct plan *p)
{
	size_t n = 0;

	for (; at + n < timers->n_posix && n < max; n++) {
		uint64_t id = timers->posix[at + n]->it_id;
		uint64_t to = plan_put(p, NULL, sizeof(struct itimerspec));

		plan_add(p, PLAN_MUST, "ask for a timer", SYS_timer_gettime, id, to);
		plan_add(p, PLAN_MUST, "ask for a timer's overruns", SYS_timer_getoverrun, id);
	}
	return n;
}

static void take_some(TaskTimersEntry *timers, size_t at, size_t n, const struct plan *p,
		      size_t first)
{
	for (size_t i = 0; i < n; i++, first += ROWS_A_TIMER) {
		const struct itimerspec *its = row_answer(p, first, 1);
		PosixTimerEntry *e = timers->posix[at + i];

		e->isec = (uint64_t)its->it_interval.tv_sec;
		e->insec = (uint64_t)its->it_interval.tv_nsec;
		e->vsec = (uint64_t)its->it_value.tv_sec;
		e->vnsec = (uint64_t)its->it_value.tv_nsec;
		e->overrun = (uint32_t)plan_ret(p, first + 1);
	}
}

static uint64_t timers_ask(struct thread *t, struct plan *p)
{
	size_t first = p->n;

	ask_some(t->core->tc->timers, 0, ASK_FIRST, p);
	return first;
}

static int timers_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		       struct err *err)
{
	TaskTimersEntry *timers = t->core->tc->timers;
	size_t at = timers->n_posix < ASK_FIRST ? timers->n_posix : ASK_FIRST;
	int rc = 0;

	take_some(timers, 0, at, p, asked);
	while (!rc && at < timers->n_posix) {
		struct plan more;
		size_t n;

		remote_plan_init(t->task, &more);
		n = ask_some(timers, at, ASK_AT_ONCE, &more);
		rc = remote_run(t->task, &more, err);
		if (!rc)
			rc = plan_judge(&more, err);
		if (!rc)
			take_some(timers, at, n, &more, 0);
		plan_release(&more);
		at += n;
	}
	return rc;
}

/* --- rebuilding ------------------------------------------------------------------------ */

static int by_id(const void *a, const void *b)
{
	const PosixTimerEntry *x = *(PosixTimerEntry *const *)a, *y = *(PosixTimerEntry *const *)b;

	return x->it_id < y->it_id ? -1 : x->it_id > y->it_id;
}

static int check_timer(const struct thread *t, const PosixTimerEntry *e, struct err *err)
{
	if (e->it_id > INT32_MAX || e->insec >= NSEC || e->vnsec >= NSEC || e->isec > INT64_MAX ||
	    e->vsec > INT64_MAX)
		return err_set(err, -EBADMSG, "task %d: timer %u: no time or number", t->task->pid,
			       e->it_id);
	return 0;
}

/* timer_create(2); *@id_at is where the kernel reads and writes the number. */
static void add_create(struct plan *p, const PosixTimerEntry *e, uint64_t *id_at)
{
	struct kernel_sigevent ev = {
		.value = e->sival_ptr,
		.signo = (int32_t)e->si_signo,
		.notify = (int32_t)e->it_sigev_notify,
		.tid = e->has_notify_thread_id ? e->notify_thread_id : 0,
	};
	uint64_t ev_at = plan_put(p, &ev, sizeof(ev));

	*id_at = plan_put(p, &e->it_id, sizeof(e->it_id));
	plan_add(p, PLAN_MUST, "create a timer", SYS_timer_create, e->clock_id, ev_at, *id_at);
}

/* Make and delete timers until the next number is @upto. */
static int skip_ids(struct batch *batch, uint32_t from, uint32_t upto, struct err *err)
{
	struct kernel_sigevent none = { .notify = SIGEV_NONE };
	int rc = 0;

	for (uint32_t id = from; !rc && id < upto; id++) {
		struct plan *p = &batch->plan;
		uint64_t ev, at;

		rc = batch_room(batch, 2, sizeof(none) + 16, err);
		if (rc < 0)
			return rc;
		ev = plan_put(p, &none, sizeof(none));
		at = plan_put(p, NULL, sizeof(id));
		plan_add(p, PLAN_MUST, "count timer numbers up", SYS_timer_create, CLOCK_MONOTONIC,
			 ev, at);
		plan_add(p, PLAN_MUST, "count timer numbers up", SYS_timer_delete, id);
	}
	return rc;
}

static int create_timer(struct thread *t, struct batch *batch, const PosixTimerEntry *e,
			bool by_number, uint32_t *next, struct err *err)
{
	uint64_t id_at;
	uint32_t id;
	int rc = check_timer(t, e, err);

	if (!rc && !by_number) {
		if (e->it_id > MAX_COUNTED_ID)
			return err_set(err, ERR_REFUSED,
				       "task %d: timer number %u needs a kernel of 6.15 or later",
				       t->task->pid, e->it_id);
		rc = skip_ids(batch, *next, e->it_id, err);
	}
	if (!rc)
		rc = batch_flush(batch, err);
	if (rc < 0)
		return rc;
	add_create(&batch->plan, e, &id_at);
	rc = batch_run(batch, err);
	id = rc < 0 ? 0 : *(uint32_t *)plan_at(&batch->plan, id_at);
	plan_reset(&batch->plan);
	if (!rc && id != e->it_id)
		return err_set(err, -EIO, "task %d: the kernel gave timer number %u, not %u",
			       t->task->pid, id, e->it_id);
	*next = e->it_id + 1;
	return rc;
}

static int set_timer(struct batch *batch, const PosixTimerEntry *e, struct err *err)
{
	struct itimerspec its = { { (time_t)e->isec, (long)e->insec },
				  { (time_t)e->vsec, (long)e->vnsec } };
	int rc;

	/* It has run out and its signal is among the pending ones: the next round begins. */
	if (!e->vsec && !e->vnsec)
		its.it_value = its.it_interval;
	if (!its.it_value.tv_sec && !its.it_value.tv_nsec)
		return 0;
	rc = batch_room(batch, 1, sizeof(its), err);
	if (rc < 0)
		return rc;
	plan_add(&batch->plan, PLAN_MUST, "set a timer", SYS_timer_settime, e->it_id, 0,
		 plan_put(&batch->plan, &its, sizeof(its)), 0);
	return 0;
}

/* Whether the newborn may choose the numbers itself; leaves that mode on. */
static int choose_ids(struct batch *batch, bool *by_number, struct err *err)
{
	int rc = batch_flush(batch, err);

	if (rc < 0)
		return rc;
	plan_add(&batch->plan, PLAN_MAY, "choose timer numbers", SYS_prctl,
		 PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON);
	rc = batch_run(batch, err);
	*by_number = plan_ret(&batch->plan, 0) == 0;
	plan_reset(&batch->plan);
	return rc;
}

static int create_all(struct thread *t, struct batch *batch, PosixTimerEntry **timer, size_t n,
		      struct err *err)
{
	uint32_t next = 0;
	bool by_number;
	int rc = choose_ids(batch, &by_number, err);

	for (size_t i = 0; !rc && i < n; i++)
		rc = create_timer(t, batch, timer[i], by_number, &next, err);
	if (rc < 0 || !by_number)
		return rc;
	plan_add(&batch->plan, PLAN_MUST, "let the kernel number timers again", SYS_prctl,
		 PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_OFF);
	return 0;
}

static int timers_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	const TaskTimersEntry *timers = t->core->tc->timers;
	scoped PosixTimerEntry **sorted = NULL;
	int rc;

	if (!timers || !timers->n_posix)
		return 0;
	if (timers->n_posix > MAX_TIMERS)
		return err_set(err, -EBADMSG, "task %d: %zu timers", t->task->pid, timers->n_posix);
	sorted = xmemdup(timers->posix, timers->n_posix * sizeof(*sorted));
	qsort(sorted, timers->n_posix, sizeof(*sorted), by_id);
	rc = create_all(t, batch, sorted, timers->n_posix, err);
	/* All exist before the first one runs. */
	for (size_t i = 0; !rc && i < timers->n_posix; i++)
		rc = set_timer(batch, sorted[i], err);
	return rc;
}

const struct task_kind kind_posix_timers = {
	.name = "timers",
	.stage = STAGE_TIMERS,
	.file = "timers",
	.look = timers_look,
	.ask = timers_ask,
	.save = timers_save,
	.rebuild = timers_rebuild,
};
