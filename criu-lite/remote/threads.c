/*
 * threads.c - plans in every other thread of a task, in groups.
 *
 * Their frames lie in the leader's stack, below its own page: scratch is no
 * place for them, because the leader unmaps it while a thread may still stand
 * before its sigreturn. The first word of a frame (F, its uc_flags) is 0 until
 * the thread's own call instruction pushes there on the way out; the board's
 * table tells the leader which of these words to wait for. An entry changes only
 * while its thread is parked: in front of that call, where it needs scratch no more.
 */
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/arch/x86-64/frame.h"
#include "criu-lite/remote/inside.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define USABLE	    (SCRATCH_PAGE - 16) /* of a page of frames: its mark is behind */
#define WORD	    8
#define ALL_SIGNALS (~0ull)
#define SETTLE_NS   200000 /* between two looks at a thread on its way out */

struct group {
	struct task *task;
	struct thread **thread; /* in the task's array */
	size_t n;
	struct plan *plan; /* one a slot */
	char *pages;	   /* what will lie at [lo, the leader's page) */
	uint64_t lo;
};

static struct tracee *member(const struct group *g, size_t i)
{
	return g->thread[i]->tracee;
}

/* --- frames ---------------------------------------------------------------------------------- */

/* Give frames to as many threads from @first on as there are slots and pages for, top down. */
static int place_frames(struct group *g, size_t first)
{
	struct task_remote *r = g->task->remote;
	size_t left = g->task->n_threads - first, used = USABLE;

	g->thread = g->task->thread + first;
	g->lo = r->leader_page;
	for (g->n = 0; g->n < left && g->n < r->slots; g->n++) {
		struct tracee *t = member(g, g->n);
		size_t size = frame_size(&t->xstate);

		if (!r->protected)
			continue;
		if (size > USABLE)
			break;
		if (used + size > USABLE) {
			if (g->lo - SCRATCH_PAGE < r->room_lo)
				break;
			g->lo -= SCRATCH_PAGE;
			used = 0;
		}
		t->frame = g->lo + used;
		used += size;
	}
	return g->n ? 0 : ERR_REFUSED;
}

static int write_frames(struct group *g, struct err *err)
{
	struct task_remote *r = g->task->remote;
	size_t len = r->leader_page - g->lo;

	if (!r->protected)
		return 0;
	memset(g->pages, 0, len);
	for (size_t i = 0; i < g->n; i++) {
		const struct tracee *t = member(g, i);
		struct regs self = t->regs;
		struct frame frame = { .regs = &self, .mask = t->mask, .xstate = &t->xstate };

		regs_for_frame(&self);
		frame_build(g->pages + (t->frame - g->lo), t->frame, &frame);
	}
	return room_write(g->task, g->lo, g->pages, len, err);
}

/* --- one thread in and out ----------------------------------------------------------------------- */

/* The thread of slice @i. */
static int park(const struct group *g, size_t i, struct err *err)
{
	const struct task_remote *r = g->task->remote;
	const struct tracee *t = member(g, i);
	struct regs parked;
	int rc;

	if (!r->protected)
		return 0;
	regs_park(&parked, &t->regs, r->gadgets.call, r->gadgets.sigreturn, slice_addr(r, i + 1),
		  t->frame + WORD);
	rc = regs_set(t->tid, &parked, err);
	STEP();
	return rc;
}

/* Parked, it has everything but the way to the runner. */
static int to_runner(const struct group *g, size_t i, struct err *err)
{
	const struct task_remote *r = g->task->remote;
	const struct tracee *t = member(g, i);
	struct regs run;

	if (r->protected)
		return regs_set_ip(t->tid, r->scratch, err);
	regs_run_at(&run, &t->regs, r->scratch, slice_addr(r, i + 1), regs_sp(&t->regs));
	return regs_set(t->tid, &run, err);
}

static void announce(const struct task_remote *r, size_t i, uint64_t frame)
{
	__atomic_store_n(&scratch_board(r)->table[i], frame, __ATOMIC_SEQ_CST);
	STEP();
}

static int enter_thread(struct group *g, size_t i, struct err *err)
{
	struct task_remote *r = g->task->remote;
	struct tracee *t = member(g, i);
	int rc = park(g, i, err);

	t->inside = true;
	if (rc == 0)
		rc = tracee_set_mask(t, ALL_SIGNALS, err);
	STEP();
	if (rc == 0 && r->protected)
		announce(r, i, t->frame);
	if (rc == 0)
		rc = to_runner(g, i, err);
	STEP();
	if (rc == 0)
		rc = tracee_continue(t, err);
	STEP();
	return rc;
}

