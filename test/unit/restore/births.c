/* births.c - who clones whom, in which session, before or after setsid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "criu-lite/restore/births.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define OWN_SID	 50
#define OWN_PGID 60

struct row {
	pid_t pid, parent, pgid, sid;
	int exit_signal; /* 0: SIGCHLD */
};

static struct tree tree;
static struct births births;
static struct err err;

static bool one_group(pid_t pgid, pid_t sid)
{
	return pgid == 61 && sid == OWN_SID;
}

static int plan(const struct row *row, size_t n, bool shell_job)
{
	struct births_where here = {
		.sid = OWN_SID, .pgid = OWN_PGID, .shell_job = shell_job, .has_group = one_group
	};

	births_release(&births);
	tree_release(&tree);
	err.text[0] = 0;
	for (size_t i = 0; i < n; i++) {
		struct task *t = tree_add_task(&tree, row[i].pid);

		task_add_thread(t, t->pid);
		t->pgid = row[i].pgid;
		t->sid = row[i].sid;
		t->parent = tree_find(&tree, row[i].parent);
		t->exit_signal = row[i].exit_signal ? row[i].exit_signal : SIGCHLD;
	}
	return births_plan(&births, &tree, &here, &err);
}
#define PLAN(job, ...)                                                                             \
	plan((const struct row[]) { __VA_ARGS__ },                                                 \
	     sizeof((const struct row[]) { __VA_ARGS__ }) / sizeof(struct row), job)

/*
 * Play the plan as the kernel would: every clone inherits session and group; and
 * compare what comes of it with what was asked for.
 */
struct played {
	pid_t pid, ppid, sid, pgid;
};

static struct played *of(struct played *p, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].pid == pid)
			return &p[i];
	return NULL;
}

static void play_clones(struct played *all, size_t *n, const struct birth *by, bool early)
{
	const struct played me =
		by ? *of(all, *n, by->pid) : (struct played) { 0, -1, OWN_SID, OWN_PGID };

	for (size_t i = 0; i < births.n; i++) {
		const struct birth *b = births.birth[i];

		if (b->by != by || b->early != early)
			continue;
		assert_null(of(all, *n, b->pid));
		all[(*n)++] = (struct played) {
			.pid = b->pid,
			.ppid = b->as_sibling ? me.ppid : me.pid,
			.sid = me.sid,
			.pgid = me.pgid,
		};
	}
}

static void play_groups(struct played *all, size_t n, bool own)
{
	for (size_t i = 0; i < births.n; i++) {
		const struct birth *b = births.birth[i];
		struct played *me = of(all, n, b->pid), *leader;

		if (b->setsid || (b->pgid == b->pid) != own)
			continue;
		leader = of(all, n, b->pgid);
		if (!own && leader)
			assert_int_equal(leader->sid, me->sid);
		else if (!own)
			assert_true(me->sid == OWN_SID && (b->pgid == OWN_PGID || b->pgid == 61));
		me->pgid = b->pgid;
	}
}

static void play(struct played *all, size_t *n)
{
	*n = 0;
	play_clones(all, n, NULL, false);
	for (size_t i = 0; i < births.n; i++) {
		const struct birth *b = births.birth[i];
		struct played *me = of(all, *n, b->pid);

		assert_non_null(me);
		play_clones(all, n, b, true);
		if (b->setsid) {
			assert_int_not_equal(me->pgid, me->pid); /* EPERM */
			me->sid = me->pgid = me->pid;
		}
		play_clones(all, n, b, false);
	}
	play_groups(all, *n, true);
	play_groups(all, *n, false);
}

static void assert_right(bool shell_job)
{
	struct played all[64];
	struct task *t;
	size_t n;

	assert_string_equal(err.text, "");
	assert_true(births.n <= 64);
	play(all, &n);
	assert_int_equal(n, births.n);
	for_each_task (t, &tree) {
		const struct played *p = of(all, n, t->pid);

		assert_non_null(p);
		assert_int_equal(p->ppid, t->parent ? t->parent->pid : 0);
		if (!shell_job || tree_find(&tree, t->sid)) {
			assert_int_equal(p->sid, t->sid);
			assert_int_equal(p->pgid, t->pgid);
		}
	}
}

static size_t helpers(void)
{
	size_t n = 0;

	for (size_t i = 0; i < births.n; i++)
		n += !births.birth[i]->task;
	return n;
}

static void leads_its_session(void **state)
{
	assert_int_equal(
		PLAN(false, { 100, 0, 100, 100 }, { 101, 100, 100, 100 }, { 102, 101, 102, 100 }),
		0);
	assert_right(false);
	assert_int_equal(helpers(), 0);
}

/* A child from before the parent's setsid. */
static void born_early(void **state)
{
	assert_int_equal(PLAN(false, { 100, 0, 100, 100 }, { 101, 100, 101, 101 },
			      { 102, 101, 100, 100 }, { 103, 101, 101, 101 }),
			 0);
	assert_right(false);
	assert_int_equal(helpers(), 0);
	assert_true(births_of(&births, 102)->early);
	assert_false(births_of(&births, 103)->early);
}

/* The daemon's way: its session's leader has ended. */
static void leader_gone(void **state)
{
	assert_int_equal(PLAN(false, { 100, 0, 100, 100 }, { 102, 100, 101, 101 },
			      { 103, 102, 101, 101 }, { 104, 100, 104, 101 }),
			 0);
	assert_right(false);
	assert_int_equal(helpers(), 1);
	assert_true(births_of(&births, 101)->setsid);
}

