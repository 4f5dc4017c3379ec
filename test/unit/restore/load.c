/* load.c - trees that cannot be built are told apart from those that can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "criu-lite/restore/load.h"
#include "criu-lite/task/kind.h"

#include <errno.h>
#include <string.h>

static struct tree tree;
static struct err err;

static struct task *add(pid_t pid, struct task *parent)
{
	struct task *t = tree_add_task(&tree, pid);
	struct thread *leader = task_add_thread(t, pid);

	leader->core = core_new(true);
	t->parent = parent;
	t->ppid = parent ? parent->pid : 0;
	t->pgid = t->sid = 100;
	return t;
}

static struct thread *add_thread(struct task *t, pid_t tid)
{
	struct thread *th = task_add_thread(t, tid);

	th->core = core_new(false);
	return th;
}

static int begin(void **state)
{
	err.text[0] = 0;
	add(100, NULL);
	return 0;
}

static int end(void **state)
{
	tree_release(&tree);
	return 0;
}

static void assert_refused(int rc, const char *says)
{
	assert_int_equal(tree_check(&tree, &err), rc);
	if (!strstr(err.text, says))
		fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

static void takes_a_tree(void **state)
{
	struct task *child = add(101, tree.task[0]);

	add_thread(child, 102);
	add(103, child)->state = TASK_STOPPED;
	assert_int_equal(tree_check(&tree, &err), 0);
}

static void nothing(void **state)
{
	end(NULL);
	assert_refused(-EBADMSG, "no task");
}

static void no_root(void **state)
{
	tree.task[0]->ppid = 5;
	assert_refused(-EBADMSG, "100, is not the root");
}

static void same_number(void **state)
{
	add_thread(add(101, tree.task[0]), 100);
	assert_refused(-EBADMSG, "two threads have the number 100");
}

static void no_number(void **state)
{
	add_thread(tree.task[0], -4);
	assert_refused(-EBADMSG, "-4 is no number");
}

static void init_of_a_namespace(void **state)
{
	add(1, tree.task[0]);
	assert_refused(ERR_REFUSED, "pid namespace");
}

static void outer_group(void **state)
{
	tree.task[0]->pgid = 0;
	assert_refused(ERR_REFUSED, "another pid namespace");
}

static void dead_root(void **state)
{
	tree.task[0]->state = TASK_DEAD;
	assert_refused(ERR_REFUSED, "the root, is dead");
}

static void dead_parent(void **state)
{
	struct task *dead = add(101, tree.task[0]);

	dead->state = TASK_DEAD;
	add(102, dead);
	assert_refused(-EBADMSG, "102 is the child of a dead one");
}

static void odd_status(void **state)
{
	struct task *dead = add(101, tree.task[0]);

	dead->state = TASK_DEAD;
	dead->exit_code = 0x0b;
	assert_int_equal(tree_check(&tree, &err), 0);
	dead->exit_code = 0x7e;
	assert_refused(-EBADMSG, "is no exit status");
}

static void unknown_state(void **state)
{
	tree.task[0]->state = (enum task_state)9;
	assert_refused(-EBADMSG, "state 9");
}

static void no_registers(void **state)
{
	CoreEntry *c = add_thread(tree.task[0], 105)->core;

	thread_core_entry__free_unpacked(c->thread_core, NULL);
	c->thread_core = NULL;
	assert_refused(-EBADMSG, "thread 105: its registers are missing");
}

static void two_leaders(void **state)
{
	struct thread *t = task_add_thread(tree.task[0], 105);

	t->core = core_new(true);
	assert_refused(-EBADMSG, "thread 105 is no leader");
}

static void compat(void **state)
{
	UserX86RegsEntry *r = tree.task[0]->thread[0]->core->thread_info->gpregs;

	r->has_mode = true;
	r->mode = USER_X86_REGS_MODE__COMPAT;
	assert_refused(ERR_REFUSED, "32-bit");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(takes_a_tree), CASE(nothing),	 CASE(no_root),
		CASE(same_number),  CASE(no_number),	 CASE(init_of_a_namespace),
		CASE(outer_group),  CASE(dead_root),	 CASE(dead_parent),
		CASE(odd_status),   CASE(unknown_state), CASE(no_registers),
		CASE(two_leaders),  CASE(compat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
