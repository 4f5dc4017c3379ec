/* ask.c - the kinds' questions: from outside, then inside the leaders, then in every thread. */
#include "criu-lite/dump/ask.h"
#include "base/mem.h"
#include "criu-lite/remote/remote.h"
#include "criu-lite/remote/tracee.h"

#include <assert.h>

/* MOST_*: what one kind asks at the most, see kind.h. */
enum { MAX_KINDS = 64, MOST_ROWS = 64, MOST_BYTES = 4096 };

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
	int rc;

	for_each_live_task (task, s->tree) {
		for_each_thread (t, task) {
			rc = thread_look(s, t, t == task_leader(task), err);
			if (rc < 0)
				return task_named(task, whose(t, rc, err), err);
		}
		kinds_forget(task);
	}
	for_each_task (task, s->tree) {
		rc = task->state == TASK_DEAD ? dead_look(s, task, err) : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* What a thread was asked by its last plan: kinds from @first up to @end, and all their cookies. */
struct asked {
	size_t first, end;
	uint64_t cookie[MAX_KINDS];
};

static bool is_asked(const struct task_kind *k, bool leader)
{
	return k->ask && (leader || k->every_thread);
}

/*
 * The next kinds, as many as one plan takes. How much a kind asks is known when it has asked, so
 * there is room for one more, which is taken back.
 */
static void thread_ask(struct thread *t, struct plan *p, bool leader, struct asked *asked)
{
	size_t rows = p->max_rows, bytes = p->max_data, i;

	asked->first = asked->end;
	p->max_rows += MOST_ROWS;
	p->max_data += MOST_BYTES;
	for (i = asked->first; task_kinds[i]; i++) {
		size_t n = p->n, len = p->len;

		if (!is_asked(task_kinds[i], leader))
			continue;
		asked->cookie[i] = task_kinds[i]->ask(t, p);
		if (p->n <= rows && p->len <= bytes)
			continue;
		p->n = n;
		p->len = len;
		break;
	}
	p->max_rows = rows;
	p->max_data = bytes;
	asked->end = i;
}

static int thread_save(struct saver *s, struct thread *t, struct plan *p, bool leader,
		       const struct asked *asked, struct err *err)
{
	for (size_t i = asked->first; i < asked->end; i++) {
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

/* Of one task: its leader's plan, one after the other. */
struct leading {
	struct task *task;
	struct plan plan;
	struct asked asked;
};

/* All leaders work on their plans at once; then each one's answers are read. */
static int leaders_round(struct saver *s, struct leading *l, size_t n, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		remote_plan_init(l[i].task, &l[i].plan);
		thread_ask(task_leader(l[i].task), &l[i].plan, true, &l[i].asked);
		rc = remote_start(l[i].task, &l[i].plan, err);
		if (rc < 0)
			return task_named(l[i].task, rc, err);
	}
	for (size_t i = 0; i < n; i++) {
		rc = remote_finish(l[i].task, &l[i].plan, err);
		if (!rc)
			rc = plan_judge(&l[i].plan, err);
		if (rc < 0)
			return task_named(l[i].task, rc, err);
	}
	for (size_t i = 0; !rc && i < n; i++) {
		rc = thread_save(s, task_leader(l[i].task), &l[i].plan, true, &l[i].asked, err);
		rc = task_named(l[i].task, rc, err);
	}
	return rc;
}

/* How many are left: those with kinds that the last plan had no room for. */
static size_t unfinished(struct leading *l, size_t n)
{
	size_t left = 0;

	for (size_t i = 0; i < n; i++) {
		plan_release(&l[i].plan);
		if (task_kinds[l[i].asked.end])
			l[left++] = l[i];
	}
	return left;
}

static int leaders_ask(struct saver *s, struct err *err)
{
	scoped struct leading *l = xcalloc(s->tree->n_tasks, sizeof(*l));
	struct task *task;
	size_t n = 0;
	int rc = 0;

	for_each_live_task (task, s->tree)
		l[n++].task = task;
	while (!rc && n) {
		rc = leaders_round(s, l, n, err);
		n = unfinished(l, n);
	}
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

	/* What every thread is asked has room in one plan. */
	assert(!task_kinds[g->asked[t->index].end]);
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

int kinds_recheck(struct saver *s, uint64_t asked_ns, struct err *err)
{
	struct task *task;
	struct thread *t;
	int rc = 0;

	for (size_t i = 0; task_kinds[i]; i++) {
		const struct task_kind *k = task_kinds[i];

		if (!k->recheck)
			continue;
		for_each_live_task (task, s->tree) {
			for_each_thread (t, task) {
				if (!k->every_thread && t != task_leader(task))
					continue;
				rc = k->recheck(t, asked_ns, err);
				if (rc < 0)
					return task_named(task, whose(t, rc, err), err);
			}
		}
	}
	return rc;
}
