/* run.c - hand plans over to runners and wait until they are walked. */
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/remote/inside.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#define LIMIT_NEVER_S 31536000 /* where it could do nothing about it */
#define GRACE_NS      20000000 /* for the last thread out, see runner.S */
#define POLL_NS	      1000000  /* between two looks for unasked stops */

void slice_reset(struct task_remote *r, size_t slot)
{
	struct runner_slice *s = scratch_slice(r, slot);

	memset(s, 0, offsetof(struct runner_slice, row));
	s->limit.sec = r->protected ? r->limit_s : LIMIT_NEVER_S;
	s->grace.nsec = GRACE_NS;
	s->sigreturn = r->gadgets.sigreturn;
	s->call = r->gadgets.call;
	s->done = board_addr(r);
}

/* Entries at the end of the list that a later row has undone already. */
static void trim_undo(struct runner_slice *s)
{
	while (s->n_undo && s->n_undo <= SLICE_MAX_UNDO && !s->undo[s->n_undo - 1].nr)
		s->n_undo--;
}

int slice_load(struct task_remote *r, size_t slot, struct plan *p, struct err *err)
{
	struct runner_slice *s = scratch_slice(r, slot);
	size_t undo = 0;

	trim_undo(s);
	for (size_t i = 0; i < p->n; i++)
		undo += p->row[i].undo != 0;
	if (s->n_undo + undo > SLICE_MAX_UNDO)
		return err_set(err, -E2BIG, "a plan with %zu rows to be undone", undo);
	memcpy(s->row, p->row, p->n * sizeof(*p->row));
	memcpy(s->data, p->data, p->len);
	s->count = p->n;
	s->state = 0;
	__atomic_store_n(&s->cmd, RUNNER_RUN, __ATOMIC_RELEASE);
	STEP();
	return 0;
}

void slice_store(struct task_remote *r, size_t slot, struct plan *p)
{
	const struct runner_slice *s = scratch_slice(r, slot);

	for (size_t i = 0; i < p->n; i++)
		p->row[i].ret = s->row[i].ret;
	memcpy(p->data, s->data, p->len);
}

bool slice_gone(const struct task_remote *r, size_t slot)
{
	return __atomic_load_n(&scratch_slice(r, slot)->state, __ATOMIC_ACQUIRE) == RUNNER_GONE;
}

void board_expect(struct task_remote *r, uint32_t target)
{
	struct runner_board *b = scratch_board(r);

	b->done = 0;
	__atomic_store_n(&b->target, target, __ATOMIC_RELEASE);
}

/* A stop that nobody asked for: the rest of a group stop, or SIGSTOP. It goes on walking. */
static int see_to(struct tracee *t, struct err *err)
{
	switch (tracee_poll(t)) {
	case STOP_NONE:
		return 0;
	case STOP_GONE:
		return err_set(err, -ESRCH, "thread %d ended", t->tid);
	case STOP_SIGNAL:
		tracee_owe_stop(t);
		/* Whose another one is, its slice says; see slice_held. */
		if (t->signal)
			return err_set(err, -EINTR, "thread %d: signal %d", t->tid, t->signal);
		break;
	case STOP_EVENT:
	case STOP_CALL:
		break;
	}
	return tracee_continue(t, err);
}

int board_wait(struct task *task, struct thread **t, size_t n, struct err *err)
{
	struct task_remote *r = task->remote;
	struct runner_board *b = scratch_board(r);
	const struct timespec poll = { .tv_nsec = POLL_NS };
	uint64_t limit = now_ns() + (uint64_t)r->timeout_ms * 1000000;

	for (unsigned int round = 1;; round++) {
		uint32_t done = __atomic_load_n(&b->done, __ATOMIC_ACQUIRE);

		if (done >= b->target)
			return 0;
		if (now_ns() > limit)
			return err_set(err, -ETIMEDOUT, "a plan takes too long");
		/* The count moves: whoever has stopped is looked for when it does not. */
		if (syscall(SYS_futex, &b->done, FUTEX_WAIT, done, &poll, NULL, 0) == 0 ||
		    errno == EAGAIN)
			continue;
		for (size_t i = 0; i < n; i++) {
			int rc = see_to(t[i]->tracee, err);

			if (rc < 0)
				return rc;
			if (round % 16 == 0 && tracee_ended(t[i]->tracee))
				return err_set(err, -ESRCH, "thread %d ended", t[i]->tid);
		}
	}
}

/* --- the leader's plans -------------------------------------------------------------------- */

void remote_plan_init(struct task *task, struct plan *p)
{
	plan_init(p, slice_addr(task->remote, 0) + offsetof(struct runner_slice, data), PLAN_ROWS,
		  PLAN_DATA);
}

/*
 * It may have been stopped after it looked for a plan and before it began to wait for one:
 * going on from there it would wait in full, find nobody, and rescue itself. So it looks again.
 */
static int look_again(struct task *task, struct err *err)
{
	struct task_remote *r = task->remote;
	struct tracee *t = leader_tracee(task);
	struct regs look;

	regs_run_at(&look, &t->regs, r->scratch, slice_addr(r, 0), r->chain);
	return regs_set(t->tid, &look, err);
}

int remote_start(struct task *task, struct plan *p, struct err *err)
{
	int rc;

	board_expect(task->remote, 1);
	rc = slice_load(task->remote, 0, p, err);
	if (rc == 0)
		rc = look_again(task, err);
	STEP();
	if (rc == 0)
		rc = tracee_continue(leader_tracee(task), err);
	STEP();
	return rc;
}

int slice_held(const struct task_remote *r, size_t slot, struct tracee *t, struct err *err)
{
	if (slice_gone(r, slot))
		return err_set(err, -EIO, "this program was too slow, the task went on by itself");
	return tracee_drop_fault(t, err);
}

int remote_finish(struct task *task, struct plan *p, struct err *err)
{
	struct thread *leader = task_leader(task);
	int rc = board_wait(task, &leader, 1, err), held;

	STEP();
	if (rc == 0)
		rc = tracee_hold(leader->tracee, task->remote->timeout_ms, err);
	STEP();
	/* That it went on, or where it fell, says more than what came of it. */
	held = slice_held(task->remote, 0, leader->tracee, err);
	if (held < 0)
		return held;
	if (rc == 0)
		slice_store(task->remote, 0, p);
	return rc;
}

int remote_run(struct task *task, struct plan *p, struct err *err)
{
	int rc = remote_start(task, p, err);

	return rc < 0 ? rc : remote_finish(task, p, err);
}
