/*
 * enter.c - into a task's leader and out again.
 *
 * The order is what keeps the task safe should the tool die: frames before
 * registers, registers before the mask, scratch only when a `ret` leads to the
 * frame that unmaps it; and on the way out the registers last. Whose the trouble
 * is, the two doors say; nothing behind them does.
 */
#include "base/mem.h"
#include "base/parallel.h"
#include "base/step.h"
#include "criu-lite/arch/x86-64/frame.h"
#include "criu-lite/remote/inside.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

/*
 * The leader's page: a word that a `ret` takes to the sigreturn sequence, frame
 * A (unmaps scratch, and returns to the next word), the same word again, frame B
 * (the task itself).
 */
#define A_AT	    64
#define B_AT	    448
#define MARK_AT	    (SCRATCH_PAGE - 16)
#define ALL_SIGNALS (~0ull)

static void put_word(char *page, size_t at, uint64_t word)
{
	memcpy(page + at, &word, sizeof(word));
}

static void build_leader_page(struct task *task, char *page)
{
	struct task_remote *r = task->remote;
	const struct tracee *t = leader_tracee(task);
	uint64_t base = r->leader_page;
	const uint64_t munmap_call[7] = { SYS_munmap, r->scratch, r->scratch_len };
	struct regs unmap, self = t->regs;
	struct frame a = { .regs = &unmap, .mask = ALL_SIGNALS, .flags = FRAME_FLAGS };
	struct frame b = {
		.regs = &self,
		.mask = t->mask,
		.xstate = &t->xstate,
		.flags = FRAME_FLAGS,
	};

	regs_call(&unmap, &t->regs, r->gadgets.syscall_ret, base + B_AT - 8, munmap_call);
	regs_for_frame(&self);
	put_word(page, A_AT - 8, r->gadgets.sigreturn);
	frame_build(page + A_AT, base + A_AT, &a);
	put_word(page, B_AT - 8, r->gadgets.sigreturn);
	frame_build(page + B_AT, base + B_AT, &b);
}

/* Why this task could not let itself go, or NULL. */
static const char *why_unprotected(const struct task *task)
{
	const struct task_remote *r = task->remote;

	if (!r->gadgets.sigreturn)
		return "there is no rt_sigreturn in its text";
	if (task->n_threads > 1 && !r->gadgets.call)
		return "there is no call instruction for its threads in its text";
	if (task->n_threads > 1 && r->room_hi - r->room_lo < 2 * SCRATCH_PAGE)
		return "its stack has no room for its threads";
	if (B_AT + frame_size(&leader_tracee(task)->xstate) > MARK_AT)
		return "its registers take more than a page";
	return NULL;
}

static int prepare(struct task *task, const struct freeze_options *opt, struct err *err)
{
	struct task_remote *r = task->remote;
	const struct proc_vma *v;
	const char *why;
	size_t n;
	int rc = task_maps(task, &v, &n, err);

	if (rc == 0 && (!r->gadgets.syscall_ret || !gadgets_hold(task->pid, &r->gadgets)))
		gadgets_find(task->pid, v, n, &r->gadgets);
	if (rc == 0 && !r->gadgets.syscall_ret)
		return err_set(err, ERR_REFUSED, "no system call instruction in its text");
	if (rc == 0)
		rc = scratch_find(task, v, n, err);
	if (rc == 0)
		rc = room_find(task, v, n, err);
	if (rc < 0)
		return rc;
	why = why_unprotected(task);
	r->protected = !why;
	if (r->room_hi == r->room_lo)
		return err_set(err, ERR_REFUSED,
			       "could neither go on by itself if this program died nor be "
			       "restored: it has no unused page in its stack, which may not grow "
			       "(see its limit for stacks, ulimit -s)");
	if (why && !opt->unprotected)
		return err_set(err, ERR_REFUSED,
			       "could not go on by itself if this program died: %s "
			       "(--unprotected takes that risk)",
			       why);
	return 0;
}

/* From here the task would come back by itself: its registers stand at the chain. */
static int stand_at_chain(struct task *task, const void *arg, struct err *err)
{
	struct task_remote *r = task->remote;
	struct tracee *t = leader_tracee(task);
	char page[SCRATCH_PAGE] __attribute__((aligned(8))) = {};
	struct regs at_chain;
	int rc = 0;

	r->chain = r->chain_self = regs_sp(&t->regs);
	if (r->protected) {
		r->leader_page = r->room_hi - SCRATCH_PAGE;
		build_leader_page(task, page);
		rc = room_write(task, r->leader_page, page, sizeof(page), err);
		if (rc < 0)
			return rc;
		r->chain = r->leader_page + A_AT - 8;
		r->chain_self = r->leader_page + B_AT - 8;
		/* There is no scratch yet: not by way of frame A. */
		regs_sigreturn(&at_chain, &t->regs, r->gadgets.sigreturn, r->leader_page + B_AT);
		rc = regs_set(t->tid, &at_chain, err);
		STEP();
	}
	r->inside = t->inside = true;
	if (rc == 0)
		rc = tracee_set_mask(t, ALL_SIGNALS, err);
	STEP();
	return rc;
}

