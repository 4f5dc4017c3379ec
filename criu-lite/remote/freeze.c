/* freeze.c - stop every thread of a tree, and let them all go again. */
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/proc/children.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/proc/status.h"
#include "criu-lite/proc/values.h"
#include "criu-lite/remote/early.h"
#include "criu-lite/remote/inside.h"
#include "criu-lite/remote/sharing.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define PID_LIMIT      (1u << 22)  /* the kernel's PID_MAX_LIMIT */
#define VFORK_WAIT     3000000	   /* ns until a thread that does not stop is looked at */
#define STOP_WAIT      2000000000  /* ns at most until a task is seen to have stopped */
#define KILL_WAIT      10000000000 /* ns at most until a killed task has ended */
#define LAST_WAIT      100	   /* ms for threads that never stopped, when letting go */
#define TASKS_A_SECOND 200	   /* whose plans are surely collected in that time */
#define LEADER_ENDED   "its first thread has ended while others go on"

struct freeze {
	struct tree *tree;
	const struct freeze_options *opt;
	struct early early;
	struct sharing sharing;
	struct refusals cannot; /* tasks that we could not even take hold of */
	uint8_t *seen;		/* one bit a tid: already ours */
	uint64_t deadline_ns;
};

static bool seen(const struct freeze *f, pid_t tid)
{
	return f->seen[(unsigned int)tid % PID_LIMIT / 8] >> (tid % 8) & 1;
}

static void see(struct freeze *f, pid_t tid, bool is)
{
	uint8_t bit = (uint8_t)(1u << (tid % 8)), *at = &f->seen[(unsigned int)tid % PID_LIMIT / 8];

	*at = is ? *at | bit : *at & (uint8_t)~bit;
}

/* --- taking hold ---------------------------------------------------------------------- */

/* Why the kernel would not let us attach. Threads that are ending are not worth a word. */
static void explain_eperm(struct freeze *f, struct task *task, pid_t tid)
{
	struct proc_status status;
	scoped_proc dir = NULL;

	if (proc_open(&dir, NULL, tid, NULL) < 0 || proc_status_read(dir, &status, NULL) < 0)
		return;
	if (status.state == 'Z' || status.state == 'X') {
		if (tid == task->pid && status.threads > 1)
			refuse(&f->cannot, "task %d: " LEADER_ENDED, tid);
		if (tid == task->pid)
			task->state = TASK_DEAD;
	} else if (status.kthread) {
		refuse(&f->cannot, "task %d: is a kernel thread", task->pid);
	} else if (status.tracer) {
		refuse(&f->cannot, "task %d: thread %d is traced by task %d", task->pid, tid,
		       status.tracer);
	} else {
		refuse(&f->cannot, "task %d: no permission to trace thread %d", task->pid, tid);
	}
	proc_status_release(&status);
}

static int take_thread(struct freeze *f, struct task *task, pid_t tid)
{
	struct tracee *t = xcalloc(1, sizeof(*t));
	struct thread *thread;
	int rc;

	if (!f->tree->hold->since_ns)
		f->tree->hold->since_ns = now_ns();
	rc = tracee_seize(t, tid);
	if (rc == 0) {
		see(f, tid, true);
		thread = task->n_threads && tid == task->pid ? task_leader(task)
							     : task_add_thread(task, tid);
		thread->tracee = t;
		return 1;
	}
	tracee_free(t);
	if (rc == -EPERM) {
		see(f, tid, true);
		explain_eperm(f, task, tid);
	}
	return 0;
}

/*
 * Threads of @task that are not ours yet; how many were added. That something ended meanwhile
 * is no error, here and below; whatever else keeps us from looking is.
 */
static int take_threads(struct freeze *f, struct task *task, struct err *err)
{
	scoped int *tids = NULL;
	size_t n = 0;
	int added = 0, rc;

	if (!seen(f, task->pid))
		added += take_thread(f, task, task->pid);
	if (task->state == TASK_DEAD)
		return added;
	rc = proc_list(task->proc, "task", &tids, &n, err);
	if (rc < 0)
		return proc_ended(rc) ? added : err_add(err, rc, "task %d", task->pid);
	for (size_t i = 0; i < n; i++)
		if (!seen(f, tids[i]))
			added += take_thread(f, task, tids[i]);
	return added;
}

