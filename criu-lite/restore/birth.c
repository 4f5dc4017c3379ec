/* birth.c - cloning the tree: scratch, the first newborn, its children and threads. */
#include "criu-lite/restore/birth.h"
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/restore/pids.h"
#include "criu-lite/restore/vdso.h"
#include "criu-lite/task/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define PAGE	   4096ul
#define USER_END   0x7ffffffff000ul
#define LOWEST_FD  64
#define RETRY_MS   2000 /* a pid whose owner has just been reaped may stay taken for a moment */
#define HOLE_TRIES 64
#define CORE_FLAG  0x80 /* in a wait status */

#define THREAD_FLAGS                                                                               \
	(CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM)

/* --- scratch and gate -------------------------------------------------------------- */

/* Mapped with the parking place at first, so that that is free in the tool too. */
static int map_scratch(struct nursery *h, struct builder *b, struct err *err)
{
	uint64_t len = PAGE + h->n * sizeof(struct newborn_slice), at = 0, low = 0, high = 0;
	void *p = MAP_FAILED;

	for (int i = 0; i < HOLE_TRIES && p == MAP_FAILED; i++) {
		int rc = memory_hole(b, len + h->vdso.len, low, high, &at, err);

		if (rc < 0)
			return rc;
		p = mmap((void *)(uintptr_t)at, len + h->vdso.len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		if (p == MAP_FAILED && errno != EEXIST)
			return err_errno(err, "mapping %llu bytes of scratch",
					 (unsigned long long)len);
		low = !high || at < low ? at : low;
		high = at + len + h->vdso.len > high ? at + len + h->vdso.len : high;
	}
	if (p == MAP_FAILED)
		return err_set(err, ERR_REFUSED, "no addresses are free in all tasks and here");
	h->start = at;
	h->end = h->park = at + len;
	if (h->vdso.len)
		munmap((void *)(uintptr_t)h->park, h->vdso.len);
	memcpy(p, runner_restore_start, runner_restore_len);
	if (mprotect(p, PAGE, PROT_READ | PROT_EXEC) < 0)
		return err_errno(err, "making the runner executable");
	return 0;
}

static void set_slice(struct nursery *h, struct newborn *n, size_t i, struct newborn *leader,
		      int others)
{
	n->home = h;
	n->slice = (struct newborn_slice *)(uintptr_t)(h->start + PAGE) + i;
	n->slice->plan.done = (uint64_t)(uintptr_t)&n->slice->own.count;
	n->slice->own.gate = (struct pollfd) { .fd = h->busy_fd, .events = POLLIN };
	n->slice->own.leader = n == leader;
	n->slice->own.certified = n == leader && !others;
	n->slice->own.inside = (uint64_t)(uintptr_t)&leader->slice->own.others;
	if (n == leader)
		n->slice->own.others = others;
}

static void fill_slices(struct nursery *h)
{
	struct newborn *leader = NULL;

	for (size_t i = 0; i < h->n; i++) {
		struct newborn *n = &h->newborn[i];

		if (n->birth)
			leader = n;
		else if (leader->thread->task != n->thread->task)
			leader = newborn_leader(n->thread->task, h);
		set_slice(h, n, i, leader,
			  n->birth && n->thread ? (int)n->thread->task->n_threads - 1 : 0);
	}
}

static void make_newborns(struct nursery *h)
{
	struct task *t;
	struct thread *th;
	size_t n = h->births.n;

	for_each_live_task (t, h->tree)
		n += t->n_threads - 1;
	h->newborn = xcalloc(n, sizeof(*h->newborn));
	for (size_t i = 0; i < h->births.n; i++) {
		struct birth *b = h->births.birth[i];
		struct newborn *nb = &h->newborn[h->n++];

		nb->tid = b->pid;
		nb->birth = b;
		nb->thread = b->task ? task_leader(b->task) : NULL;
		b->newborn = nb;
	}
	for_each_live_task (t, h->tree)
		for_each_thread (th, t)
			if (th != task_leader(t)) {
				h->newborn[h->n].tid = th->tid;
				h->newborn[h->n++].thread = th;
			}
}

static int open_gate(struct nursery *h, int top, struct err *err)
{
	struct rlimit room;

	if (pipe2(h->gate, O_CLOEXEC) < 0)
		return err_errno(err, "making the gate");
	h->busy_fd = top > LOWEST_FD ? top : LOWEST_FD;
	if (h->gate[0] >= h->busy_fd)
		h->busy_fd = h->gate[0] + 1;
	if (getrlimit(RLIMIT_NOFILE, &room) < 0)
		return err_errno(err,
				 "reading the limit of open files"); /* which newborns inherit */
	if ((rlim_t)h->busy_fd + 2 > room.rlim_cur)
		return err_set(
			err, ERR_REFUSED,
			"a task has descriptor %d, two more are needed, and the limit of open "
			"files here is %llu",
			top - 1, (unsigned long long)room.rlim_cur);
	return 0;
}

int nursery_open(struct nursery *h, struct builder *b, int top, struct err *err)
{
	int rc;

	h->gate[0] = h->gate[1] = -1;
	make_newborns(h);
	rc = open_gate(h, top, err);
	if (!rc)
		rc = machine_vdso(&h->vdso, err);
	if (!rc)
		rc = map_scratch(h, b, err);
	if (!rc)
		fill_slices(h);
	return rc;
}

void nursery_close(struct nursery *h)
{
	nursery_kill(h);
	for (size_t i = 0; i < h->n; i++)
		plan_release(&h->newborn[i].batch.plan);
	free(h->newborn);
	for (int i = 0; h->busy_fd && i < 2; i++)
		if (h->gate[i] >= 0)
			close(h->gate[i]);
	if (h->start)
		munmap((void *)(uintptr_t)h->start, h->end - h->start);
	births_release(&h->births);
	*h = (struct nursery) {};
}

/* --- clones ------------------------------------------------------------------------------ */

static int refused_clone(const struct newborn *n, int rc, struct err *err)
{
	if (rc == -EEXIST)
		return pid_taken(n->tid, err);
	if (rc == -EPERM)
		return err_set(
			err, rc,
			"choosing pid %d needs root, or CAP_CHECKPOINT_RESTORE with all else",
			n->tid);
	if (rc == -EINVAL)
		return err_set(err, ERR_REFUSED,
			       "pid %d is beyond this machine's /proc/sys/kernel/pid_max", n->tid);
	if (rc == -EAGAIN)
		return err_set(
			err, rc,
			"cloning %d: a limit of processes is reached (RLIMIT_NPROC, pids.max "
			"of the cgroup or threads-max)",
			n->tid);
	return err_code(err, rc, "cloning %d", n->tid);
}

static void pause_ms(unsigned ms)
{
	struct timespec t = { .tv_nsec = (long)ms * 1000000 };

	nanosleep(&t, NULL);
}

/* Until it is seized the first newborn sees to it that it does not outlive the tool. */
static void __attribute__((noreturn)) first_newborn(const struct nursery *h)
{
	struct pollfd gate = { .fd = h->gate[0] };

	syscall(SYS_close, h->gate[1]);
	do
		syscall(SYS_poll, &gate, 1, -1);
	while (!gate.revents);
	for (;;)
		syscall(SYS_exit_group, 1);
}

static int clone_first(struct nursery *h, struct newborn *n, struct err *err)
{
	pid_t tid = n->tid;
	struct clone_args args = {
		.flags = h->sibling ? CLONE_PARENT : 0,
		.exit_signal = h->sibling ? 0 : SIGCHLD,
		.set_tid = (uint64_t)(uintptr_t)&tid,
		.set_tid_size = 1,
	};
	long pid = -1;

	for (int ms = 0; ms < RETRY_MS; ms++) {
		pid = syscall(SYS_clone3, &args, sizeof(args));
		if (pid >= 0 || errno != EEXIST)
			break;
		pause_ms(1);
	}
	if (pid == 0)
		first_newborn(h);
	if (pid < 0)
		return refused_clone(n, -errno, err);
	n->alive = true;
	STEP();
	if (ptrace(PTRACE_SEIZE, n->tid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) < 0)
		return err_errno(err, "attaching to newborn %d", n->tid);
	STEP();
	newborn_interrupt(n);
	return newborn_adopt(n, err);
}

/* Layout of what a clone3 row points to. */
struct clone_ask {
	struct clone_args args;
	uint64_t tid;
};

static size_t add_clone(struct plan *p, const struct newborn *child)
{
	uint64_t at = plan_put(p, NULL, sizeof(struct clone_ask));
	struct clone_ask *ask = plan_at(p, at);
	bool sibling = child->birth && child->birth->as_sibling;

	ask->tid = (uint64_t)child->tid;
	ask->args.set_tid = at + offsetof(struct clone_ask, tid);
	ask->args.set_tid_size = 1;
	ask->args.flags = CLONE_PTRACE;
	if (!child->birth)
		ask->args.flags |= THREAD_FLAGS;
	else if (sibling)
		ask->args.flags |= CLONE_PARENT;
	else
		ask->args.exit_signal = (uint64_t)birth_exit_signal(child->birth);
	return plan_add(p, PLAN_MAY, "clone", SYS_clone3, at, sizeof(ask->args));
}

static int clone_again(struct newborn *by, struct newborn *child, struct err *err)
{
	struct plan *p = &newborn_batch(by)->plan;
	int64_t ret = -EEXIST;

	for (int ms = 0; ret == -EEXIST && ms < RETRY_MS; ms++) {
		int rc;

		pause_ms(1);
		plan_reset(p);
		add_clone(p, child);
		rc = newborn_run(by, p, err);
		if (rc < 0)
			return rc;
		ret = plan_ret(p, 0);
	}
	plan_reset(p);
	if (ret < 0)
		return refused_clone(child, (int)ret, err);
	child->alive = true;
	return 0;
}

static void begin_births(struct newborn *by, struct newborn **child, size_t n)
{
	struct plan *p = &newborn_batch(by)->plan;

	plan_reset(p);
	for (size_t i = 0; i < n; i++)
		add_clone(p, child[i]);
	newborn_start(by, p);
}

/* @wanted: who was not born is a failure, or is tried again; else it is enough to know of him. */
static int end_births(struct newborn *by, struct newborn **child, size_t n, bool wanted,
		      struct err *err)
{
	struct plan *p = &newborn_batch(by)->plan;
	scoped int64_t *ret = xcalloc(n, sizeof(*ret));
	int rc = newborn_finish(by, p, err);

	for (size_t i = 0; !rc && i < n; i++) {
		ret[i] = plan_ret(p, i);
		child[i]->alive = ret[i] > 0;
	}
	plan_reset(p);
	for (size_t i = 0; wanted && !rc && i < n; i++) {
		if (ret[i] == -EEXIST)
			rc = clone_again(by, child[i], err);
		else if (ret[i] < 0)
			rc = refused_clone(child[i], (int)ret[i], err);
	}
	return rc;
}

static int adopt(struct newborn **child, size_t n, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++)
		rc = newborn_adopt(child[i], err);
	return rc;
}

