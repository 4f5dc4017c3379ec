/* gate.c - frames, the commit, and the way out of scratch. */
#include "criu-lite/restore/gate.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/step.h"
#include "criu-lite/arch/x86-64/frame.h"
#include "criu-lite/arch/x86-64/gadget.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/remote/remote.h"
#include "criu-lite/remote/tracee.h"
#include "criu-lite/task/memory.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define PAGE	     4096ul
#define PAGE_MARK    16	   /* bytes at the end of a page of frames, see remote_mark_page */
#define STACK_SKIP   16384 /* below it the kernel may move its stack guard */
#define STACK_LOOK   256   /* pages */
#define SP_MARGIN    8192
#define ALL_SIGNALS  UINT64_MAX
#define USER_CS	     0x33
#define FRAMES_MAX   (8 * PAGE)
#define STOP_WAIT_MS 1000
#define HELD_OPTIONS PTRACE_O_TRACESYSGOOD

/* --- filters --------------------------------------------------------------------- */

static bool has_filter(const struct thread *t)
{
	const CoreEntry *c = t->core;

	if (c->thread_core && c->thread_core->has_seccomp_mode && c->thread_core->seccomp_mode)
		return true;
	return c->tc && c->tc->has_old_seccomp_mode && c->tc->old_seccomp_mode;
}

/* With TSYNC only the leader carries the filter that all have. */
static bool is_filtered(const struct task *task)
{
	struct thread *t;

	for_each_thread (t, task)
		if (has_filter(t))
			return true;
	return false;
}

/* The threads of one task lie side by side: each task is looked at once, or twice. */
static void mark_filtered(struct nursery *h)
{
	const struct task *last = NULL;
	bool filtered = false;

	for (size_t i = 0; i < h->n; i++) {
		struct newborn *n = &h->newborn[i];

		if (!n->thread)
			continue;
		if (n->thread->task != last)
			filtered = is_filtered(n->thread->task);
		last = n->thread->task;
		n->filtered = filtered;
	}
}

static int set_options(struct newborn *n, uint64_t options, struct err *err)
{
	if (n->filtered)
		options |= PTRACE_O_SUSPEND_SECCOMP;
	if (ptrace(PTRACE_SETOPTIONS, n->tid, 0, options) == 0)
		return 0;
	if (errno == EPERM && n->filtered)
		return err_set(
			err, -EPERM,
			"thread %d: suspending its seccomp filters needs CAP_SYS_ADMIN and no "
			"filters of our own",
			n->tid);
	return err_errno(err, "thread %d: setting ptrace options", n->tid);
}