/* Adopted by a subreaper, in the session of a sibling that lives. */
static void siblings_session(void **state)
{
	assert_int_equal(
		PLAN(false, { 100, 0, 100, 100 }, { 103, 100, 102, 102 }, { 102, 100, 102, 102 }),
		0);
	assert_right(false);
	assert_int_equal(helpers(), 0);
	assert_ptr_equal(births_of(&births, 103)->by, births_of(&births, 102));
}

/* With CLONE_PARENT the kernel takes the signal from the one who clones. */
static void sibling_of_another_signal(void **state)
{
	assert_int_equal(PLAN(false, { 100, 0, 100, 100 }, { 103, 100, 102, 102, SIGUSR1 },
			      { 102, 100, 102, 102 }),
			 ERR_REFUSED);
	assert_non_null(strstr(err.text, "task 103: it ends with signal 10"));
	assert_int_equal(PLAN(false, { 100, 0, 100, 100 }, { 101, 100, 100, 100, SIGUSR1 }), 0);
	assert_int_equal(birth_exit_signal(births_of(&births, 101)), SIGUSR1);
}

static void group_leader_gone(void **state)
{
	assert_int_equal(PLAN(false, { 100, 0, 100, 100 }, { 102, 100, 101, 100 },
			      { 103, 100, 101, 100 }, { 104, 103, 104, 100 }),
			 0);
	assert_right(false);
	assert_int_equal(helpers(), 1);
}

/* Neither session nor group of the root are in the tree. */
static void outer_session_gone(void **state)
{
	assert_int_equal(
		PLAN(false, { 100, 0, 99, 98 }, { 101, 100, 99, 98 }, { 102, 100, 102, 98 }), 0);
	assert_right(false);
	assert_int_equal(helpers(), 2);
}

static void own_session(void **state)
{
	assert_int_equal(PLAN(false, { 100, 0, 61, OWN_SID }, { 101, 100, OWN_PGID, OWN_SID },
			      { 102, 100, 62, OWN_SID }),
			 0);
	assert_right(false);
	assert_int_equal(helpers(), 1);
}

static void shell_job(void **state)
{
	assert_int_equal(PLAN(true, { 100, 0, 99, 98 }, { 101, 100, 99, 98 }, { 102, 100, 102, 98 },
			      { 103, 100, 103, 103 }),
			 0);
	assert_right(true);
	assert_int_equal(helpers(), 0);
	assert_int_equal(births_of(&births, 100)->sid, OWN_SID);
	assert_int_equal(births_of(&births, 101)->pgid, OWN_PGID);
	assert_int_equal(births_of(&births, 102)->pgid, 102);
}

static void refuses(void **state)
{
	/* the leader is alive in another branch */
	assert_int_equal(PLAN(false, { 100, 0, 100, 100 }, { 101, 100, 101, 101 },
			      { 102, 101, 102, 102 }, { 103, 100, 103, 102 }),
			 ERR_REFUSED);
	assert_non_null(strstr(err.text, "103"));
	/* a group across sessions */
	assert_int_equal(
		PLAN(false, { 100, 0, 100, 100 }, { 101, 100, 101, 101 }, { 102, 101, 100, 101 }),
		ERR_REFUSED);
	/* a session leader in a foreign group */
	assert_int_equal(PLAN(false, { 100, 0, 100, 100 }, { 101, 100, 100, 101 }), ERR_REFUSED);
}

/* Any tree that a few rules could have made is rebuilt, or refused; never wrong. */
static void random_trees(void **state)
{
	size_t done = 0;

	srand(7);
	for (int round = 0; round < 3000; round++) {
		struct row row[12] = { { 100, 0, 100, 100 } };
		size_t n = 1;

		while (n < 12) {
			const struct row *p = &row[rand() % n], *s = &row[rand() % n];
			pid_t pid = 100 + (pid_t)n;

			row[n] = (struct row) { pid, p->pid, p->pgid, p->sid };
			if (rand() % 4 == 0)
				row[n].pgid = row[n].sid = pid;
			else if (rand() % 4 == 0)
				row[n].pgid = pid;
			else if (rand() % 4 == 0)
				row[n] = (struct row) { pid, p->pid, s->pgid, s->sid };
			else if (rand() % 8 == 0)
				row[n].pgid = row[n].sid = 200 + rand() % 2;
			n++;
		}
		if (plan(row, n, false) == ERR_REFUSED)
			continue;
		assert_right(false);
		done++;
	}
	assert_true(done > 500);
}

static int clean(void **state)
{
	births_release(&births);
	tree_release(&tree);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leads_its_session),
		cmocka_unit_test(born_early),
		cmocka_unit_test(sibling_of_another_signal),
		cmocka_unit_test(leader_gone),
		cmocka_unit_test(siblings_session),
		cmocka_unit_test(group_leader_gone),
		cmocka_unit_test(outer_session_gone),
		cmocka_unit_test(own_session),
		cmocka_unit_test(shell_job),
		cmocka_unit_test(refuses),
		cmocka_unit_test(random_trees),
	};

	return cmocka_run_group_tests(tests, NULL, clean);
}