/* Is it there although /proc has nothing of it? In this order: a pid that ended may be used again. */
static bool hidden(pid_t pid)
{
	scoped_proc dir = NULL;
	struct proc_stat stat;

	if (proc_open(&dir, NULL, pid, NULL) == 0 && proc_stat_read(dir, &stat, NULL) == 0)
		return false;
	return kill(pid, 0) == 0 || errno == EPERM;
}

static int add_task(struct freeze *f, pid_t pid, struct err *err)
{
	const struct early_task *known;
	struct proc_dir *dir = NULL;
	struct proc_stat stat;
	struct task *task;
	int rc = proc_open(&dir, NULL, pid, err);

	if (rc == 0)
		rc = proc_stat_read(dir, &stat, err);
	if (rc < 0) {
		proc_close(dir);
		if (proc_ended(rc) && hidden(pid))
			refuse(&f->cannot,
			       "task %d: /proc hides it (hidepid, see proc(5)); run this as root",
			       pid);
		return proc_ended(rc) ? 0 : err_add(err, rc, "task %d", pid);
	}
	if (pid == getpid()) {
		proc_close(dir);
		return err_set(err, ERR_REFUSED, "task %d: this program itself runs in the tree",
			       pid);
	}
	task = tree_add_task(f->tree, pid);
	task->proc = dir;
	task->start_time = stat.starttime;
	task->remote = xcalloc(1, sizeof(*task->remote));
	task->remote->timeout_ms = f->opt->timeout_ms;
	known = early_find(&f->early, pid, stat.starttime);
	if (known)
		task->remote->gadgets = known->gadgets;
	task_add_thread(task, pid);
	if (stat.state == 'Z' || stat.state == 'X') {
		task->state = TASK_DEAD;
		see(f, pid, true);
		if (stat.num_threads > 1)
			refuse(&f->cannot, "task %d: " LEADER_ENDED, pid);
	}
	return 1;
}

static bool all_held(const struct task *task)
{
	struct thread *t;

	for_each_thread (t, task)
		if (!t->tracee || !t->tracee->held)
			return false;
	return true;
}

/* The list is exact only while nobody can fork; to read it sooner would be for nothing. */
static int add_children(struct freeze *f, const struct task *task, struct err *err)
{
	scoped int *pids = NULL;
	size_t n = 0;
	int added = 0, rc;

	if (!all_held(task))
		return 0;
	rc = proc_children_read(task->proc, &pids, &n, err);
	if (rc < 0)
		return proc_ended(rc) ? 0 : err_add(err, rc, "task %d", task->pid);
	for (size_t i = 0; i < n; i++) {
		rc = tree_find(f->tree, pids[i]) ? 0 : add_task(f, pids[i], err);
		if (rc < 0)
			return rc;
		added += rc;
	}
	return added;
}

/* One walk over the tree, which grows under it; how many threads and tasks were new. */
static int walk(struct freeze *f, struct err *err)
{
	int added = 0;

	for (size_t i = 0; i < f->tree->n_tasks; i++) {
		struct task *task = f->tree->task[i];
		int rc;

		if (task->state == TASK_DEAD)
			continue;
		rc = take_threads(f, task, err);
		if (rc < 0)
			return rc;
		added += rc;
		rc = add_children(f, task, err);
		if (rc < 0)
			return rc;
		added += rc;
	}
	return added;
}

/* --- letting part of a tree go again ---------------------------------------------------- */

static void forget_thread(struct freeze *f, struct thread *t)
{
	if (!t->tracee)
		return;
	/* One that cannot be detached now goes on when this program ends. */
	if (!t->tracee->held && !t->tracee->gone)
		tracee_hold(t->tracee, LAST_WAIT, NULL);
	tracee_detach(t->tracee);
	if (f)
		see(f, t->tid, false);
	tracee_free(t->tracee);
	t->tracee = NULL;
}

