/* keeper.c - the keeper hands out what it was given, and ends with its tasks. */
#include "criu-lite/track/keeper.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static char name[64];

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			pause();
	}
	return pid;
}

static int pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* The keeper ends by itself: asked again and again, for ten seconds at most. */
static bool gone_soon(void)
{
	struct timespec tick = { .tv_nsec = 10000000 };
	struct kept *kept = NULL;
	size_t n = 0;

	for (int i = 0; i < 1000; i++) {
		if (keeper_take(name, &kept, &n, NULL) < 0)
			return true;
		while (n)
			close(kept[--n].fd);
		free(kept);
		nanosleep(&tick, NULL);
	}
	return false;
}

static void hands_out_copies(void **state)
{
	pid_t one = sleeper(), two = sleeper();
	int a[2], b[2];
	struct kept *got = NULL;
	size_t n = 0;
	char c;

	assert_int_equal(pipe(a), 0);
	assert_int_equal(pipe(b), 0);
	struct kept give[] = { { one, 11, a[1], pidfd(one) }, { two, 22, b[1], pidfd(two) } };

	assert_int_equal(keeper_start(name, give, 2, NULL), 0);
	close(a[1]);
	close(b[1]);
	assert_int_equal(keeper_take(name, &got, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(got[1].pid, two);
	assert_int_equal(got[1].start_time, 22);
	assert_int_equal(write(got[1].fd, "x", 1), 1);
	assert_int_equal(read(b[0], &c, 1), 1);
	close(got[0].fd);
	close(got[1].fd);
	free(got);

	end(two);
	/* Nobody but the keeper held the write end for two: it is closed when two ends. */
	assert_int_equal(read(b[0], &c, 1), 0);
	assert_int_equal(keeper_take(name, &got, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(got[0].pid, one);
	close(got[0].fd);
	free(got);

	end(one);
	assert_int_equal(read(a[0], &c, 1), 0);
	assert_true(gone_soon());
	close(a[0]);
	close(b[0]);
}

static void ends_when_told(void **state)
{
	pid_t pid = sleeper();
	struct kept give = { pid, 1, STDERR_FILENO, pidfd(pid) };

	assert_int_equal(keeper_start(name, &give, 1, NULL), 0);
	keeper_end(name);
	assert_true(gone_soon());
	keeper_end(name);
	end(pid);
}

static void names_stay_in_the_directory(void **state)
{
	struct kept *got;
	size_t n;

	assert_false(keeper_name_ok("../run"));
	assert_false(keeper_name_ok("a/b"));
	assert_false(keeper_name_ok(""));
	assert_true(keeper_name_ok("12-ab"));
	assert_int_equal(keeper_take("../x", &got, &n, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hands_out_copies),
		cmocka_unit_test(ends_when_told),
		cmocka_unit_test(names_stay_in_the_directory),
	};

	snprintf(name, sizeof(name), "unit-%d", getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
