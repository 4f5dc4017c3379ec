/*
 * driver.c - stop a tree, run plans in every task and thread, let it go.
 *
 *	driver PID [ROUNDS]
 *
 * With RESCUE_STEP=N in the environment it kills itself at step N, as if
 * someone had sent SIGKILL there. Prints what it did and how many steps it took.
 */
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/remote/remote.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

static long step, die_at = -1;

void rescue_step(void)
{
	if (step++ == die_at)
		kill(getpid(), SIGKILL);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void ask(struct thread *t, struct plan *p, void *arg)
{
	stack_t *old;
	uint64_t at = plan_put(p, NULL, sizeof(*old));

	plan_add(p, PLAN_IS, "gettid", SYS_gettid);
	p->note[0].expect = t->tid;
	plan_add(p, PLAN_MUST, "sigaltstack", SYS_sigaltstack, 0, at);
}

static int answer(struct thread *t, struct plan *p, void *arg, struct err *err)
{
	int *answers = arg;

	++*answers;
	return plan_judge(p, err);
}

/* Plans that make a descriptor, look at it, and close it: a rescue must close it too. */
static int run_in_leader(struct task *task, struct err *err)
{
	struct plan p;
	int rc;

	remote_plan_init(task, &p);
	ask(task_leader(task), &p, NULL);
	plan_add(&p, PLAN_MUST, "eventfd", SYS_eventfd2, 7, 0);
	p.row[2].undo = SYS_close;
	p.row[2].flags |= ROW_KEEP;
	plan_add(&p, PLAN_MUST, "fcntl", SYS_fcntl, 0, 1 /* F_GETFD */);
	p.row[3].use = 1;
	rc = remote_run(task, &p, err);
	if (rc == 0)
		rc = plan_judge(&p, err);
	if (rc == 0) {
		int64_t fd = plan_ret(&p, 2);

		plan_reset(&p);
		plan_add(&p, PLAN_MUST, "close", SYS_close, (uint64_t)fd);
		rc = remote_run(task, &p, err);
		if (rc == 0)
			rc = plan_judge(&p, err);
	}
	plan_release(&p);
	return rc;
}

/* Into all tasks, plans in all, out of all: as a dump does it. */
static int visit(struct tree *tree, const struct freeze_options *opt, int *answers, struct err *err)
{
	struct remote_each each = { .ask = ask, .answer = answer, .arg = answers };
	struct task *task;
	int rc = remote_enter_all(tree, opt, err);

	for_each_live_task (task, tree)
		if (rc == 0)
			rc = run_in_leader(task, err);
	for_each_live_task (task, tree)
		if (rc == 0)
			rc = remote_threads(task, &each, err);
	return rc < 0 ? rc : remote_leave_all(tree, err);
}

static int once(pid_t pid, const struct freeze_options *opt)
{
	struct refusals refusals = {};
	struct tree tree = {};
	struct task *task;
	struct err err = {}, thaw_err = {};
	int answers = 0, n_threads = 0, rc;
	uint64_t start, stopped, visited;

	rc = tree_freeze(&tree, pid, opt, &refusals, &err);
	if (rc == 0)
		rc = refusals_result(&refusals, &err);
	start = tree_frozen_since(&tree) / 1000;
	stopped = now_us();
	if (rc == 0) {
		for_each_live_task (task, &tree)
			n_threads += (int)task->n_threads - 1;
		rc = visit(&tree, opt, &answers, &err);
	}
	visited = now_us();
	if (tree_thaw(&tree, THAW_RUN, &thaw_err) < 0 && rc == 0) {
		rc = -EIO;
		err = thaw_err;
	}
	if (rc == 0 && answers != n_threads)
		rc = err_set(&err, -EIO, "%d of %d threads answered", answers, n_threads);
	if (rc < 0)
		fprintf(stderr, "driver: %s\n", err.text);
	else
		printf("tasks %zu threads %d steps %ld: %lu us to stop, %lu us inside, %lu us to thaw\n",
		       tree.n_tasks, n_threads, step, (unsigned long)(stopped - start),
		       (unsigned long)(visited - stopped), (unsigned long)(now_us() - visited));
	refusals_release(&refusals);
	tree_release(&tree);
	return rc;
}

int main(int argc, char **argv)
{
	struct freeze_options opt = { .timeout_ms = 10000 };
	const char *at = getenv("RESCUE_STEP");
	long rounds = argc > 2 ? atol(argv[2]) : 1;

	if (argc < 2) {
		fprintf(stderr, "usage: driver PID [ROUNDS]\n");
		return 2;
	}
	opt.unprotected = getenv("RESCUE_UNPROTECTED") != NULL;
	if (at)
		die_at = atol(at);
	while (rounds-- > 0) {
		int rc = once(atoi(argv[1]), &opt);

		if (rc < 0)
			return rc == ERR_REFUSED ? 3 : 1;
	}
	return 0;
}