static void free_task(struct freeze *f, struct task *task)
{
	struct tree alone = {};
	struct thread *t;
	size_t cap = 0;

	for_each_thread (t, task)
		forget_thread(f, t);
	see(f, task->pid, false);
	free(task->remote);
	task->remote = NULL;
	ARRAY_PUSH(alone.task, alone.n_tasks, cap, task);
	tree_release(&alone);
}

static bool below(const struct task *task, pid_t ancestor, const struct tree *tree)
{
	struct proc_stat stat;

	for (size_t depth = 0; task && depth <= tree->n_tasks; depth++) {
		if (task->pid == ancestor)
			return true;
		if (proc_stat_read(task->proc, &stat, NULL) < 0)
			return false;
		task = tree_find(tree, stat.ppid);
	}
	return false;
}

/* Take @pid and everything below it out of the tree and let it run: it will be found again. */
static void let_go(struct freeze *f, pid_t pid)
{
	struct tree *tree = f->tree;
	struct task **out = xcalloc(tree->n_tasks, sizeof(*out));
	size_t kept = 0, n_out = 0;

	for (size_t i = tree->n_tasks; i-- > 0;)
		if (below(tree->task[i], pid, tree))
			out[n_out++] = tree->task[i];
	for (size_t i = 0; i < tree->n_tasks; i++) {
		bool goes = false;

		for (size_t j = 0; j < n_out; j++)
			goes |= out[j] == tree->task[i];
		if (!goes)
			tree->task[kept++] = tree->task[i];
	}
	tree->n_tasks = kept;
	for (size_t j = 0; j < n_out; j++)
		free_task(f, out[j]);
	free(out);
}

/* --- waiting for the stops -------------------------------------------------------------- */

static void drop_thread(struct task *task, size_t i)
{
	tracee_free(task->thread[i]->tracee);
	free(task->thread[i]);
	memmove(&task->thread[i], &task->thread[i + 1],
		(task->n_threads - i - 1) * sizeof(*task->thread));
	task->n_threads--;
	for (; i < task->n_threads; i++)
		task->thread[i]->index = i;
}

/* A zombie by now, or gone altogether. */
static void task_ended(struct freeze *f, struct task *task)
{
	struct proc_stat stat;

	if (proc_stat_read(task->proc, &stat, NULL) == 0 && stat.state == 'Z') {
		task->state = TASK_DEAD;
		tracee_free(task_leader(task)->tracee);
		task_leader(task)->tracee = NULL;
		return;
	}
	let_go(f, task->pid);
}

static int stopped(struct freeze *f, struct thread *t, struct err *err)
{
	uint64_t slept = early_slept_ns(&f->early, t->task->proc, t->tid);
	struct err why;
	int rc;

	rc = tracee_load(t->tracee, slept, &why);
	STEP();
	if (rc == ERR_REFUSED)
		refuse(&f->cannot, "task %d: %s", t->task->pid, why.text);
	else if (rc < 0)
		return err_set(err, rc, "task %d: %s", t->task->pid, why.text);
	if (!regs_native(&t->tracee->regs))
		refuse(&f->cannot, "task %d: is a 32-bit or x32 program", t->task->pid);
	return 0;
}

/*
 * A signal that was on its way in is given on: the interrupt waits behind it.
 * 1: stopped for good; 0: not yet.
 */
static int see_stop(struct freeze *f, struct thread *t, enum stop stop, struct err *err)
{
	struct tracee *x = t->tracee;
	int rc;

	switch (stop) {
	case STOP_NONE:
	case STOP_GONE:
		return 0;
	case STOP_SIGNAL:
		tracee_continue(x, NULL);
		return 0;
	case STOP_CALL:
	case STOP_EVENT:
		break;
	}
	rc = stopped(f, t, err);
	return rc < 0 ? rc : 1;
}

/* Look at every thread that has not stopped yet; how many are left. */
static int sweep_task(struct freeze *f, struct task *task, struct thread **laggard, bool *ended,
		      struct err *err)
{
	int left = 0;

