/* plan.c - building plans and judging what came back. */
#include "criu-lite/remote/plan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ADDR 0x10000

static int setup(void **state)
{
	struct plan *p = calloc(1, sizeof(*p));

	plan_init(p, ADDR, 4, 64);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	plan_release(*state);
	free(*state);
	return 0;
}

static void data_has_addresses_of_the_tracee(void **state)
{
	struct plan *p = *state;
	uint64_t first = plan_put_str(p, "abc"), second = plan_put(p, NULL, 8);

	assert_int_equal(first, ADDR);
	assert_int_equal(second, ADDR + 16);
	assert_string_equal(plan_at(p, first), "abc");
	assert_true(plan_fits(p, 4, 32));
	assert_false(plan_fits(p, 4, 33));
	assert_false(plan_fits(p, 5, 0));
}

static void first_failure_is_told(void **state)
{
	struct plan *p = *state;
	struct err err = {};

	plan_add(p, PLAN_MAY, "may", 1, 2, 3);
	plan_add(p, PLAN_MUST, "must", 4);
	plan_add(p, PLAN_MUST, "behind", 5);
	assert_int_equal(p->row[0].arg[1], 3);
	p->row[0].ret = -EPERM;
	p->row[1].ret = -ENOMEM;
	assert_int_equal(plan_judge(p, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "must"));
}

static void large_addresses_are_no_errors(void **state)
{
	struct plan *p = *state;

	plan_add(p, PLAN_MUST, "address", 9);
	p->row[0].ret = (int64_t)0xfffffffff0000000;
	assert_int_equal(plan_judge(p, NULL), 0);
}

static void unreached_rows_fail(void **state)
{
	struct plan *p = *state;

	plan_add(p, PLAN_MUST, "unreached", 9);
	assert_true(plan_judge(p, NULL) < 0);
}

static void wrong_answer_fails(void **state)
{
	struct plan *p = *state;

	plan_add(p, PLAN_IS, "is", 9);
	p->note[0].expect = 7;
	p->row[0].ret = 7;
	assert_int_equal(plan_judge(p, NULL), 0);
	p->row[0].ret = 8;
	assert_true(plan_judge(p, NULL) < 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(data_has_addresses_of_the_tracee),
		T(first_failure_is_told),
		T(large_addresses_are_no_errors),
		T(unreached_rows_fail),
		T(wrong_answer_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
