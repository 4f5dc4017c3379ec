/*
 * pending.c - signals that wait: of the whole task, and of one thread, with
 * their siginfo and in their order (PTRACE_PEEKSIGINFO).
 *
 * Put back by rt_sigqueueinfo(2) from inside: the kernel takes any siginfo from
 * a task that sends it to itself. All signals are blocked then, so even those
 * that are ignored stay.
 *
 * Timers go on while a task is held. One that runs out after the queues were read
 * and before it was asked for its time has none left, and its signal is in no queue
 * that was saved: so they are read once more at the end.
 */
#include "base/mem.h"
#include "criu-lite/remote/tracee.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>

enum { SIGINFO_SIZE = 128, PEEK_AT_ONCE = 32, MAX_PENDING = 1 << 20, N_SIGNALS = 64 };

static void queue_push(SignalQueueEntry *q, size_t *cap, const void *info)
{
	SiginfoEntry *e = xmalloc(sizeof(*e));

	siginfo_entry__init(e);
	e->siginfo.len = SIGINFO_SIZE;
	e->siginfo.data = xmemdup(info, SIGINFO_SIZE);
	ARRAY_PUSH(q->signals, q->n_signals, *cap, e);
}

static const siginfo_t *queued(const SignalQueueEntry *q, size_t i)
{
	return (const siginfo_t *)q->signals[i]->siginfo.data;
}

/* Append what is queued to @q, which has @before entries, and take it out of @set. */
static int peek_queue(pid_t tid, uint32_t flags, SignalQueueEntry *q, size_t before, uint64_t *set,
		      size_t *cap)
{
	char info[PEEK_AT_ONCE][SIGINFO_SIZE];

	for (;;) {
		struct __ptrace_peeksiginfo_args args = { .off = q->n_signals - before,
							  .flags = flags,
							  .nr = PEEK_AT_ONCE };
		long n = ptrace(PTRACE_PEEKSIGINFO, tid, &args, info);

		if (n < 0)
			return -errno;
		for (long i = 0; i < n; i++) {
			const siginfo_t *si = (const siginfo_t *)info[i];

			if (si->si_signo >= 1 && si->si_signo <= N_SIGNALS)
				*set &= ~(1ull << (si->si_signo - 1));
			queue_push(q, cap, info[i]);
		}
		if (n < PEEK_AT_ONCE)
			return 0;
		if (q->n_signals > MAX_PENDING)
			return -E2BIG;
	}
}

/*
 * A signal may be marked pending without an entry in the queue (there was no
 * room). The kernel hands out this siginfo for it.
 */
static void push_bare(SignalQueueEntry *q, size_t *cap, uint64_t set)
{
	for (int sig = 1; sig <= N_SIGNALS; sig++) {
		char info[SIGINFO_SIZE] = {};
		siginfo_t *si = (siginfo_t *)info;

		if (!(set >> (sig - 1) & 1))
			continue;
		si->si_signo = sig;
		si->si_code = SI_USER;
		queue_push(q, cap, info);
	}
}

/* A signal that the thread was about to receive when it was stopped is in no queue any more. */
static int delivery_look(struct thread *t, SignalQueueEntry *q, size_t *cap, struct err *err)
{
	char info[SIGINFO_SIZE] = {};

	if (!t->tracee || !t->tracee->signal)
		return 0;
	if (ptrace(PTRACE_GETSIGINFO, t->tid, 0, info) < 0)
		return err_errno(err, "read the signal that it is about to receive");
	queue_push(q, cap, info);
	return 0;
}

static int queue_look(struct thread *t, uint32_t flags, uint64_t set, SignalQueueEntry *q,
		      size_t *cap, struct err *err)
{
	size_t before = q->n_signals;
	int rc;

	set &= ~(1ull << (SIGKILL - 1));
	rc = peek_queue(t->tid, flags, q, before, &set, cap);
	if (rc < 0)
		return err_code(err, rc, "read pending signals");
	push_bare(q, cap, set);
	return 0;
}

/*
 * What waits for one thread alone was there when the tree had stopped, or comes after this
 * checkpoint. (A stop on its way to the whole task is not to be missed: see stop_is_near.)
 */
static int own_look(struct thread *t, uint64_t set, SignalQueueEntry *q, size_t *cap,
		    struct err *err)
{
	return set ? queue_look(t, 0, set, q, cap, err) : 0;
}

/*
 * What stops a task is neither state to save nor a signal to queue: it is about to happen.
 * It may have come after the status was read.
 */
static bool stop_is_near(const struct thread *t, const SignalQueueEntry *q)
{
	if (t->tracee && t->tracee->owes_stop)
		return true;
	for (size_t i = 0; q && i < q->n_signals; i++)
		if (queued(q, i)->si_signo == SIGSTOP)
			return true;
	return false;
}

static int pending_look(struct saver *s, struct thread *t, struct err *err)
{
	SignalQueueEntry *own = t->core->thread_core->signals_p;
	SignalQueueEntry *shared = t->core->tc ? t->core->tc->signals_s : NULL;
	const struct proc_status *st;
	char name[LOOK_NAME];
	size_t cap = 0;
	int rc = thread_status(t, &st, err);

	if (!rc)
		rc = delivery_look(t, own, &cap, err);
	if (!rc)
		rc = own_look(t, st->sig_pending, own, &cap, err);
	cap = 0;
	if (!rc && shared)
		rc = queue_look(t, PTRACE_PEEKSIGINFO_SHARED, st->shared_pending, shared, &cap,
				err);
	if (!rc && (stop_is_near(t, own) || stop_is_near(t, shared)))
		refuse_for_now(s->refusals, "%s: is about to be stopped by a signal; try again",
			       look_name(t, name));
	return rc;
}