/* As many at a time as a plan has room for; one lot is adopted while the next is born. */
static int bear_all(struct newborn *by, struct newborn **child, size_t n, struct err *err)
{
	size_t most = PLAN_DATA / (sizeof(struct clone_ask) + 16), born = 0, adopted = 0;
	int rc = 0;

	if (most > PLAN_ROWS)
		most = PLAN_ROWS;
	while (!rc && born < n) {
		size_t lot = n - born < most ? n - born : most;
		int ended;

		begin_births(by, child + born, lot);
		rc = adopt(child + adopted, born - adopted, err);
		adopted = born;
		/* Even if that failed: whoever is born must be known, to be killed. */
		ended = end_births(by, child + born, lot, !rc, rc < 0 ? NULL : err);
		rc = rc < 0 ? rc : ended;
		born += lot;
	}
	return rc < 0 ? rc : adopt(child + adopted, born - adopted, err);
}

static int begin_session(struct newborn *n, struct err *err)
{
	plan_add(&newborn_batch(n)->plan, PLAN_MUST, "begin a session", SYS_setsid);
	return newborn_flush(n, err);
}

/* Children before setsid, setsid, the other children. */
static int bear_children(struct nursery *h, struct newborn *by, struct err *err)
{
	scoped struct newborn **child = NULL;
	size_t n = 0, cap = 0;
	int rc;

	for (size_t i = 0; i < h->births.n; i++)
		if (h->births.birth[i]->by == by->birth && h->births.birth[i]->early)
			ARRAY_PUSH(child, n, cap, h->births.birth[i]->newborn);
	rc = bear_all(by, child, n, err);
	if (!rc && by->birth->setsid)
		rc = begin_session(by, err);
	n = 0;
	for (size_t i = 0; i < h->births.n; i++)
		if (h->births.birth[i]->by == by->birth && !h->births.birth[i]->early)
			ARRAY_PUSH(child, n, cap, h->births.birth[i]->newborn);
	return rc < 0 ? rc : bear_all(by, child, n, err);
}