static bool on_its_way(const struct task_remote *r, const struct tracee *t)
{
	uint64_t word = 0;
	struct regs now;

	if (regs_get(t->tid, &now, NULL) < 0)
		return false;
	return task_peek(t->tid, t->frame, &word, sizeof(word)) < 0 || !word ||
	       regs_ip(&now) - r->scratch < r->scratch_len ||
	       regs_ip(&now) - r->gadgets.sigreturn < 16;
}

/* It timed out and is leaving by its frame, which must stay until it has. */
static int see_out(const struct task_remote *r, struct tracee *t, struct err *err)
{
	const struct timespec nap = { .tv_nsec = SETTLE_NS };

	while (on_its_way(r, t)) {
		int rc = tracee_continue(t, err);

		nanosleep(&nap, NULL);
		if (rc == 0)
			rc = tracee_hold(t, r->timeout_ms, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int leave_thread(struct group *g, size_t i, struct err *err)
{
	struct task_remote *r = g->task->remote;
	struct tracee *t = member(g, i);
	int held = slice_held(r, i + 1, t, err), rc;

	if (slice_gone(r, i + 1)) {
		rc = see_out(r, t, err);
		t->inside = false;
		announce(r, i, 0);
		return rc < 0 ? rc : held;
	}
	rc = park(g, i, held < 0 ? NULL : err);
	if (rc == 0)
		announce(r, i, 0);
	if (rc == 0)
		rc = tracee_give_back(t, err);
	/* Else it still needs its frame; see remote_leave. */
	t->inside = rc < 0;
	return held < 0 ? held : rc;
}

/* --- a group ------------------------------------------------------------------------------------- */

static int ask_group(struct group *g, const struct remote_each *each, struct err *err)
{
	struct task_remote *r = g->task->remote;

	for (size_t i = 0; i < g->n; i++) {
		struct plan *p = &g->plan[i];
		int rc;

		if (p->row)
			plan_reset(p);
		else
			plan_init(p, slice_addr(r, i + 1) + offsetof(struct runner_slice, data),
				  PLAN_ROWS, PLAN_DATA);
		each->ask(g->thread[i], p, each->arg);
		slice_reset(r, i + 1);
		rc = slice_load(r, i + 1, p, err);
		if (rc < 0)
			return rc;
	}
	board_expect(r, (uint32_t)g->n);
	return 0;
}

/* All must leave, whatever happens to one: the first error is the one that is told. */
static int leave_group(struct group *g, int rc, struct err *err)
{
	struct task_remote *r = g->task->remote;
	struct err other;

	for (size_t i = 0; i < g->n; i++)
		if (member(g, i)->inside)
			tracee_interrupt(member(g, i));
	STEP();
	for (size_t i = g->n; i-- > 0;) {
		struct tracee *t = member(g, i);
		int left;

		if (!t->inside || t->gone)
			continue;
		left = tracee_hold(t, r->timeout_ms, &other);
		STEP();
		if (left == 0)
			left = leave_thread(g, i, &other);
		if (left < 0 && rc == 0)
			rc = err_set(err, left, "thread %d: %s", t->tid, other.text);
	}
	return rc;
}

static int run_group(struct group *g, const struct remote_each *each, struct err *err)
{
	struct task_remote *r = g->task->remote;
	int rc = write_frames(g, err);

	if (rc == 0)
		rc = ask_group(g, each, err);
	for (size_t i = 0; i < g->n && rc == 0; i++)
		rc = enter_thread(g, i, err);
	if (rc == 0)
		rc = board_wait(g->task, g->thread, g->n, err);
	STEP();
	rc = leave_group(g, rc, err);
	for (size_t i = 0; i < g->n && rc == 0; i++) {
		slice_store(r, i + 1, &g->plan[i]);
		rc = each->answer(g->thread[i], &g->plan[i], each->arg, err);
	}
	return rc;
}

int remote_threads(struct task *task, const struct remote_each *each, struct err *err)
{
	struct task_remote *r = task->remote;
	struct group g = {
		.task = task,
		.plan = xcalloc(r->slots, sizeof(*g.plan)),
		.pages = xmalloc(r->protected ? r->room_hi - r->room_lo : 1),
	};
	size_t done = 1;
	int rc = 0;

	while (rc == 0 && done < task->n_threads) {
		rc = place_frames(&g, done);
		if (rc < 0)
			err_set(err, rc, "the stack has no room for the frame of thread %d",
				task->thread[done]->tid);
		else
			rc = run_group(&g, each, err);
		done += g.n;
	}
	for (size_t i = 0; i < r->slots; i++)
		plan_release(&g.plan[i]);
	free(g.plan);
	free(g.pages);
	return rc;
}
