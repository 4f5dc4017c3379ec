/* direct.c - which descriptors keep a task from being read early: by the flag, and none without it. */
#include "criu-lite/task/direct.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* With no descriptors but those that @open_some opens. */
static int look_with(void (*open_some)(void))
{
	struct proc_dir *dir;
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (close_range(0, ~0u, 0) < 0)
			_exit(2);
		open_some();
		_exit(proc_open(&dir, NULL, getpid(), NULL) < 0 ? 3 : reads_directly(dir));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void none(void)
{
}

static void ordinary(void)
{
	int pair[2];

	if (open("/proc/self/maps", O_RDONLY) < 0 || open("/dev/null", O_RDWR) < 0 ||
	    pipe(pair) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 ||
	    epoll_create1(0) < 0 || open("/proc", O_RDONLY | O_DIRECTORY) < 0)
		_exit(4);
}

/* Which filesystems let a file have the flag is for each to say; a pipe always may. */
static void flagged(void)
{
	int pair[2];

	ordinary();
	if (pipe2(pair, O_DIRECT) < 0)
		_exit(5);
}

static void only_what_may(void **state)
{
	assert_int_equal(look_with(none), W_EXITCODE(0, 0));
	assert_int_equal(look_with(ordinary), W_EXITCODE(0, 0));
	assert_int_equal(look_with(flagged), W_EXITCODE(1, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(only_what_may) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
