/* ask.c - the kinds' questions: from outside, then inside the leaders, then in every thread. */
#include "criu-lite/dump/ask.h"
#include "base/mem.h"
#include "criu-lite/remote/remote.h"

#include <assert.h>

enum { MAX_KINDS = 64 };

static size_t count_kinds(void)
{
	size_t n = 0;

	while (task_kinds[n])
		n++;
	return n;
}

/* Which of the threads; which task, its caller adds. */
static int whose(const struct thread *t, int rc, struct err *err)
{
	if (rc >= 0 || t->tid == t->task->pid)
		return rc;
	return err_add(err, rc, "thread %d", t->tid);
}

static int task_named(const struct task *task, int rc, struct err *err)
{
	return rc < 0 ? err_add(err, rc, "task %d", task->pid) : 0;
}

static int thread_look(struct saver *s, struct thread *t, bool leader, struct err *err)
{
	for (size_t i = 0; task_kinds[i]; i++) {
		const struct task_kind *k = task_kinds[i];
		int rc;

		if (!k->look || !(leader || k->every_thread))
			continue;
		rc = k->look(s, t, err);
		if (rc < 0)
			return err_add(err, rc, "%s", k->name);
	}
	return 0;
}

int kinds_look(struct saver *s, struct err *err)
{
	struct task *task;
	struct thread *t;
	int rc = kinds_read(s, err);

	if (rc < 0)
		return rc;
	for_each_live_task (task, s->tree) {
		for_each_thread (t, task) {
			rc = thread_look(s, t, t == task_leader(task), err);
			if (rc < 0)
				return task_named(task, whose(t, rc, err), err);
		}
	}
	for_each_task (task, s->tree) {
		rc = task->state == TASK_DEAD ? dead_look(s, task, err) : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* What a thread was asked: the kinds' cookies, in table order. */
struct asked {
	uint64_t cookie[MAX_KINDS];
};

static void thread_ask(struct thread *t, struct plan *p, bool leader, struct asked *asked)
{
	for (size_t i = 0; task_kinds[i]; i++)
		if (task_kinds[i]->ask && (leader || task_kinds[i]->every_thread))
			asked->cookie[i] = task_kinds[i]->ask(t, p);
}

static int thread_save(struct saver *s, struct thread *t, struct plan *p, bool leader,
		       const struct asked *asked, struct err *err)
{
	for (size_t i = 0; task_kinds[i]; i++) {
		const struct task_kind *k = task_kinds[i];
		int rc;

		if (!k->save || !(leader || k->every_thread))
			continue;
		rc = k->save(s, t, p, asked->cookie[i], err);
		if (rc < 0)
			return err_add(err, rc, "%s", k->name);
	}
	return 0;
}

/* All leaders work on their plans at once; then each one's answers are read. */
static int leaders_ask(struct saver *s, struct err *err)
{
	size_t n = s->tree->n_tasks;
	scoped struct plan *plan = xcalloc(n, sizeof(*plan));
	scoped struct asked *asked = xcalloc(n, sizeof(*asked));
	struct task *task;
	int rc = 0;

	for_each_live_task (task, s->tree) {
		remote_plan_init(task, &plan[task_i]);
		thread_ask(task_leader(task), &plan[task_i], true, &asked[task_i]);
		rc = task_named(task, remote_start(task, &plan[task_i], err), err);
		if (rc < 0)
			goto out;
	}
	for_each_live_task (task, s->tree) {
		rc = remote_finish(task, &plan[task_i], err);
		if (!rc)
			rc = plan_judge(&plan[task_i], err);
		rc = task_named(task, rc, err);
		if (rc < 0)
			goto out;
	}
	for_each_live_task (task, s->tree) {
		rc = thread_save(s, task_leader(task), &plan[task_i], true, &asked[task_i], err);
		rc = task_named(task, rc, err);
		if (rc < 0)
			goto out;
	}
out:
	for (size_t i = 0; i < n; i++)
		plan_release(&plan[i]);
	return rc;
}

/* remote_threads asks a whole group before the first answer: cookies are kept by thread. */
struct group {
	struct saver *s;
	struct asked *asked; /* by index in task->thread */
};

static void group_ask(struct thread *t, struct plan *p, void *arg)
{
	struct group *g = arg;

	thread_ask(t, p, false, &g->asked[t->index]);
}

static int group_answer(struct thread *t, struct plan *p, void *arg, struct err *err)
{
	struct group *g = arg;
	int rc = plan_judge(p, err);

	if (!rc)
		rc = thread_save(g->s, t, p, false, &g->asked[t->index], err);
	return whose(t, rc, err);
}

static int others_ask(struct saver *s, struct task *task, struct err *err)
{
	scoped struct asked *asked = xcalloc(task->n_threads, sizeof(*asked));
	struct group g = { .s = s, .asked = asked };
	struct remote_each each = { .ask = group_ask, .answer = group_answer, .arg = &g };

	return task_named(task, remote_threads(task, &each, err), err);
}

int kinds_ask(struct saver *s, struct err *err)
{
	struct task *task;
	int rc;

	assert(count_kinds() <= MAX_KINDS);
	rc = leaders_ask(s, err);

	for_each_live_task (task, s->tree) {
		if (rc < 0)
			break;
		if (task->n_threads > 1)
			rc = others_ask(s, task, err);
	}
	return rc;
}