	/* Gone before we could take it. (What is dead or refused has been seen.) */
	if (!leader_tracee(task) && !seen(f, task->pid))
		*ended = true;
	for (size_t i = 0; i < task->n_threads && !*ended; i++) {
		struct thread *t = task->thread[i];
		enum stop stop;
		int rc;

		if (!t->tracee || t->tracee->held)
			continue;
		stop = tracee_poll(t->tracee);
		if (stop == STOP_GONE && i == 0) {
			*ended = true;
			return 0;
		}
		if (stop == STOP_GONE) {
			see(f, t->tid, false);
			drop_thread(task, i--);
			continue;
		}
		rc = see_stop(f, t, stop, err);
		if (rc < 0)
			return rc;
		if (rc == 0) {
			left++;
			*laggard = t;
		}
	}
	return left;
}

static int sweep(struct freeze *f, struct thread **laggard, struct err *err)
{
	int left = 0;

	for (size_t i = 0; i < f->tree->n_tasks; i++) {
		struct task *task = f->tree->task[i];
		bool ended = false;
		int rc = sweep_task(f, task, laggard, &ended, err);

		if (rc < 0)
			return rc;
		left += rc;
		if (ended) {
			size_t before = f->tree->n_tasks;

			task_ended(f, task);
			if (f->tree->n_tasks != before)
				return left + 1; /* the array has changed: begin again */
		}
	}
	return left;
}

/*
 * A parent in vfork waits for its child to exec or exit, and cannot stop before
 * it does; if we hold the child that is for ever. The child runs on its
 * parent's memory: that is how we know it. So may those above the parent.
 */
static void release_vfork_child(struct freeze *f, const struct thread *parent)
{
	struct task *task;

	for_each_live_task (task, f->tree) {
		if (below(parent->task, task->pid, f->tree) || !leader_tracee(task))
			continue;
		if (sharing_compare(parent->tid, task->pid, KCMP_VM) == 0) {
			let_go(f, task->pid);
			return;
		}
	}
}

static int timed_out(const struct thread *t, struct err *err)
{
	scoped_proc dir = NULL;
	scoped char *where = NULL;
	struct proc_stat stat = { .state = '?' };

	if (proc_open_thread(&dir, t->task->proc, t->tid, NULL) == 0) {
		proc_stat_read(dir, &stat, NULL);
		proc_wchan_read(dir, &where, NULL);
	}
	if (stat.state == 'Z')
		return err_set(err, ERR_REFUSED, "task %d: " LEADER_ENDED, t->task->pid);
	return err_set(err, -ETIMEDOUT, "task %d: thread %d did not stop in time (state %c, in %s)",
		       t->task->pid, t->tid, stat.state, where ? where : "?");
}

static int wait_for_all(struct freeze *f, struct err *err)
{
	const struct timespec nap = { .tv_nsec = 100000 };
	uint64_t patience = now_ns() + VFORK_WAIT;

	for (unsigned int round = 0;; round++) {
		struct thread *laggard = NULL;
		int left = sweep(f, &laggard, err);

		if (left <= 0)
			return left;
		if (laggard && now_ns() > f->deadline_ns)
			return timed_out(laggard, err);
		if (laggard && now_ns() > patience) {
			release_vfork_child(f, laggard);
			patience = now_ns() + VFORK_WAIT;
		}
		if (round < 50)
			sched_yield();
		else
			nanosleep(&nap, NULL);
	}
}

/* --- the frozen tree --------------------------------------------------------------------- */

static int read_stat(struct task *task, struct err *err)
{
	struct proc_stat stat;
	int rc = proc_stat_read(task->proc, &stat, err);

	if (rc < 0)
		return err_add(err, rc, "task %d", task->pid);
	task->ppid = stat.ppid;
	task->pgid = stat.pgrp;
	task->sid = stat.session;
	task->has_terminal = stat.tty_nr != 0;
	task->exit_signal = stat.exit_signal;
	task->exit_code = task->state == TASK_DEAD ? stat.exit_code : 0;
	if (task->state == TASK_DEAD)
		return 0;
	task->stop_signal = leader_tracee(task)->group_stop;
	if (task->stop_signal)
		task->state = TASK_STOPPED;
	task->pidfd = (int)syscall(SYS_pidfd_open, task->pid, 0);
	if (task->pidfd < 0)
		return err_errno(err, "task %d: opening a pidfd", task->pid);
	fcntl(task->pidfd, F_SETFD, FD_CLOEXEC);
	return 0;
}

