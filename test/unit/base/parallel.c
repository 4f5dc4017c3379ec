/* parallel.c - everything is done once, and of several errors the first in order is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#include "base/parallel.h"

enum { MANY = 10000 };

struct job {
	unsigned int done[MANY]; /* how often, by number */
	size_t n_bad;
	size_t bad[2]; /* these fail */
	atomic_bool signals_get_in;
	pthread_t caller;
};

static int work(void *arg, size_t i, struct err *err)
{
	struct job *j = arg;
	sigset_t mask;

	j->done[i]++;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	if (!pthread_equal(pthread_self(), j->caller) && !sigismember(&mask, SIGTERM))
		j->signals_get_in = true;
	for (size_t k = 0; k < j->n_bad; k++)
		if (j->bad[k] == i)
			return err_set(err, -EIO - (int)k, "number %zu", i);
	return 0;
}

static void all_once(void **state)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 65, 1000, MANY };

	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		struct job j = { .caller = pthread_self() };

		assert_int_equal(parallel(sizes[k], work, &j, NULL), 0);
		for (size_t i = 0; i < MANY; i++)
			assert_int_equal(j.done[i], i < sizes[k]);
		assert_int_equal(parallel_large(sizes[k], work, &j, NULL), 0);
		for (size_t i = 0; i < MANY; i++)
			assert_int_equal(j.done[i], i < sizes[k] ? 2 : 0);
		assert_false(j.signals_get_in);
	}
}

static void first_error(void **state)
{
	for (int round = 0; round < 200; round++) {
		struct job j = { .caller = pthread_self(), .n_bad = 2, .bad = { 1234, 1230 } };
		struct err err = {};

		assert_int_equal(parallel(MANY, work, &j, &err), -EIO - 1);
		assert_string_equal(err.text, "number 1230");
		for (size_t i = 0; i <= 1230; i++)
			assert_int_equal(j.done[i], 1);
		assert_true(j.done[MANY - 1] <= 1);
	}
}

static void error_without_text(void **state)
{
	struct job j = { .caller = pthread_self(), .n_bad = 1, .bad = { MANY - 1 } };

	assert_int_equal(parallel(MANY, work, &j, NULL), -EIO);
}

/* So few that no thread is worth it. */
static void few(void **state)
{
	struct job j = { .caller = pthread_self(), .n_bad = 1, .bad = { 3 } };
	struct err err = {};

	assert_int_equal(parallel(5, work, &j, &err), -EIO);
	assert_string_equal(err.text, "number 3");
	assert_int_equal(j.done[3], 1);
	assert_int_equal(j.done[4], 0);
}

static int aside(void *arg, struct err *err)
{
	struct job *j = arg;

	return work(j, 0, err);
}

/* And the end of nothing is nothing. */
static void judge_once(struct aside *a, const struct job *j)
{
	assert_int_equal(aside_end(&a, NULL), 0);
	assert_null(a);
	assert_int_equal(j->done[0], 1);
	assert_false(j->signals_get_in);
	assert_int_equal(aside_end(&a, NULL), 0);
	assert_int_equal(j->done[0], 1);
}

/* Once, whether there was a thread for it or not. */
static void aside_once(void **state)
{
	struct job idle = { .caller = pthread_self() }, urgent = idle;

	judge_once(aside_begin(aside, &idle), &idle);
	judge_once(aside_begin_urgent(aside, &urgent), &urgent);
}

static void aside_fails(void **state)
{
	struct job j = { .caller = pthread_self(), .n_bad = 1, .bad = { 0 } };
	struct aside *a = aside_begin(aside, &j);
	struct err err = {};

	assert_int_equal(aside_end(&a, &err), -EIO);
	assert_string_equal(err.text, "number 0");
	assert_null(a);
}

/* One processor: nothing is begun before it is waited for. */
static void aside_alone(void **state)
{
	struct job j = { .caller = pthread_self() };
	cpu_set_t all, one;
	struct aside *a;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (int cpu = 0; !CPU_COUNT(&one); cpu++)
		if (CPU_ISSET(cpu, &all))
			CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	a = aside_begin(aside, &j);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	assert_int_equal(j.done[0], 0);
	assert_int_equal(aside_end(&a, NULL), 0);
	assert_int_equal(j.done[0], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_once),	      cmocka_unit_test(first_error),
		cmocka_unit_test(error_without_text), cmocka_unit_test(few),
		cmocka_unit_test(aside_once),	      cmocka_unit_test(aside_fails),
		cmocka_unit_test(aside_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