static int stand_in_runner(struct task *task, const void *arg, struct err *err)
{
	struct task_remote *r = task->remote;
	struct tracee *t = leader_tracee(task);
	struct runner_slice *s = scratch_slice(r, 0);
	struct regs run;
	int rc;

	slice_reset(r, 0);
	s->chain = r->leader_page + A_AT;
	s->table = board_addr(r) + offsetof(struct runner_board, table);
	s->table_len = r->slots;
	regs_run_at(&run, &t->regs, r->scratch, slice_addr(r, 0), r->chain);
	rc = regs_set(t->tid, &run, err);
	STEP();
	return rc;
}

static void leave(struct crowd *c);

static void go_in(struct crowd *c)
{
	struct crowd back = {};

	crowd_take(c, stand_at_chain, NULL);
	scratch_map(c);
	crowd_take(c, stand_in_runner, NULL);
	for (size_t i = 0; i < c->n; i++)
		if (c->member[i].rc < 0 && c->member[i].task->remote->inside)
			crowd_add(&back, c->member[i].task);
	leave(&back);
	crowd_release(&back);
}

/* To look for room is only reading, unlike what comes then, which ptrace(2) lets one thread do. */
struct entering {
	const struct freeze_options *opt;
	const struct crowd *crowd;
};

static int prepare_one(void *arg, size_t i, struct err *err)
{
	struct entering *e = arg;
	struct task *task = e->crowd->member[i].task;
	int rc = prepare(task, e->opt, err);

	return rc < 0 ? err_add(err, rc, "task %d", task->pid) : 0;
}

static int enter(struct crowd *c, const struct freeze_options *opt, struct err *err)
{
	struct entering e = { .opt = opt, .crowd = c };
	int rc = parallel(c->n, prepare_one, &e, err);

	if (rc == 0) {
		c->err = err;
		go_in(c);
		rc = c->rc;
	}
	crowd_release(c);
	return rc;
}

int remote_enter(struct task *task, const struct freeze_options *opt, struct err *err)
{
	struct crowd c = {};

	crowd_add(&c, task);
	return enter(&c, opt, err);
}

int remote_enter_all(const struct tree *tree, const struct freeze_options *opt, struct err *err)
{
	struct crowd c = {};
	struct task *task;

	for_each_live_task (task, tree)
		crowd_add(&c, task);
	return enter(&c, opt, err);
}

/* A thread that could not be brought back; 0: none. */
static pid_t left_behind(const struct task *task)
{
	for (size_t i = 1; i < task->n_threads; i++) {
		const struct tracee *t = task->thread[i]->tracee;

		if (t && t->inside && !t->gone)
			return t->tid;
	}
	return 0;
}

static int come_back(struct task *task, const void *arg, struct err *err)
{
	struct task_remote *r = task->remote;
	pid_t behind = left_behind(task);
	int rc = tracee_hold(leader_tracee(task), r->timeout_ms, err);

	/* It still needs its frame and scratch: let go, all come back by themselves. */
	if (rc == 0 && behind)
		rc = err_set(err, -EIO, "thread %d could not be put back, it goes on by itself",
			     behind);
	/* Its frames are still in use then: they stay, marked. */
	r->lost = rc == 0 && r->mem && slice_gone(r, 0);
	if (r->lost)
		return slice_held(r, 0, leader_tracee(task), err);
	/* What our code is at fault for is not the task's: it is put back all the same. */
	if (rc == 0)
		tracee_drop_fault(leader_tracee(task), NULL);
	return rc;
}

static int be_itself(struct task *task, const void *arg, struct err *err)
{
	return tracee_give_back(leader_tracee(task), err);
}

static int clear_room(struct task *task, const void *arg, struct err *err)
{
	return room_clear(task, err);
}

/* Those that are inside; whatever fails, none of them is then. */
static void leave(struct crowd *c)
{
	crowd_take(c, come_back, NULL);
	scratch_unmap(c);
	crowd_take(c, be_itself, NULL);
	for (size_t i = 0; i < c->n; i++) {
		struct task *task = c->member[i].task;

		task->remote->inside = leader_tracee(task)->inside = false;
		scratch_forget(task->remote);
	}
	crowd_take(c, clear_room, NULL);
}

static int leave_if_inside(struct task *const *task, size_t n, struct err *err)
{
	struct crowd c = { .err = err };
	int rc;

	for (size_t i = 0; i < n; i++)
		if (task[i]->remote && task[i]->remote->inside)
			crowd_add(&c, task[i]);
	leave(&c);
	rc = c.rc;
	crowd_release(&c);
	return rc;
}

int remote_leave(struct task *task, struct err *err)
{
	return leave_if_inside(&task, 1, err);
}

int remote_leave_all(const struct tree *tree, struct err *err)
{
	return leave_if_inside(tree->task, tree->n_tasks, err);
}
