/* err.c - one message, which grows outward and says nothing twice. */
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

static void grows_outward(void **state)
{
	struct err err = {};

	assert_int_equal(err_code(&err, -ENOENT, "open %s", "maps"), -ENOENT);
	assert_int_equal(err_add(&err, -ENOENT, "task %d", 7), -ENOENT);
	assert_string_equal(err.text, "task 7: open maps: No such file or directory");
}

static void says_nothing_twice(void **state)
{
	struct err err = {};

	err_set(&err, -EIO, "task 7: fd 3: gone");
	err_add(&err, -EIO, "task 7");
	assert_string_equal(err.text, "task 7: fd 3: gone");
	err_set(&err, -EIO, "task 70: gone");
	err_add(&err, -EIO, "task 7");
	assert_string_equal(err.text, "task 7: task 70: gone");
}

static void is_cut_where_the_room_ends(void **state)
{
	struct err err = {};

	err_set(&err, -EIO, "%5000d", 1);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	err_add(&err, -EIO, "task 7");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_int_equal(strncmp(err.text, "task 7: ", 8), 0);
}

static void nobody_wants_it(void **state)
{
	assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_add(NULL, -EIO, "x"), -EIO);
}

/* All of them at once. */
static void refusals_are_one_line(void **state)
{
	struct refusals r = {};
	struct err err = {};

	assert_int_equal(refusals_result(&r, &err), 0);
	refuse(&r, "task %d: fd 3: socket", 7);
	refuse(&r, "task %d: fd 4: pty", 7);
	assert_int_equal(refusals_result(&r, &err), ERR_REFUSED);
	assert_string_equal(err.text, "task 7: fd 3: socket; task 7: fd 4: pty");
	refusals_release(&r);
}

static void what_passes_is_told_apart(void **state)
{
	struct refusals r = {};

	assert_false(refusals_pass(&r));
	refuse_for_now(&r, "task %d: is about to stop", 7);
	refuse_for_now(&r, "task %d: is about to stop", 7);
	assert_true(refusals_pass(&r));
	refuse(&r, "task %d: fd 3: socket", 7);
	assert_false(refusals_pass(&r));
	refusals_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_outward),
		cmocka_unit_test(says_nothing_twice),
		cmocka_unit_test(is_cut_where_the_room_ends),
		cmocka_unit_test(nobody_wants_it),
		cmocka_unit_test(refusals_are_one_line),
		cmocka_unit_test(what_passes_is_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
