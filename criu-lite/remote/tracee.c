/* tracee.c - one thread held by ptrace: attaching, stops, single calls, letting go. */
#include "criu-lite/remote/tracee.h"
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/remote/remote.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "base/kernel-abi.h" /* after sys/ptrace.h, which has these names as enumerators */

#define CALL_STOP (SIGTRAP | 0x80) /* PTRACE_O_TRACESYSGOOD */
#define MASK_LEN  8

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int task_peek(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec here = { buf, len }, there = { (void *)addr, len };
	ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EFAULT;
}

int task_poke(pid_t pid, uint64_t addr, const void *buf, size_t len)
{
	struct iovec here = { (void *)buf, len }, there = { (void *)addr, len };
	ssize_t n = process_vm_writev(pid, &here, 1, &there, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EFAULT;
}

int tracee_seize(struct tracee *t, pid_t tid)
{
	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD) < 0)
		return -errno;
	t->tid = tid;
	STEP();
	tracee_interrupt(t);
	STEP();
	return 0;
}

void tracee_interrupt(struct tracee *t)
{
	/* It may end at any moment: the wait that follows will see. */
	ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
}

static enum stop judge(struct tracee *t, int status)
{
	int sig;

	if (!WIFSTOPPED(status)) {
		t->gone = true;
		return STOP_GONE;
	}
	t->held = true;
	t->signal = 0;
	sig = WSTOPSIG(status);
	if (status >> 16 == PTRACE_EVENT_STOP) {
		t->group_stop = sig == SIGTRAP ? 0 : sig;
		return STOP_EVENT;
	}
	if (sig == CALL_STOP)
		return STOP_CALL;
	t->signal = sig;
	return STOP_SIGNAL;
}

/*
 * A task that was killed: its leader's end is told to nobody before all other threads are
 * waited for, and that may be ours to do later. The kernel shows it all the same.
 */
bool tracee_ended(struct tracee *t)
{
	scoped_proc dir = NULL;
	struct proc_stat stat = {};
	int rc;

	if (t->gone)
		return true;
	rc = proc_open(&dir, NULL, t->tid, NULL);
	if (!rc)
		rc = proc_stat_read(dir, &stat, NULL);
	t->gone = proc_ended(rc) || (!rc && strchr("ZX", stat.state));
	return t->gone;
}

enum stop tracee_poll(struct tracee *t)
{
	int status;
	pid_t got;

	if (t->gone)
		return STOP_GONE;
	got = waitpid(t->tid, &status, __WALL | WNOHANG);

	if (got == 0 || (got < 0 && errno == EINTR))
		return STOP_NONE;
	if (got < 0) {
		t->gone = true;
		return STOP_GONE;
	}
	return judge(t, status);
}

int tracee_wait(struct tracee *t, unsigned int timeout_ms, enum stop *stop, struct err *err)
{
	uint64_t limit = now_ns() + (uint64_t)timeout_ms * 1000000;
	const struct timespec nap = { .tv_nsec = 50000 };

	for (unsigned int round = 0;; round++) {
		*stop = tracee_poll(t);
		if (*stop == STOP_GONE || (round % 128 == 127 && tracee_ended(t)))
			return err_set(err, -ESRCH, "thread %d ended", t->tid);
		if (*stop != STOP_NONE)
			return 0;
		if (now_ns() > limit)
			return err_set(err, -ETIMEDOUT, "thread %d does not stop", t->tid);
		/* A stop takes microseconds: yield first, sleep when it takes long. */
		if (round < 100)
			sched_yield();
		else
			nanosleep(&nap, NULL);
	}
}

void tracee_owe_stop(struct tracee *t)
{
	if (t->signal != SIGSTOP)
		return;
	t->owes_stop = true;
	t->signal = 0;
}

int tracee_drop_fault(struct tracee *t, struct err *err)
{
	int sig = t->signal;

	t->signal = 0;
	return sig ? err_set(err, -EFAULT, "thread %d: signal %d in our own code", t->tid, sig) : 0;
}

int tracee_hold(struct tracee *t, unsigned int timeout_ms, struct err *err)
{
	enum stop stop;
	int rc;

	if (t->held)
		return 0;
	tracee_interrupt(t);
	rc = tracee_wait(t, timeout_ms, &stop, err);
	if (rc == 0 && t->inside)
		tracee_owe_stop(t);
	return rc;
}

static int resume(struct tracee *t, enum __ptrace_request how, struct err *err)
{
	if (ptrace(how, t->tid, NULL, (unsigned long)t->signal) < 0) {
		/* Killed in its stop, it is waited for; else it still stands there. */
		t->held = errno != ESRCH;
		return err_errno(err, "continuing thread %d", t->tid);
	}
	t->held = false;
	t->signal = 0;
	return 0;
}

int tracee_continue(struct tracee *t, struct err *err)
{
	return resume(t, PTRACE_CONT, err);
}

int tracee_set_mask(struct tracee *t, uint64_t mask, struct err *err)
{
	if (ptrace(PTRACE_SETSIGMASK, t->tid, MASK_LEN, &mask) < 0)
		return err_errno(err, "setting the signal mask of thread %d", t->tid);
	return 0;
}

int tracee_give_back(struct tracee *t, struct err *err)
{
	int rc = tracee_set_mask(t, t->mask, err);

	STEP();
	if (rc == 0)
		rc = regs_set(t->tid, &t->regs, err);
	STEP();
	return rc;
}

