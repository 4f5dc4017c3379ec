/*
 * double - a forked child that walks plans by syscall(2), in place of a runner
 * inside a tracee: what the kinds ask and rebuild is done by the real kernel.
 */
#ifndef TEST_TASK_DOUBLE_H
#define TEST_TASK_DOUBLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "criu-lite/task/kinds.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct double_area {
	uint64_t deny; /* prctl(2) with this option fails with EINVAL: an older kernel */
	uint64_t n;
	struct plan_row row[PLAN_ROWS];
	char data[PLAN_DATA];
};

struct double_task {
	pid_t pid;
	int sock;
	struct double_area *area; /* at the same address on both sides */
	struct batch batch;
	size_t runs;
};

static inline int64_t double_call(const struct double_area *area, const struct plan_row *r,
				  int64_t kept)
{
	uint64_t a[6];
	long ret;

	if (area->deny && r->nr == SYS_prctl && r->arg[0] == area->deny)
		return -EINVAL;
	memcpy(a, r->arg, sizeof(a));
	if (r->use)
		a[r->use - 1] = (uint64_t)kept;
	ret = syscall((long)r->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	return ret == -1 ? -errno : ret;
}

/* The child: one byte in, a plan walked, one byte out; the other end closing ends it. */
static inline void double_serve(struct double_area *area, int sock)
{
	char c;

	while (read(sock, &c, 1) == 1) {
		int64_t kept = 0;

		for (uint64_t i = 0; i < area->n; i++) {
			struct plan_row *r = &area->row[i];

			r->ret = double_call(area, r, kept);
			if (r->flags & ROW_KEEP)
				kept = r->ret;
			if (r->ret < 0 && r->flags & ROW_STOP)
				break;
		}
		if (write(sock, &c, 1) != 1)
			break;
	}
	syscall(SYS_exit_group, 0);
}

static inline int double_walk(struct double_task *d, struct plan *p)
{
	char c = 0;

	d->runs++;
	d->area->n = p->n;
	memcpy(d->area->row, p->row, p->n * sizeof(*p->row));
	memcpy(d->area->data, p->data, p->len);
	if (write(d->sock, &c, 1) != 1 || read(d->sock, &c, 1) != 1)
		return -ESRCH;
	memcpy(p->row, d->area->row, p->n * sizeof(*p->row));
	memcpy(p->data, d->area->data, p->len);
	return 0;
}

static inline int double_run(struct batch *b, struct err *err)
{
	int rc = double_walk(b->arg, &b->plan);

	return rc < 0 ? err_set(err, rc, "the double ended") : 0;
}

/* All signals are blocked in it, as in a newborn; @prepare makes it what the test wants. */
static inline struct double_task *double_start(void (*prepare)(void *), void *arg)
{
	struct double_task *d = xcalloc(1, sizeof(*d));
	int pair[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), errno);
	d->area = mmap(NULL, sizeof(*d->area), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	assert_ptr_not_equal(d->area, MAP_FAILED);
	d->pid = fork();
	assert_return_code(d->pid, errno);
	if (!d->pid) {
		uint64_t all = ~0ull;

		syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
		close(pair[0]);
		if (prepare)
			prepare(arg);
		double_serve(d->area, pair[1]);
	}
	close(pair[1]);
	d->sock = pair[0];
	plan_init(&d->batch.plan, (uint64_t)d->area->data, PLAN_ROWS, PLAN_DATA);
	d->batch.run = double_run;
	d->batch.arg = d;
	return d;
}

/* An empty plan must come back: the child has prepared itself. */
static inline void double_wait(struct double_task *d)
{
	struct plan p;

	plan_init(&p, d->batch.plan.addr, 1, 16);
	assert_int_equal(double_walk(d, &p), 0);
	plan_release(&p);
}

static inline void double_end(struct double_task *d)
{
	close(d->sock);
	kill(d->pid, SIGKILL);
	waitpid(d->pid, NULL, 0);
	munmap(d->area, sizeof(*d->area));
	plan_release(&d->batch.plan);
	free(d);
}

/* --- a tree of one task around it ---------------------------------------------------- */

struct world {
	struct tree tree;
	struct refusals refusals;
	struct saver saver;
	struct thread *thread;
};

static inline void world_init(struct world *w, pid_t pid)
{
	struct task *task;

	*w = (struct world) {};
	task = tree_add_task(&w->tree, pid);
	w->thread = task_add_thread(task, pid);
	assert_int_equal(proc_open(&task->proc, NULL, pid, NULL), 0);
	w->saver = (struct saver) { .tree = &w->tree, .refusals = &w->refusals, .dirfd = -1 };
}

static inline void world_release(struct world *w)
{
	kinds_save_release(&w->saver);
	refusals_release(&w->refusals);
	proc_close(w->tree.task[0]->proc);
	w->tree.task[0]->proc = NULL;
	tree_release(&w->tree);
}

static inline void hold(pid_t pid)
{
	int status;

	assert_return_code(ptrace(PTRACE_SEIZE, pid, 0, 0), errno);
	assert_return_code(ptrace(PTRACE_INTERRUPT, pid, 0, 0), errno);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_true(WIFSTOPPED(status));
}

static inline void let_go(pid_t pid)
{
	assert_return_code(ptrace(PTRACE_DETACH, pid, 0, 0), errno);
}

/* The table without what needs a whole memory around it. */
static inline const struct task_kind *const *small_kinds(void)
{
	static const struct task_kind *list[64];
	size_t n = 0;

	for (size_t i = 0; task_kinds[i]; i++)
		if (task_kinds[i] != &kind_mm)
			list[n++] = task_kinds[i];
	assert_true(n < ARRAY_SIZE(list));
	list[n] = NULL;
	return list;
}

/* Look, ask and save with every kind of @kinds, as a dump does. */
static inline void save_all(struct world *w, struct double_task *d,
			    const struct task_kind *const *kinds)
{
	struct thread *t = w->thread;
	uint64_t asked[64] = {};
	struct err err = {};
	struct plan p;

	hold(d->pid);
	for (size_t i = 0; kinds[i]; i++)
		if (kinds[i]->look && kinds[i]->look(&w->saver, t, &err) < 0)
			fail_msg("look: %s: %s", kinds[i]->name, err.text);
	let_go(d->pid);
	plan_init(&p, d->batch.plan.addr, PLAN_ROWS, PLAN_DATA);
	for (size_t i = 0; kinds[i]; i++)
		if (kinds[i]->ask)
			asked[i] = kinds[i]->ask(t, &p);
	assert_int_equal(double_walk(d, &p), 0);
	if (plan_judge(&p, &err) < 0)
		fail_msg("ask: %s", err.text);
	for (size_t i = 0; kinds[i]; i++)
		if (kinds[i]->save && kinds[i]->save(&w->saver, t, &p, asked[i], &err) < 0)
			fail_msg("save: %s: %s", kinds[i]->name, err.text);
	plan_release(&p);
}

/* Stage by stage, in the double; the first error ends it. */
static inline int rebuild_all(struct builder *b, struct thread *t, struct double_task *d,
			      const struct task_kind *const *kinds, struct err *err)
{
	int rc = 0;

	d->batch.thread = t;
	for (int stage = 0; stage < STAGES; stage++) {
		for (size_t i = 0; !rc && kinds[i]; i++)
			if (kinds[i]->stage == (enum rebuild_stage)stage && kinds[i]->rebuild)
				rc = kinds[i]->rebuild(b, t, &d->batch, err);
		if (!rc)
			rc = batch_flush(&d->batch, err);
		for (size_t i = 0; !rc && kinds[i]; i++)
			if (kinds[i]->stage == (enum rebuild_stage)stage && kinds[i]->outside)
				rc = kinds[i]->outside(b, t, err);
	}
	return rc;
}

#endif