static int bear_threads(struct nursery *h, struct newborn *by, struct err *err)
{
	scoped struct newborn **child = NULL;
	size_t n = 0, cap = 0;

	for (size_t i = h->births.n; i < h->n; i++)
		if (h->newborn[i].thread->task == by->thread->task)
			ARRAY_PUSH(child, n, cap, &h->newborn[i]);
	return bear_all(by, child, n, err);
}

/* --- the first one: out of the tool's memory and descriptors --------------------------------- */

struct rseq_area {
	uint64_t pointer;
	uint32_t size, signature, flags, pad;
};

/* The C library's own: it must go before the memory it lies in, or the next return to user mode
 * is the last. */
static int drop_rseq(struct newborn *n, struct err *err)
{
	struct plan *p = &newborn_batch(n)->plan;
	struct rseq_area area = {};
	int rc;

	newborn_interrupt(n);
	rc = newborn_hold(n, err);
	if (rc < 0)
		return rc;
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, n->tid, sizeof(area), &area) < 0 && errno != EIO)
		return err_errno(err, "reading the rseq area of newborn %d", n->tid);
	if (area.pointer)
		plan_add(p, PLAN_MUST, "unregister the rseq area", SYS_rseq, area.pointer,
			 area.size, 1, area.signature);
	return newborn_go(n, err);
}

