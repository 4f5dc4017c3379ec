/* Kinds that ask for more than one plan holds: they are asked one plan after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <cmocka.h>

#include "base/mem.h"
#include "criu-lite/dump/ask.h"
#include "criu-lite/remote/remote.h"

/* --- what ask.c calls, in place of the rooms below ------------------------------------------ */

enum { TASKS = 2, ADDRESS = 0x10000 };

static struct {
	size_t plans[TASKS], saved[TASKS][8], order;
	bool running[TASKS];
} seen;

void kinds_forget(struct task *task)
{
}

int dead_look(struct saver *s, struct task *task, struct err *err)
{
	return 0;
}

void remote_plan_init(struct task *task, struct plan *p)
{
	plan_init(p, ADDRESS, PLAN_ROWS, PLAN_DATA);
}

/* Each row's answer is its first argument. */
int remote_start(struct task *task, struct plan *p, struct err *err)
{
	assert_true(p->n <= PLAN_ROWS);
	assert_true(p->len <= PLAN_DATA);
	assert_false(seen.running[task->pid]);
	seen.running[task->pid] = true;
	seen.plans[task->pid]++;
	for (size_t i = 0; i < p->n; i++)
		p->row[i].ret = (int64_t)p->row[i].arg[0];
	return 0;
}

int remote_finish(struct task *task, struct plan *p, struct err *err)
{
	assert_true(seen.running[task->pid]);
	seen.running[task->pid] = false;
	return 0;
}

int remote_threads(struct task *task, const struct remote_each *each, struct err *err)
{
	fail_msg("there are no other threads");
	return 0;
}

/* --- kinds ------------------------------------------------------------------------------------ */

/* Task 1 is asked less, so that its plans hold more kinds. */
static size_t rows_of(const struct thread *t)
{
	return t->task->pid ? 20 : 60;
}

static uint64_t ask_rows(struct thread *t, struct plan *p, size_t kind)
{
	size_t first = p->n;

	for (size_t i = 0; i < rows_of(t); i++)
		plan_add(p, PLAN_MAY, "ask", SYS_getpid, 1000 * kind + i);
	return first;
}

static int save_rows(struct thread *t, const struct plan *p, uint64_t first, size_t kind)
{
	for (size_t i = 0; i < rows_of(t); i++)
		assert_int_equal(plan_ret(p, first + i), 1000 * kind + i);
	seen.saved[t->task->pid][kind]++;
	return 0;
}

#define KIND(n)                                                                                    \
	static uint64_t ask_##n(struct thread *t, struct plan *p)                                  \
	{                                                                                          \
		return ask_rows(t, p, n);                                                          \
	}                                                                                          \
	static int save_##n(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,     \
			    struct err *err)                                                       \
	{                                                                                          \
		return save_rows(t, p, asked, n);                                                  \
	}                                                                                          \
	static const struct task_kind kind_##n = { .name = #n, .ask = ask_##n, .save = save_##n }

KIND(0);
KIND(1);
KIND(2);
KIND(4);
KIND(5);

/* Asks for room instead of rows: four of these fill a plan. */
static uint64_t ask_room(struct thread *t, struct plan *p)
{
	char text[4096];

	memset(text, 'a' + t->task->pid, sizeof(text));
	return plan_put(p, text, sizeof(text));
}

static int save_room(struct saver *s, struct thread *t, struct plan *p, uint64_t at,
		     struct err *err)
{
	const char *text = plan_at(p, at);

	for (size_t i = 0; i < 4096; i++)
		assert_int_equal(text[i], 'a' + t->task->pid);
	seen.saved[t->task->pid][6]++;
	return 0;
}
static const struct task_kind room = { .name = "room", .ask = ask_room, .save = save_room };

/* One that asks nothing is saved in its place. */
static int save_silent(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		       struct err *err)
{
	assert_int_equal(seen.saved[t->task->pid][2], 1);
	assert_int_equal(seen.saved[t->task->pid][4], 0);
	seen.saved[t->task->pid][3]++;
	return 0;
}
static const struct task_kind silent = { .name = "silent", .save = save_silent };

const struct task_kind *const task_kinds[] = {
	&kind_0, &kind_1, &kind_2, &silent, &kind_4, &kind_5, &room, &room,
	&room,	 &room,	  &room,   &room,   &room,   &room,   NULL,
};

/* --------------------------------------------------------------------------------------------- */

static void more_than_one_plan(void **state)
{
	struct tree tree = {};
	struct saver s = { .tree = &tree };
	struct err err = {};

	for (pid_t pid = 0; pid < TASKS; pid++) {
		struct task *task = tree_add_task(&tree, pid);

		task->state = TASK_ALIVE;
		task_add_thread(task, pid);
	}
	if (kinds_ask(&s, &err) < 0)
		fail_msg("%s", err.text);
	for (size_t task = 0; task < TASKS; task++) {
		for (size_t kind = 0; kind < 6; kind++)
			assert_int_equal(seen.saved[task][kind], 1);
		assert_int_equal(seen.saved[task][6], 8);
	}
	/* 0 1, 2 4, 5 and four rooms, four rooms; 0 1 2 4 5 and four rooms, four rooms */
	assert_int_equal(seen.plans[0], 4);
	assert_int_equal(seen.plans[1], 2);
	tree_release(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_than_one_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
