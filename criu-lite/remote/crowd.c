/* crowd.c - one step after the other, in all of them. */
#include "criu-lite/remote/crowd.h"
#include "base/mem.h"

void crowd_add(struct crowd *c, struct task *task)
{
	struct crowd_member m = { .task = task };

	ARRAY_PUSH(c->member, c->n, c->cap, m);
}

static void take(struct crowd *c, struct crowd_member *m, crowd_step *step, const void *arg)
{
	struct err why = {};

	m->rc = step(m->task, arg, &why);
	if (m->rc < 0 && c->rc == 0)
		c->rc = err_set(c->err, m->rc, "task %d: %s", m->task->pid, why.text);
}

void crowd_take(struct crowd *c, crowd_step *step, const void *arg)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->member[i].rc == 0)
			take(c, &c->member[i], step, arg);
}

void crowd_release(struct crowd *c)
{
	free(c->member);
	*c = (struct crowd) {};
}