int gate_suspend_filters(struct nursery *h, struct err *err)
{
	mark_filtered(h);
	for (size_t i = 0; i < h->n; i++) {
		struct newborn *n = &h->newborn[i];
		int rc;

		if (!n->alive || !n->filtered)
			continue;
		newborn_interrupt(n);
		rc = newborn_hold(n, err);
		if (!rc)
			rc = set_options(n, HELD_OPTIONS | PTRACE_O_EXITKILL, err);
		if (!rc)
			rc = newborn_go(n, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- frames ------------------------------------------------------------------------ */

struct own_state {
	struct regs regs;
	struct xstate xstate;
	struct frame_altstack altstack;
	struct frame frame;
};

static int own_state(struct own_state *s, const struct thread *t, struct err *err)
{
	const CoreEntry *c = t->core;
	const ThreadSasEntry *sas = c->thread_core->sas;
	int rc;

	*s = (struct own_state) {};
	regs_from_entry(&s->regs, c->thread_info->gpregs);
	if (s->regs.user.cs != USER_CS)
		return err_set(err, ERR_REFUSED, "thread %d: its code segment is %#llx", t->tid,
			       s->regs.user.cs);
	rc = xstate_from_entry(&s->xstate, c->thread_info->fpregs, err);
	if (rc < 0)
		return err_add(err, rc, "thread %d", t->tid);
	s->altstack = (struct frame_altstack) { .flags = SS_DISABLE };
	if (sas)
		s->altstack = (struct frame_altstack) { sas->ss_sp, (int32_t)sas->ss_flags,
							sas->ss_size };
	s->frame = (struct frame) {
		.regs = &s->regs,
		.mask = c->tc ? c->tc->blk_sigset : c->thread_core->blk_sigset,
		.altstack = &s->altstack,
		.xstate = &s->xstate,
		.flags = FRAME_FLAGS,
	};
	return 0;
}

static int thread_frame(struct newborn *n, struct err *err)
{
	struct own_state s;
	int rc = own_state(&s, n->thread, err);

	if (rc < 0)
		return rc;
	n->ip = regs_ip(&s.regs);
	n->sp = regs_sp(&s.regs);
	if (frame_size(&s.xstate) > sizeof(n->slice->frame))
		rc = err_set(err, ERR_REFUSED, "thread %d: %zu bytes of registers", n->tid,
			     frame_size(&s.xstate));
	else
		frame_build(n->slice->frame, (uint64_t)(uintptr_t)n->slice->frame, &s.frame);
	n->slice->own.out = (uint64_t)(uintptr_t)n->slice->frame;
	xstate_release(&s.xstate);
	return rc;
}

/*
 * A leader's chain at @at: unmap scratch; stop, if it was stopped; itself. Each
 * link but the last is a frame in front of `syscall; ret`, with the address of
 * the next rt_sigreturn on its stack and the next frame right behind that.
 */
struct chain {
	char *buf; /* FRAMES_MAX bytes */
	uint64_t at;
	size_t len;
	struct gadgets gadgets;
};

static void chain_call(struct chain *c, const uint64_t nr_args[7])
{
	struct regs regs = {}, old;
	struct frame f = { .regs = &regs, .mask = ALL_SIGNALS, .flags = FRAME_FLAGS & ~1ull };
	size_t size = frame_size(NULL), next = c->len + size + FRAME_ALIGN;

	regs_blank(&old);
	regs_call(&regs, &old, c->gadgets.syscall_ret, c->at + next - sizeof(uint64_t), nr_args);
	frame_build(c->buf + c->len, c->at + c->len, &f);
	memcpy(c->buf + next - sizeof(uint64_t), &c->gadgets.sigreturn, sizeof(uint64_t));
	c->len = next;
}

/* The last words of each page are the mark's. */
static void chain_own(struct chain *c, const struct own_state *s)
{
	frame_build(c->buf + c->len, c->at + c->len, &s->frame);
	c->len += frame_size(&s->xstate);
}

static size_t chain_size(const struct own_state *s, bool stopped)
{
	size_t link = frame_size(NULL) + FRAME_ALIGN;

	return (stopped ? 2 : 1) * link + frame_size(&s->xstate);
}

static uint64_t lowest_sp(const struct task *task, uint64_t start, uint64_t end)
{
	struct thread *t;

	for_each_thread (t, task) {
		uint64_t sp = t->core->thread_info->gpregs->sp;

		if (sp >= start && sp < end)
			end = sp;
	}
	return end;
}

/* Pages near the bottom of the stack that no image holds. */
static int find_room(const struct builder *b, const struct task *task, size_t pages, uint64_t *at,
		     struct err *err)
{
	uint64_t start, end;

	if (!memory_stack(task, &start, &end))
		return err_set(err, ERR_REFUSED, "task %d has no stack mapping of the usual kind",
			       task->pid);
	end = lowest_sp(task, start, end);
	for (int i = 0; i < STACK_LOOK; i++) {
		*at = start + STACK_SKIP + i * PAGE;
		if (*at + pages * PAGE + SP_MARGIN > end)
			break;
		if (memory_unused(b, task, *at, *at + pages * PAGE))
			return 0;
	}
	return err_set(err, ERR_REFUSED,
		       "task %d: in its stack %zu unused pages for the way out are missing",
		       task->pid, pages);
}

static int find_gadgets(pid_t pid, struct gadgets *g, struct err *err)
{
	scoped_proc dir = NULL;
	scoped struct proc_vma *vma = NULL;
	size_t n = 0;
	int rc;

	/* Tasks of one tree often run the same program at the same place. */
	if (g->syscall_ret && g->sigreturn && gadgets_hold(pid, g))
		return 0;
	rc = proc_open(&dir, NULL, pid, err);
	if (!rc)
		rc = proc_maps_read(dir, &vma, &n, err);
	if (rc < 0)
		return rc;
	gadgets_find(pid, vma, n, g);
	if (!g->syscall_ret || !g->sigreturn)
		return err_set(err, ERR_REFUSED,
			       "task %d: no %s instructions in its program, libraries or vdso", pid,
			       g->syscall_ret ? "sigreturn" : "system call");
	return 0;
}

static int write_chain(struct newborn *n, struct chain *c, size_t pages, struct err *err)
{
	int rc;

	for (size_t i = 0; i < pages; i++)
		remote_mark_page(c->buf + i * PAGE, c->at + i * PAGE);
	rc = task_poke(n->tid, c->at, c->buf, pages * PAGE);
	if (rc < 0)
		return err_code(err, rc, "task %d: writing its way out into the stack", n->tid);
	n->frames = c->at;
	n->frames_len = pages * PAGE;
	return 0;
}

static int build_chain(struct newborn *n, const struct nursery *h, struct chain *c,
		       const struct own_state *s, struct err *err)
{
	bool stopped = n->thread->task->state == TASK_STOPPED;
	size_t size = chain_size(s, stopped), pages = size / PAGE + 1;

	if (size > pages * PAGE - PAGE_MARK || pages > 1)
		return err_set(err, ERR_REFUSED, "task %d: %zu bytes of registers", n->tid, size);
	chain_call(c, (const uint64_t[7]) { SYS_munmap, h->start, h->end - h->start });
	n->slice->own.out = c->at;
	n->slice->own.out_alone = c->at + c->len;
	if (stopped)
		chain_call(c, (const uint64_t[7]) { SYS_kill, (uint64_t)n->tid, SIGSTOP });
	chain_own(c, s);
	return write_chain(n, c, pages, err);
}

static int leader_frames(struct newborn *n, const struct nursery *h, const struct builder *b,
			 struct gadgets *g, struct err *err)
{
	struct chain c = { .buf = xcalloc(1, FRAMES_MAX) };
	struct own_state s;
	int rc = own_state(&s, n->thread, err);

	if (!rc)
		rc = find_room(b, n->thread->task, 1, &c.at, err);
	if (!rc)
		rc = find_gadgets(n->tid, g, err);
	c.gadgets = *g;
	n->ip = regs_ip(&s.regs);
	n->sp = regs_sp(&s.regs);
	if (!rc)
		rc = build_chain(n, h, &c, &s, err);
	xstate_release(&s.xstate);
	free(c.buf);
	return rc;
}

static int other_frame(void *threads, size_t i, struct err *err)
{
	struct newborn *n = (struct newborn *)threads + i;

	return n->alive ? thread_frame(n, err) : 0;
}

int gate_frames(struct nursery *h, struct builder *b, struct err *err)
{
	size_t leaders = h->births.n;
	struct gadgets g = {};
	int rc = 0;

	for (size_t i = 0; !rc && i < leaders; i++)
		if (h->newborn[i].alive)
			rc = leader_frames(&h->newborn[i], h, b, &g, err);
	return rc < 0 ? rc : parallel(h->n - leaders, other_frame, h->newborn + leaders, err);
}

/* --- in front of the gate -------------------------------------------------------------- */

static int close_tool(struct nursery *h, struct err *err)
{
	for (size_t i = 0; i < h->births.n; i++) {
		struct newborn *n = &h->newborn[i];

		if (n->alive)
			plan_add(&newborn_batch(n)->plan, PLAN_MUST, "close the tool's pidfd",
				 SYS_close, (uint64_t)h->busy_fd + 1);
	}
	return nursery_flush(h, err);
}

int gate_gather(struct nursery *h, struct err *err)
{
	int rc = close_tool(h, err);

	for (size_t i = 0; i < h->n; i++) {
		struct newborn *n = &h->newborn[i];

		if (!n->alive)
			continue;
		__atomic_store_n(&n->slice->plan.cmd, RUNNER_GATE, __ATOMIC_SEQ_CST);
		newborn_interrupt(n);
	}
	for (size_t i = 0; !rc && i < h->n; i++)
		if (h->newborn[i].alive)
			rc = newborn_hold(&h->newborn[i], err);
	for (size_t i = 0; !rc && i < h->n; i++) {
		if (!h->newborn[i].alive)
			continue;
		/* It starts over, and finds the new command. */
		rc = newborn_at_runner(&h->newborn[i], err);
		if (!rc)
			rc = set_options(&h->newborn[i], HELD_OPTIONS, err);
		STEP();
	}
	return rc;
}

int gate_open(struct nursery *h, struct err *err)
{
	STEP();
	if (write(h->gate[1], "x", 1) != 1)
		return err_errno(err, "opening the gate");
	STEP();
	return 0;
}

/* --- leaving ------------------------------------------------------------------------------ */

static int step(struct newborn *n, int signal)
{
	STEP();
	if (!n->alive || !n->held)
		return 0;
	if (ptrace(PTRACE_SYSCALL, n->tid, 0, signal) < 0 && errno != ESRCH)
		return -errno;
	n->held = false;
	return 0;
}

/* At the exit of the rt_sigreturn that made it what it was: nothing of ours is left to do. */
static int is_out(struct newborn *n, int stop)
{
	struct __ptrace_syscall_info info = {};

	if (stop != (SIGTRAP | 0x80))
		return 0;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, n->tid, sizeof(info), &info) < 0)
		return errno == ESRCH ? 0 : -errno;
	return info.op == PTRACE_SYSCALL_INFO_EXIT && info.instruction_pointer == n->ip &&
	       info.stack_pointer == n->sp;
}

/*
 * One stop nearer to the way out: 1 when it is out, 0 when not yet. A death behind
 * the gate is the task's own affair. SIGSTOP, its own chain's or somebody's, is not
 * kept from it: it goes on under ptrace all the same, and the kernel stops it as soon
 * as it is let go, even if that is because the tool died. So a stop is only peeked at:
 * one that was taken no longer has its signal when the tool dies.
 */
static int drive(struct newborn *n)
{
	siginfo_t next;
	int status, rc = newborn_peek(n, &next, NULL);

	if (rc < 0)
		return rc;
	if (next.si_code != CLD_TRAPPED)
		return newborn_wait(n, &status, NULL);
	n->held = true;
	if (next.si_status == SIGSTOP)
		return step(n, SIGSTOP);
	rc = is_out(n, next.si_status);
	return rc ? rc : step(n, 0);
}

/* Negative: it is alive and cannot be helped. */
static int drive_out(struct newborn *n)
{
	while (!n->out && n->alive)
		n->out = drive(n);
	return n->out < 0 && n->alive ? n->out : 0;
}

/* Whoever is on the way, one stop each in turn: the others get to theirs meanwhile. */
static void drive_all(struct nursery *h)
{
	bool more;

	do {
		more = false;
		for (size_t i = 0; i < h->n; i++) {
			struct newborn *n = &h->newborn[i];

			if (!n->leaving || n->out || !n->alive)
				continue;
			n->out = drive(n);
			more |= !n->out;
		}
	} while (more);
}

static int begin_leaving(struct newborn *n)
{
	if (n->leaving)
		return 0;
	n->leaving = true;
	__atomic_store_n(&n->slice->plan.cmd, RUNNER_LEAVE, __ATOMIC_SEQ_CST);
	return step(n, 0);
}

static void detach(struct newborn *n)
{
	STEP();
	if (n->alive)
		ptrace(PTRACE_DETACH, n->tid, 0, 0);
	n->alive = n->held = false;
}

/* One that runs is asked to stop, so that it can be detached as soon as it does. */
static void abandon(struct newborn *n)
{
	__atomic_store_n(&n->slice->plan.cmd, RUNNER_LEAVE, __ATOMIC_SEQ_CST);
	if (n->held)
		detach(n);
	else
		newborn_interrupt(n);
	n->alive = false;
}

/* The stop takes in the other threads, which are held: none of them gets to run before it. */
static void wait_stopped(const struct newborn *n)
{
	scoped_proc dir = NULL;
	scoped_proc thread = NULL;
	struct proc_stat st = {};

	if (proc_open(&dir, NULL, n->tid, NULL) || proc_open_thread(&thread, dir, n->tid, NULL))
		return;
	for (int ms = 0; ms < STOP_WAIT_MS && st.state != 'T'; ms++) {
		struct timespec t = { .tv_nsec = 1000000 };

		if (proc_stat_read(thread, &st, NULL) < 0)
			return;
		if (st.state != 'T')
			nanosleep(&t, NULL);
	}
}

static bool same_task(const struct newborn *a, const struct newborn *b)
{
	return a->thread && b->thread && a->thread->task == b->thread->task;
}

/* Somebody wanted it stopped while it was being built. */
static bool owes_stop(const struct nursery *h, const struct newborn *leader)
{
	bool owes = leader->owes_stop;

	for (size_t i = h->births.n; i < h->n; i++)
		owes |= same_task(&h->newborn[i], leader) && h->newborn[i].owes_stop;
	return owes;
}

/* The leader unmaps scratch, when it is known that nobody else is in there. */
static int lead_out(struct nursery *h, struct newborn *leader)
{
	int rc = 0;

	for (size_t i = h->births.n; !rc && i < h->n; i++)
		if (same_task(&h->newborn[i], leader))
			rc = drive_out(&h->newborn[i]);
	if (rc < 0)
		return rc;
	leader->slice->own.certified = 1;
	rc = begin_leaving(leader);
	return rc ? rc : drive_out(leader);
}

static int leave_task(struct nursery *h, struct newborn *leader)
{
	static const char zeros[FRAMES_MAX];
	bool stopped = leader->thread->task->state == TASK_STOPPED;
	int rc = lead_out(h, leader);
	void (*let_go)(struct newborn *) = rc < 0 ? abandon : detach;

	if (leader->alive && !rc)
		task_poke(leader->tid, leader->frames, zeros, leader->frames_len);
	if (leader->alive && owes_stop(h, leader))
		kill(leader->tid, SIGSTOP);
	let_go(leader);
	if (stopped && !rc)
		wait_stopped(leader);
	for (size_t i = h->births.n; i < h->n; i++)
		if (same_task(&h->newborn[i], leader) && h->newborn[i].alive)
			let_go(&h->newborn[i]);
	return rc;
}

static void say_abandoned(const struct newborn *leader, int rc, void (*say)(const char *line))
{
	scoped char *line = NULL;

	if (!say)
		return;
	line = xasprintf("task %d could not be helped out (%s); it goes on by itself", leader->tid,
			 strerror(-rc));
	say(line);
}

void gate_leave(struct nursery *h, void (*say)(const char *line))
{
	for (size_t i = 0; i < h->n; i++)
		if (h->newborn[i].alive && h->newborn[i].slice->own.certified)
			begin_leaving(&h->newborn[i]);
	for (size_t i = h->births.n; i < h->n; i++)
		begin_leaving(&h->newborn[i]);
	drive_all(h);
	for (size_t i = 0; i < h->births.n; i++) {
		struct newborn *leader = &h->newborn[i];
		int rc = leader->alive ? leave_task(h, leader) : 0;

		if (rc < 0)
			say_abandoned(leader, rc, say);
	}
}