/* Parents first; a task whose parent ended and that went elsewhere is no longer of this tree. */
static void order_tasks(struct freeze *f)
{
	struct tree *tree = f->tree;
	struct task **sorted = xcalloc(tree->n_tasks, sizeof(*sorted));
	size_t n = 0, done = 0;

	sorted[n++] = tree->task[0];
	tree->task[0] = NULL;
	for (; done < n; done++) {
		for (size_t i = 1; i < tree->n_tasks; i++) {
			struct task *task = tree->task[i];

			if (!task || task->ppid != sorted[done]->pid)
				continue;
			task->parent = sorted[done];
			sorted[n++] = task;
			tree->task[i] = NULL;
		}
	}
	for (size_t i = 1; i < tree->n_tasks; i++)
		if (tree->task[i])
			free_task(f, tree->task[i]);
	memcpy(tree->task, sorted, n * sizeof(*sorted));
	tree->n_tasks = n;
	free(sorted);
}

static void drop_task(struct freeze *f, size_t i)
{
	struct tree *tree = f->tree;
	struct task *task = tree->task[i];

	memmove(&tree->task[i], &tree->task[i + 1], (--tree->n_tasks - i) * sizeof(*tree->task));
	free_task(f, task);
}

static int describe(struct freeze *f, struct err *err)
{
	struct tree *tree = f->tree;
	struct task *task;

	for (size_t i = 0; i < tree->n_tasks; i++) {
		int rc = read_stat(tree->task[i], err);

		if (rc == -ESRCH && tree->task[i]->state == TASK_DEAD)
			drop_task(f, i--); /* reaped before its parent stopped */
		else if (rc < 0)
			return rc;
	}
	order_tasks(f);
	for_each_task (task, f->tree)
		task->remote->limit_s = 1 + (unsigned int)(f->tree->n_tasks / TASKS_A_SECOND);
	return 0;
}

/* --- the tool itself ----------------------------------------------------------------------- */

static bool set_oom_score_adj(int value)
{
	scoped_fd fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", value);

	return fd >= 0 && write(fd, text, (size_t)n) == n;
}

/* A stopped tool would keep a stopped tree; and should memory run out, it goes first. */
static void hold_tool(struct tree *tree)
{
	struct tree_hold *hold = xcalloc(1, sizeof(*hold));
	scoped_proc self = NULL;
	sigset_t stops;

	sigemptyset(&stops);
	sigaddset(&stops, SIGTSTP);
	sigaddset(&stops, SIGTTIN);
	sigaddset(&stops, SIGTTOU);
	sigprocmask(SIG_BLOCK, &stops, &hold->old_mask);
	if (proc_open(&self, NULL, getpid(), NULL) == 0 &&
	    proc_oom_score_adj_read(self, &hold->old_oom_score_adj, NULL) == 0)
		hold->oom_raised = set_oom_score_adj(1000);
	tree->hold = hold;
}

static void release_tool(struct tree *tree)
{
	if (!tree->hold)
		return;
	if (tree->hold->oom_raised)
		set_oom_score_adj(tree->hold->old_oom_score_adj);
	sigprocmask(SIG_SETMASK, &tree->hold->old_mask, NULL);
	free(tree->hold);
	tree->hold = NULL;
}

uint64_t tree_frozen_since(const struct tree *tree)
{
	return tree->hold ? tree->hold->since_ns : 0;
}

/* --- the two ends --------------------------------------------------------------------------- */

static int freeze_all(struct freeze *f, pid_t root, struct err *err)
{
	int added, rc = add_task(f, root, err);

	if (rc == 0)
		return err_set(err, -ESRCH, "task %d: there is no such task", root);
	if (rc < 0)
		return rc;
	do {
		added = walk(f, err);
		if (added < 0)
			return added;
		rc = wait_for_all(f, err);
		if (rc < 0)
			return rc;
		if (!f->tree->n_tasks)
			return err_set(err, -ESRCH, "task %d: it ended", root);
	} while (added);
	if (f->tree->task[0]->state == TASK_DEAD)
		refuse(&f->cannot, "task %d: it has ended", root);
	rc = refusals_result(&f->cannot, err);
	return rc < 0 ? rc : describe(f, err);
}

