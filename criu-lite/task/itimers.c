/* itimers.c - the three interval timers of a task, setitimer(2). */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <sys/time.h>

static uint64_t itimers_ask(struct thread *t, struct plan *p)
{
	size_t first = p->n;

	for (uint64_t which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
		uint64_t at = plan_put(p, NULL, sizeof(struct itimerval));

		plan_add(p, PLAN_MUST, "ask for an interval timer", SYS_getitimer, which, at);
	}
	return first;
}

static ItimerEntry *itimer_of(const TaskTimersEntry *timers, int which)
{
	return which == ITIMER_REAL	 ? timers->real
	       : which == ITIMER_VIRTUAL ? timers->virt
					 : timers->prof;
}

static int itimers_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			struct err *err)
{
	for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
		const struct itimerval *v = row_answer(p, asked + which, 1);
		ItimerEntry *e = itimer_of(t->core->tc->timers, which);

		e->isec = (uint64_t)v->it_interval.tv_sec;
		e->iusec = (uint64_t)v->it_interval.tv_usec;
		e->vsec = (uint64_t)v->it_value.tv_sec;
		e->vusec = (uint64_t)v->it_value.tv_usec;
	}
	return 0;
}

static int itimer_value(const ItimerEntry *e, struct itimerval *v)
{
	if (e->iusec >= 1000000 || e->vusec >= 1000000 || e->isec > INT64_MAX ||
	    e->vsec > INT64_MAX)
		return -EBADMSG;
	*v = (struct itimerval) { { (time_t)e->isec, (suseconds_t)e->iusec },
				  { (time_t)e->vsec, (suseconds_t)e->vusec } };
	/* It has run out, and its signal is among the pending ones: the next round begins. */
	if (!e->vsec && !e->vusec)
		v->it_value = v->it_interval;
	return 0;
}

static int itimers_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			   struct err *err)
{
	int rc = batch_room(batch, 3, 3 * sizeof(struct itimerval) + 3 * 16, err);

	if (rc < 0 || !t->core->tc->timers)
		return rc;
	for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
		struct itimerval v;

		rc = itimer_value(itimer_of(t->core->tc->timers, which), &v);
		if (rc < 0)
			return err_set(err, rc, "task %d: interval timer %d: no time", t->task->pid,
				       which);
		if (!v.it_value.tv_sec && !v.it_value.tv_usec)
			continue;
		plan_add(&batch->plan, PLAN_MUST, "set an interval timer", SYS_setitimer,
			 (uint64_t)which, plan_put(&batch->plan, &v, sizeof(v)), 0);
	}
	return 0;
}

const struct task_kind kind_itimers = {
	.name = "interval timers",
	.stage = STAGE_TIMERS,
	.ask = itimers_ask,
	.save = itimers_save,
	.rebuild = itimers_rebuild,
};