/* struct rseq and struct rseq_cs of linux/rseq.h: the words that we look at. */
struct rseq_section {
	uint32_t version, flags;
	uint64_t start, len, abort;
};
#define RSEQ_CS_AT 8

/*
 * Inside a restartable sequence the kernel would go to the abort handler after
 * this stop. Our own code clears rseq_cs, so we do what the kernel can no longer do.
 */
static void abort_rseq(struct tracee *t)
{
	struct {
		uint64_t addr;
		uint32_t size, signature, flags, pad;
	} conf;
	struct rseq_section cs;
	uint64_t cs_addr;

	if (regs_in_call(&t->regs)) /* not allowed in a sequence */
		return;
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, t->tid, sizeof(conf), &conf) < 0 || !conf.addr)
		return;
	if (task_peek(t->tid, conf.addr + RSEQ_CS_AT, &cs_addr, sizeof(cs_addr)) < 0 || !cs_addr)
		return;
	if (task_peek(t->tid, cs_addr, &cs, sizeof(cs)) < 0)
		return;
	if (regs_ip(&t->regs) - cs.start < cs.len)
		regs_jump(&t->regs, cs.abort);
}

int tracee_load(struct tracee *t, uint64_t slept_ns, struct err *err)
{
	int rc = regs_get(t->tid, &t->regs, err);

	if (rc < 0)
		return rc;
	if (regs_resume(&t->regs, slept_ns))
		rc = regs_set(t->tid, &t->regs, err);
	STEP();
	if (rc < 0)
		return rc;
	if (ptrace(PTRACE_GETSIGMASK, t->tid, MASK_LEN, &t->mask) < 0)
		return err_errno(err, "reading the signal mask of thread %d", t->tid);
	abort_rseq(t);
	return xstate_get(t->tid, &t->xstate, err);
}

/* Where in a call it stopped: at its entry, at its exit, or in none. */
static int look_at_call(struct tracee *t, struct err *err)
{
	struct __ptrace_syscall_info info = {};

	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(info), &info) < 0)
		return err_errno(err, "asking where thread %d stopped", t->tid);
	t->call_op = info.op;
	t->call_ret = info.exit.rval;
	return 0;
}

static int to_next_stop(struct tracee *t, struct err *err)
{
	int rc = resume(t, PTRACE_SYSCALL, err);

	STEP();
	return rc;
}

/* At its next stop it goes on, unless that is the exit. Other stops come in between. */
static int advance_call(struct tracee *t, unsigned int timeout_ms, struct err *err)
{
	enum stop stop;
	int rc = tracee_wait(t, timeout_ms, &stop, err);

	STEP();
	if (rc == 0)
		tracee_owe_stop(t);
	if (rc == 0)
		rc = tracee_drop_fault(t, err);
	if (rc == 0 && stop == STOP_CALL)
		rc = look_at_call(t, err);
	if (rc == 0 && t->call_op != PTRACE_SYSCALL_INFO_EXIT)
		rc = to_next_stop(t, err);
	return rc;
}

static int finish_call(struct tracee *t, unsigned int timeout_ms, struct err *err)
{
	int rc = 0;

	while (rc == 0 && t->call_op != PTRACE_SYSCALL_INFO_EXIT)
		rc = advance_call(t, timeout_ms, err);
	return rc;
}

/* A call that we gave up on would swallow the next: its exit is taken for that one's. */
static int finish_former(struct tracee *t, unsigned int timeout_ms, struct err *err)
{
	int rc = look_at_call(t, err);

	if (rc < 0 || t->call_op != PTRACE_SYSCALL_INFO_ENTRY)
		return rc;
	rc = to_next_stop(t, err);
	return rc < 0 ? rc : finish_call(t, timeout_ms, err);
}

int tracee_call_begin(struct tracee *t, uint64_t gadget, uint64_t sp, const uint64_t nr_args[7],
		      unsigned int timeout_ms, struct err *err)
{
	struct regs r;
	int rc = finish_former(t, timeout_ms, err);

	if (rc < 0)
		return rc;
	regs_call(&r, &t->regs, gadget, sp, nr_args);
	rc = regs_set(t->tid, &r, err);
	STEP();
	t->call_op = PTRACE_SYSCALL_INFO_NONE;
	return rc < 0 ? rc : to_next_stop(t, err);
}

int tracee_call_push(struct tracee *t, unsigned int timeout_ms, struct err *err)
{
	return advance_call(t, timeout_ms, err);
}

int tracee_call_end(struct tracee *t, unsigned int timeout_ms, int64_t *ret, struct err *err)
{
	int rc = finish_call(t, timeout_ms, err);

	if (rc == 0)
		*ret = t->call_ret;
	return rc;
}

/* Is a SIGCONT on its way, newer than the stop that we kept back? */
static bool continued(pid_t tid)
{
	scoped char *name = xasprintf("/proc/%d/status", tid);
	scoped_file f = fopen(name, "re");
	unsigned long long shared = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "ShdPnd: %llx", &shared) == 1)
			break;
	return shared & (1ull << (SIGCONT - 1));
}

void tracee_detach(struct tracee *t)
{
	if (!t->tid || t->gone || !t->held)
		return;
	if (t->owes_stop && !continued(t->tid))
		syscall(SYS_tkill, t->tid, SIGSTOP);
	ptrace(PTRACE_DETACH, t->tid, NULL, (unsigned long)t->signal);
	t->held = false;
	t->tid = 0;
}

void tracee_free(struct tracee *t)
{
	if (!t)
		return;
	xstate_release(&t->xstate);
	free(t);
}