static void drop_descriptors(const struct nursery *h, struct plan *p)
{
	uint64_t gate = (uint64_t)h->busy_fd, tool = gate + 1;
	size_t got, put;

	plan_add(p, PLAN_MUST, "move the gate", SYS_dup2, (uint64_t)h->gate[0], gate);
	got = plan_add(p, PLAN_MUST, "open the tool (pidfd_open)", SYS_pidfd_open,
		       (uint64_t)getpid(), 0);
	p->row[got].flags |= ROW_KEEP;
	/* Not dup3, which fails where the descriptor is in its place already. */
	put = plan_add(p, PLAN_MUST, "move the pidfd", SYS_dup2, 0, tool);
	p->row[put].use = 1;
	plan_add(p, PLAN_MUST, "close all others", SYS_close_range, 0, gate - 1, 0);
	plan_add(p, PLAN_MUST, "close all others", SYS_close_range, tool + 1, UINT32_MAX, 0);
}

static int empty_first(struct nursery *h, struct newborn *n, struct err *err)
{
	struct plan *p = &newborn_batch(n)->plan;
	uint64_t behind = h->park + h->vdso.len;
	int rc = drop_rseq(n, err);

	if (rc < 0)
		return rc;
	drop_descriptors(h, p);
	vdso_park_rows(h, p);
	plan_add(p, PLAN_MUST, "drop what lies below scratch", SYS_munmap, 0, h->start);
	plan_add(p, PLAN_MUST, "drop what lies above scratch", SYS_munmap, behind,
		 USER_END - behind);
	return newborn_flush(n, err);
}

int nursery_bear(struct nursery *h, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < h->births.n; i++) {
		struct birth *b = h->births.birth[i];

		if (!b->by)
			rc = clone_first(h, b->newborn, err);
		if (!rc && !b->by)
			rc = empty_first(h, b->newborn, err);
		if (!rc)
			rc = bear_children(h, b->newborn, err);
		if (!rc && b->task && b->task->state != TASK_DEAD)
			rc = bear_threads(h, b->newborn, err);
	}
	return rc;
}

/* --- groups, helpers, the dead ----------------------------------------------------------------- */

static int set_groups(struct nursery *h, bool own, struct err *err)
{
	for (size_t i = 0; i < h->births.n; i++) {
		struct birth *b = h->births.birth[i];
		struct batch *batch = newborn_batch(b->newborn);

		if (b->setsid || (b->pgid == b->pid) != own)
			continue;
		plan_add(&batch->plan, PLAN_MUST, "join the process group", SYS_setpgid, 0,
			 (uint64_t)b->pgid);
	}
	return nursery_flush(h, err);
}