/* --- timers that ran out meanwhile ---------------------------------------------------- */

static bool same_sender(const siginfo_t *a, const siginfo_t *b)
{
	return a->si_signo == b->si_signo && a->si_code == b->si_code &&
	       (a->si_code != SI_TIMER || a->si_timerid == b->si_timerid);
}

static bool was_queued(const SignalQueueEntry *q, const siginfo_t *info)
{
	for (size_t i = 0; i < q->n_signals; i++)
		if (same_sender(queued(q, i), info))
			return true;
	return false;
}

/*
 * Before it was asked, that is: one that fires once has nothing left then. One that fires
 * again has more left than has gone by since then, or it ran out (also) after that and the
 * signal is the next one's.
 */
static bool had_run_out(const PosixTimerEntry *e, uint64_t since_ns)
{
	uint64_t left_ns = e->vsec * 1000000000 + e->vnsec;

	return e->isec || e->insec ? left_ns > since_ns : !left_ns;
}

static bool itimer_had_run_out(const TaskTimersEntry *timers, int sig)
{
	if (sig == SIGALRM)
		return !timers->real->vsec && !timers->real->vusec;
	/* On processor time, of which there is as good as none meanwhile. */
	return sig == SIGVTALRM || sig == SIGPROF;
}

static bool from_timer(const TaskTimersEntry *timers, const siginfo_t *info, uint64_t since_ns)
{
	if (info->si_code == SI_KERNEL)
		return itimer_had_run_out(timers, info->si_signo);
	for (size_t i = 0; info->si_code == SI_TIMER && i < timers->n_posix; i++)
		if (timers->posix[i]->it_id == (uint32_t)info->si_timerid)
			return had_run_out(timers->posix[i], since_ns);
	return false;
}

/* What a timer has put into this queue since @q was read from it is added to @q. */
static int queue_recheck(struct thread *t, uint32_t flags, SignalQueueEntry *q, uint64_t asked_ns,
			 struct err *err)
{
	const TaskTimersEntry *timers = task_leader(t->task)->core->tc->timers;
	SignalQueueEntry now = SIGNAL_QUEUE_ENTRY__INIT;
	size_t cap = 0, kept = 0;
	uint64_t set = 0;
	int rc = peek_queue(t->tid, flags, &now, 0, &set, &cap);
	/* Up to here what is in the queue may have come: a moment too late is too late. */
	uint64_t since_ns = now_ns() - asked_ns;

	for (size_t i = 0; i < now.n_signals; i++) {
		SiginfoEntry *e = now.signals[i];
		const siginfo_t *info = queued(&now, i);

		if (rc < 0 || was_queued(q, info) || !from_timer(timers, info, since_ns))
			siginfo_entry__free_unpacked(e, NULL);
		else
			now.signals[kept++] = e;
	}
	if (kept) {
		q->signals = xreallocarray(q->signals, q->n_signals + kept, sizeof(*q->signals));
		memcpy(q->signals + q->n_signals, now.signals, kept * sizeof(*q->signals));
		q->n_signals += kept;
	}
	free(now.signals);
	return rc < 0 ? err_code(err, rc, "read pending signals") : 0;
}

static int pending_recheck(struct thread *t, uint64_t asked_ns, struct err *err)
{
	int rc = 0;

	/* A thread's own signals come from timers of timer_create(2). */
	if (task_leader(t->task)->core->tc->timers->n_posix)
		rc = queue_recheck(t, 0, t->core->thread_core->signals_p, asked_ns, err);
	if (!rc && t->core->tc)
		rc = queue_recheck(t, PTRACE_PEEKSIGINFO_SHARED, t->core->tc->signals_s, asked_ns,
				   err);
	return rc;
}

/* --- rebuilding ----------------------------------------------------------------------- */

static int queue_rebuild(struct thread *t, struct batch *batch, const SignalQueueEntry *q,
			 bool whole_task, struct err *err)
{
	struct plan *p = &batch->plan;

	for (size_t i = 0; q && i < q->n_signals; i++) {
		const ProtobufCBinaryData *info = &q->signals[i]->siginfo;
		int32_t sig;
		uint64_t at;
		int rc;

		if (info->len != SIGINFO_SIZE)
			return err_set(err, -EBADMSG, "thread %d: a pending signal of %zu bytes",
				       t->tid, info->len);
		memcpy(&sig, info->data, sizeof(sig));
		if (sig < 1 || sig > N_SIGNALS || sig == SIGKILL || sig == SIGSTOP)
			return err_set(err, -EBADMSG, "thread %d: signal %d pending", t->tid, sig);
		rc = batch_room(batch, 1, SIGINFO_SIZE, err);
		if (rc < 0)
			return rc;
		at = plan_put(p, info->data, SIGINFO_SIZE);
		if (whole_task)
			plan_add(p, PLAN_MUST, "queue a signal for the task", SYS_rt_sigqueueinfo,
				 (uint64_t)t->task->pid, (uint64_t)sig, at);
		else
			plan_add(p, PLAN_MUST, "queue a signal for the thread",
				 SYS_rt_tgsigqueueinfo, (uint64_t)t->task->pid, (uint64_t)t->tid,
				 (uint64_t)sig, at);
	}
	return 0;
}

static int pending_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			   struct err *err)
{
	int rc = 0;

	if (t->core->tc)
		rc = queue_rebuild(t, batch, t->core->tc->signals_s, true, err);
	if (!rc)
		rc = queue_rebuild(t, batch, t->core->thread_core->signals_p, false, err);
	return rc;
}

const struct task_kind kind_pending = {
	.name = "pending signals",
	.every_thread = true,
	.stage = STAGE_STATE,
	.look = pending_look,
	.recheck = pending_recheck,
	.rebuild = pending_rebuild,
};
