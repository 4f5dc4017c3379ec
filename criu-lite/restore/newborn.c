/* newborn.c - plans, stops and the end of threads that are being built. */
#include "criu-lite/restore/newborn.h"
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/arch/x86-64/regs.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define LOOK_MS	    50	/* between looks whether a thread that owes an answer still lives */
#define PATIENCE_S  600 /* for one plan: locking much memory takes its time */
#define STOP_WAIT_S 10	/* for a stop, or an end that was asked for: microseconds as a rule */
#define ALL_SIGNALS UINT64_MAX

uint64_t nursery_code(const struct nursery *h)
{
	return h->start;
}

struct newborn *newborn_of(const struct nursery *h, const struct thread *t)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->newborn[i].thread == t)
			return &h->newborn[i];
	return NULL;
}

struct newborn *newborn_leader(const struct task *t, const struct nursery *h)
{
	return newborn_of(h, task_leader(t));
}

/* --- waiting ------------------------------------------------------------------------ */

/* SIGCHLD, which comes with every stop, is held back in a restore: see restore.c. */
static void await_sigchld(unsigned ms)
{
	struct timespec limit = { .tv_nsec = (long)ms * 1000000 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigtimedwait(&set, NULL, &limit);
}

static uint64_t deadline(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec + STOP_WAIT_S;
}

/* False when it is over. */
static bool wait_more(uint64_t until)
{
	struct timespec now;

	await_sigchld(LOOK_MS);
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec <= until;
}

static int too_long(const struct newborn *n, struct err *err)
{
	return err_set(err, -ETIMEDOUT, "thread %d: no stop in %d s", n->tid, STOP_WAIT_S);
}

/* --- stops ------------------------------------------------------------------------- */

static int ended(struct newborn *n, int status, struct err *err)
{
	n->alive = n->held = false;
	n->status = status;
	if (WIFSIGNALED(status))
		return err_set(err, -ESRCH, "thread %d was killed by signal %d while it was built",
			       n->tid, WTERMSIG(status));
	return err_set(err, -ESRCH, "thread %d ended while it was built", n->tid);
}

int newborn_wait(struct newborn *n, int *status, struct err *err)
{
	uint64_t until = deadline();
	pid_t pid;

	do
		pid = waitpid(n->tid, status, __WALL | WNOHANG);
	while ((pid == 0 || (pid < 0 && errno == EINTR)) && wait_more(until));
	if (pid == 0 || (pid < 0 && errno == EINTR))
		return too_long(n, err);
	if (pid < 0) {
		n->alive = false;
		return err_errno(err, "waiting for thread %d", n->tid);
	}
	if (!WIFSTOPPED(*status))
		return ended(n, *status, err);
	n->held = true;
	return 0;
}

int newborn_peek(const struct newborn *n, siginfo_t *info, struct err *err)
{
	const int how = WSTOPPED | WEXITED | WNOWAIT | WNOHANG | __WALL;
	uint64_t until = deadline();
	int rc;

	do {
		*info = (siginfo_t) {};
		rc = waitid(P_PID, (id_t)n->tid, info, how);
	} while ((rc == 0 ? !info->si_pid : errno == EINTR) && wait_more(until));
	if (rc == 0 && info->si_pid)
		return 0;
	return rc < 0 && errno != EINTR ? err_errno(err, "waiting for thread %d", n->tid)
					: too_long(n, err);
}

static bool is_fault(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGSYS ||
	       sig == SIGTRAP;
}

static int judge_stop(struct newborn *n, int status, struct err *err)
{
	int sig = WSTOPSIG(status);
	siginfo_t info = {};

	if (status >> 16)
		return 0;
	if (sig == SIGSTOP)
		n->owes_stop = true;
	if (!is_fault(sig))
		return 0;
	ptrace(PTRACE_GETSIGINFO, n->tid, 0, &info);
	return err_set(err, -EFAULT, "thread %d: signal %d at %p while it was built", n->tid, sig,
		       info.si_addr);
}

int newborn_go(struct newborn *n, struct err *err)
{
	if (!n->held)
		return 0;
	if (ptrace(PTRACE_CONT, n->tid, 0, 0) < 0)
		return err_errno(err, "letting thread %d go on", n->tid);
	n->held = false;
	return 0;
}

/* It owes us an answer: has it stopped or died instead? */
static int look(struct newborn *n, struct err *err)
{
	int status, rc;
	pid_t pid = waitpid(n->tid, &status, __WALL | WNOHANG);

	if (pid == 0)
		return 0;
	if (pid < 0)
		return err_errno(err, "waiting for thread %d", n->tid);
	if (!WIFSTOPPED(status))
		return ended(n, status, err);
	n->held = true;
	rc = judge_stop(n, status, err);
	return rc < 0 ? rc : newborn_go(n, err);
}

void newborn_interrupt(struct newborn *n)
{
	if (!n->held)
		ptrace(PTRACE_INTERRUPT, n->tid, 0, 0);
}

/* After newborn_interrupt: any stop will do. */
int newborn_hold(struct newborn *n, struct err *err)
{
	int status, rc;

	if (n->held)
		return 0;
	rc = newborn_wait(n, &status, err);
	return rc < 0 ? rc : judge_stop(n, status, err);
}

/* --- birth ---------------------------------------------------------------------------- */

int newborn_at_runner(struct newborn *n, struct err *err)
{
	uint64_t slice = (uint64_t)(uintptr_t)n->slice;
	struct regs blank, regs;

	regs_blank(&blank);
	if (n->thread && n->thread->core->thread_info) {
		const UserX86RegsEntry *own = n->thread->core->thread_info->gpregs;

		blank.user.fs_base = own->fs_base;
		blank.user.gs_base = own->gs_base;
	}
	regs_run_at(&regs, &blank, nursery_code(n->home), slice, slice);
	return regs_set(n->tid, &regs, err);
}

static int make_ready(struct newborn *n, struct err *err)
{
	uint64_t all = ALL_SIGNALS;
	int rc = newborn_at_runner(n, err);

	if (rc < 0)
		return rc;
	if (ptrace(PTRACE_SETSIGMASK, n->tid, sizeof(all), &all) < 0)
		return err_errno(err, "blocking the signals of thread %d", n->tid);
	STEP();
	return 0;
}

int newborn_adopt(struct newborn *n, struct err *err)
{
	int status, rc;

	n->alive = true;
	STEP();
	rc = newborn_wait(n, &status, err);
	if (!rc)
		rc = judge_stop(n, status, err);
	return rc < 0 ? rc : make_ready(n, err);
}

/* --- plans ------------------------------------------------------------------------------- */

static void futex_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futex_wait(uint32_t *word, uint32_t is, unsigned ms)
{
	struct timespec limit = { .tv_nsec = (long)ms * 1000000 };

	syscall(SYS_futex, word, FUTEX_WAIT, is, &limit, NULL, 0);
}

void newborn_start(struct newborn *n, const struct plan *p)
{
	struct newborn_slice *s = n->slice;

	STEP();
	for (size_t i = 0; i < p->n; i++) {
		s->plan.row[i] = p->row[i];
		s->plan.row[i].undo = 0; /* what is made here stays, or dies with its maker */
	}
	memcpy(s->plan.data, p->data, p->len);
	s->plan.count = p->n;
	s->own.count = 0;
	s->own.target = 1;
	__atomic_store_n(&s->plan.cmd, RUNNER_RUN, __ATOMIC_SEQ_CST);
	/* One that has never run yet; if it cannot, newborn_finish says why. */
	if (n->held)
		newborn_go(n, NULL);
	else
		futex_wake(&s->plan.cmd);
}

int newborn_finish(struct newborn *n, struct plan *p, struct err *err)
{
	struct newborn_slice *s = n->slice;
	unsigned looks = 0;
	int rc = newborn_go(n, err);

	if (rc < 0)
		return rc;
	while (!__atomic_load_n(&s->own.count, __ATOMIC_SEQ_CST)) {
		futex_wait(&s->own.count, 0, LOOK_MS);
		if (__atomic_load_n(&s->own.count, __ATOMIC_SEQ_CST))
			break;
		rc = look(n, err);
		if (rc < 0)
			return rc;
		if (++looks > PATIENCE_S * 1000 / LOOK_MS)
			return err_set(err, -ETIMEDOUT, "thread %d: a plan took over %d s", n->tid,
				       PATIENCE_S);
	}
	for (size_t i = 0; i < p->n; i++)
		p->row[i].ret = s->plan.row[i].ret;
	memcpy(p->data, s->plan.data, p->len);
	return 0;
}

int newborn_run(struct newborn *n, struct plan *p, struct err *err)
{
	newborn_start(n, p);
	return newborn_finish(n, p, err);
}

static int run_batch(struct batch *b, struct err *err)
{
	return newborn_run(b->arg, &b->plan, err);
}

struct batch *newborn_batch(struct newborn *n)
{
	struct batch *b = &n->batch;

	if (!b->run) {
		plan_init(&b->plan, (uint64_t)(uintptr_t)n->slice->plan.data, PLAN_ROWS, PLAN_DATA);
		b->thread = n->thread;
		b->run = run_batch;
		b->arg = n;
	}
	return b;
}

static int finish_batch(struct newborn *n, struct err *err)
{
	struct plan *p = &n->batch.plan;
	int rc = newborn_finish(n, p, err);

	if (!rc)
		rc = plan_judge(p, err);
	plan_reset(p);
	if (rc < 0 && n->thread && n->tid != n->thread->task->pid)
		return err_add(err, rc, "task %d: thread %d", n->thread->task->pid, n->tid);
	return rc < 0 ? err_add(err, rc, "task %d", n->tid) : 0;
}

int newborn_flush(struct newborn *n, struct err *err)
{
	if (!n->batch.plan.n)
		return 0;
	newborn_start(n, &n->batch.plan);
	return finish_batch(n, err);
}

int nursery_flush(struct nursery *h, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < h->n; i++)
		if (h->newborn[i].batch.plan.n)
			newborn_start(&h->newborn[i], &h->newborn[i].batch.plan);
	for (size_t i = 0; !rc && i < h->n; i++)
		if (h->newborn[i].batch.plan.n)
			rc = finish_batch(&h->newborn[i], err);
	return rc;
}

/* Those of thousands of threads are not kept. */
void nursery_forget_plans(struct nursery *h)
{
	for (size_t i = 0; i < h->n; i++) {
		plan_release(&h->newborn[i].batch.plan);
		h->newborn[i].batch = (struct batch) {};
	}
}

/* --- the end ---------------------------------------------------------------------------- */

/* One that does not get around to dying now dies with the tool, or soon after it. */
static void reap(struct newborn *n, uint64_t until)
{
	int status;

	while (n->alive) {
		pid_t pid = waitpid(n->tid, &status, __WALL | WNOHANG);

		if (pid > 0 && !WIFSTOPPED(status))
			n->alive = false;
		else if (pid < 0 && errno != EINTR)
			n->alive = false;
		else if (pid <= 0 && !wait_more(until))
			return;
	}
}

/* The last first: a leader is reported only after its threads. */
void nursery_kill(struct nursery *h)
{
	uint64_t until = deadline();

	for (size_t i = 0; i < h->n; i++)
		if (h->newborn[i].alive)
			kill(h->newborn[i].tid, SIGKILL);
	for (size_t i = h->n; i-- > 0;)
		reap(&h->newborn[i], until);
}