/* The mother was told: take the signal away again. It has no other reason to be there yet. */
static void forget_child_signal(struct plan *p, int sig)
{
	uint64_t set = sig ? 1ull << (sig - 1) : 0;
	struct timespec none = {};

	if (!sig)
		return;
	plan_add(p, PLAN_MAY, "forget the signal", SYS_rt_sigtimedwait,
		 plan_put(p, &set, sizeof(set)), 0, plan_put(p, &none, sizeof(none)), sizeof(set));
}

static int wait_end(struct newborn *n, struct err *err)
{
	int status, rc;

	do {
		rc = newborn_wait(n, &status, err);
		if (!rc && ptrace(PTRACE_CONT, n->tid, 0, status >> 16 ? 0 : WSTOPSIG(status)) == 0)
			n->held = false;
	} while (!rc && n->alive);
	return n->alive ? rc : 0;
}

static int end_helper(struct newborn *n, struct err *err)
{
	struct birth *mother = n->birth->mother;
	struct plan *p = &newborn_batch(n)->plan;
	int rc;

	plan_reset(p);
	plan_add(p, PLAN_MAY, "end", SYS_exit_group, 0);
	newborn_start(n, p);
	plan_reset(p);
	rc = wait_end(n, NULL);
	if (rc < 0 || !mother)
		return rc < 0 ? err_code(err, rc, "ending helper %d", n->tid) : 0;
	p = &newborn_batch(mother->newborn)->plan;
	plan_add(p, PLAN_IS, "wait for a helper", SYS_wait4, (uint64_t)n->tid, 0, 0, 0);
	p->note[p->n - 1].expect = n->tid;
	forget_child_signal(p, SIGCHLD);
	return newborn_flush(mother->newborn, err);
}

static int end_helpers(struct nursery *h, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < h->births.n; i++)
		if (!h->births.birth[i]->task)
			rc = end_helper(h->births.birth[i]->newborn, err);
	return rc;
}

/* No core file is written by a death that is only played again. */
static void add_death(struct plan *p, const struct task *t)
{
	uint64_t none = 0, sig = (uint64_t)WTERMSIG(t->exit_code);
	struct rlimit no_core = {};

	if (WIFEXITED(t->exit_code)) {
		plan_add(p, PLAN_MAY, "end", SYS_exit_group, (uint64_t)WEXITSTATUS(t->exit_code));
		return;
	}
	plan_add(p, PLAN_MUST, "forbid a core file", SYS_prlimit64, 0, RLIMIT_CORE,
		 plan_put(p, &no_core, sizeof(no_core)), 0);
	plan_add(p, PLAN_MUST, "unblock signals", SYS_rt_sigprocmask, SIG_SETMASK,
		 plan_put(p, &none, sizeof(none)), 0, sizeof(none));
	plan_add(p, PLAN_MAY, "die", SYS_kill, (uint64_t)t->pid, sig);
}

static int end_dead(struct newborn *n, void (*say)(const char *), struct err *err)
{
	const struct task *t = n->thread->task;
	struct batch *batch = newborn_batch(n);
	struct plan *p = &batch->plan;
	int rc;

	plan_add(p, PLAN_MUST, "set its name", SYS_prctl, PR_SET_NAME,
		 plan_put_str(p, n->thread->core->tc->comm));
	rc = newborn_flush(n, err);
	if (rc < 0)
		return rc;
	add_death(p, t);
	newborn_start(n, p);
	plan_reset(p);
	rc = wait_end(n, NULL);
	if (rc < 0)
		return err_code(err, rc, "task %d: ending it again", t->pid);
	if ((n->status ^ t->exit_code) & ~CORE_FLAG)
		return err_set(err, -EIO, "task %d: ended with status %#x, not %#x", t->pid,
			       n->status, t->exit_code);
	if (n->status != t->exit_code && say)
		say("a task that is dead had left a core file; this time it did not");
	p = &newborn_batch(n->birth->mother->newborn)->plan;
	forget_child_signal(p, t->exit_signal);
	return newborn_flush(n->birth->mother->newborn, err);
}

int nursery_settle(struct nursery *h, void (*say)(const char *line), struct err *err)
{
	int rc = set_groups(h, true, err);

	if (!rc)
		rc = set_groups(h, false, err);
	if (!rc)
		rc = end_helpers(h, err);
	for (size_t i = 0; !rc && i < h->births.n; i++)
		if (h->births.birth[i]->task && h->births.birth[i]->task->state == TASK_DEAD)
			rc = end_dead(h->births.birth[i]->newborn, say, err);
	return rc;
}
