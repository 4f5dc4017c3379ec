/*
 * puppet - a child that makes the system calls of a plan, without ptrace.
 *
 * It shares the plan's rows and data with the test, so that a batch runs in it
 * as it would in a task that is being rebuilt. Its descriptors are closed but
 * for those at PUPPET_BUSY and above: a pidfd of the test at PUPPET_BUSY + 1.
 */
#ifndef TEST_PUPPET_H
#define TEST_PUPPET_H

#include "base/mem.h"
#include "criu-lite/file/state.h"
#include "criu-lite/proc/proc.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#define PUPPET_BUSY 900

struct stage {
	sem_t go, done;
	size_t n;
	struct plan_row row[PLAN_ROWS];
	char data[PLAN_DATA];
};

struct puppet {
	struct stage *stage;
	pid_t pid;
	struct tree tree;
	struct task *task;
	struct batch batch;
};

static inline void puppet_walk(struct stage *s)
{
	int64_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct plan_row *r = &s->row[i];
		long rc;

		if (r->use)
			r->arg[r->use - 1] = kept;
		rc = syscall(r->nr, r->arg[0], r->arg[1], r->arg[2], r->arg[3], r->arg[4],
			     r->arg[5]);
		r->ret = rc < 0 ? -errno : rc;
		if (r->flags & ROW_KEEP)
			kept = r->ret;
		if (rc < 0 && r->flags & ROW_STOP)
			return;
	}
}

static inline void puppet_main(struct stage *s)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(syscall(SYS_pidfd_open, getppid(), 0), PUPPET_BUSY + 1);
	syscall(SYS_close_range, 0, PUPPET_BUSY, 0);
	syscall(SYS_close_range, PUPPET_BUSY + 2, ~0U, 0);
	for (;;) {
		sem_post(&s->done);
		while (sem_wait(&s->go))
			;
		puppet_walk(s);
	}
}

static inline int puppet_run(struct batch *b, struct err *err)
{
	struct stage *s = b->arg;

	s->n = b->plan.n;
	memcpy(s->row, b->plan.row, b->plan.n * sizeof(*s->row));
	memcpy(s->data, b->plan.data, b->plan.len);
	sem_post(&s->go);
	while (sem_wait(&s->done))
		;
	memcpy(b->plan.row, s->row, b->plan.n * sizeof(*s->row));
	memcpy(b->plan.data, s->data, b->plan.len);
	return 0;
}

/* A task of a tree as the freeze would leave it, for a child that does not move. */
static inline struct task *task_of(struct tree *tree, pid_t pid)
{
	struct task *task = tree_add_task(tree, pid);

	task_add_thread(task, pid);
	task->pgid = getpgrp();
	assert_int_equal(proc_open(&task->proc, NULL, pid, NULL), 0);
	task->pidfd = syscall(SYS_pidfd_open, pid, 0);
	assert_true(task->pidfd >= 0);
	return task;
}

static inline void puppet_start(struct puppet *p)
{
	*p = (struct puppet) {};
	p->stage = mmap(NULL, sizeof(*p->stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	assert_ptr_not_equal(p->stage, MAP_FAILED);
	sem_init(&p->stage->go, 1, 0);
	sem_init(&p->stage->done, 1, 0);
	p->pid = fork();
	if (!p->pid)
		puppet_main(p->stage);
	while (sem_wait(&p->stage->done))
		;
	p->task = task_of(&p->tree, p->pid);
	p->batch =
		(struct batch) { .thread = p->task->thread[0], .run = puppet_run, .arg = p->stage };
	plan_init(&p->batch.plan, (uintptr_t)p->stage->data, PLAN_ROWS, PLAN_DATA);
}

/* What a plan of the newborn would do by itself once it needs the tool no more. */
static inline void puppet_close_ours(struct puppet *p)
{
	plan_add(&p->batch.plan, PLAN_MUST, "close", SYS_close, PUPPET_BUSY + 1);
	assert_int_equal(batch_flush(&p->batch, NULL), 0);
}

static inline void puppet_end(struct puppet *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	plan_release(&p->batch.plan);
	tree_release(&p->tree);
	munmap(p->stage, sizeof(*p->stage));
}

#endif