static int make_room(const struct freeze *f, struct err *err)
{
	struct task *task;

	for_each_live_task (task, f->tree) {
		const struct early_task *known = early_find(&f->early, task->pid, task->start_time);
		int rc = known && known->cramped ? room_grow(task, err) : 0;

		if (rc < 0)
			return err_add(err, rc, "task %d", task->pid);
	}
	return 0;
}

int tree_freeze(struct tree *tree, pid_t root, const struct freeze_options *opt,
		struct refusals *refusals, struct err *err)
{
	struct freeze f = {
		.tree = tree,
		.opt = opt,
		.seen = xcalloc(PID_LIMIT / 8, 1),
		.deadline_ns = now_ns() + (uint64_t)opt->timeout_ms * 1000000,
	};
	int rc;

	hold_tool(tree);
	rc = early_look(&f.early, root, f.deadline_ns, err);
	if (rc == 0)
		sharing_early(&f.sharing, &f.early);
	if (rc == 0)
		rc = freeze_all(&f, root, err);
	if (rc == 0)
		rc = check_tree(tree, &f.sharing, opt->unprotected, refusals, err);
	if (rc == 0 && !refusals->n)
		rc = make_room(&f, err);
	sharing_release(&f.sharing);
	early_release(&f.early);
	refusals_release(&f.cannot);
	free(f.seen);
	return rc;
}

static int thaw_task(struct task *task, enum thaw how, struct err *err)
{
	int rc = 0;

	if (task->remote && task->remote->inside)
		rc = remote_leave(task, err);
	if (task->state != TASK_DEAD && how == THAW_KILL)
		kill(task->pid, SIGKILL);
	else if (task->state == TASK_ALIVE && how == THAW_STOP)
		kill(task->pid, SIGSTOP);
	/* The leader last: others may still rely on nothing of it, but a debugger looks there. */
	for (size_t i = task->n_threads; i-- > 0;) {
		forget_thread(NULL, task->thread[i]);
		STEP();
	}
	if (task->remote)
		scratch_forget(task->remote);
	free(task->remote);
	task->remote = NULL;
	return rc;
}

/*
 * None of them runs an instruction of its own before it stops, but it takes a processor to
 * stop on: who asks right after us shall see it done.
 */
static void see_stopped(const struct tree *tree)
{
	const struct timespec nap = { .tv_nsec = 100000 };
	uint64_t limit = now_ns() + STOP_WAIT;
	struct proc_stat stat;
	struct task *task;

	for_each_live_task (task, tree)
		while (proc_stat_read(task->proc, &stat, NULL) == 0 && !strchr("TZX", stat.state) &&
		       now_ns() < limit)
			nanosleep(&nap, NULL);
}

/*
 * A thread that died before it could be detached is ours to wait for, and its task has not
 * ended before that is done. The leader is its parent's, which is told when we end.
 */
static void bury_threads(const struct task *task)
{
	for (size_t i = 1; i < task->n_threads; i++)
		waitpid(task->thread[i]->tid, NULL, __WALL | WNOHANG);
}

/* Giving memory back takes a killed task a while, and its pid is taken until then. */
static void see_ended(const struct tree *tree)
{
	uint64_t limit = now_ns() + KILL_WAIT;
	struct task *task;

	for_each_live_task (task, tree) {
		struct pollfd ended = { .fd = task->pidfd, .events = POLLIN };

		do
			bury_threads(task);
		while (poll(&ended, 1, 1) == 0 && now_ns() < limit);
	}
}

int tree_thaw(struct tree *tree, enum thaw how, struct err *err)
{
	struct task *task;
	struct err each;
	int rc = 0;

	for_each_task (task, tree) {
		int failed = thaw_task(task, how, &each);

		if (failed < 0 && rc == 0) {
			rc = failed;
			err_set(err, rc, "%s", each.text);
		}
	}
	if (how == THAW_STOP)
		see_stopped(tree);
	if (how == THAW_KILL)
		see_ended(tree);
	release_tool(tree);
	return rc;
}
