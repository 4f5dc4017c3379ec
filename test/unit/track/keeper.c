/* keeper.c - the keeper hands out what it was given, and ends with its tasks. */
#include "criu-lite/track/keeper.h"

#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
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

enum { NOBODY = 65534, CROWD = 40 };

/* What a stranger gets who has found a way to the socket: 0 for nothing at all. */
static int stranger_gets(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 10 };
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);
	char junk[4096] = "aaaa", byte;
	ssize_t n;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(sock, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return 2;
	(void)!send(sock, junk, sizeof(junk), MSG_NOSIGNAL);
	/* Closed with our bytes unread, it may also come back as a reset. */
	n = recv(sock, &byte, 1, 0);
	return n > 0 || (n < 0 && errno == EAGAIN);
}

static int as_nobody(int (*what)(const char *path), const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
			_exit(3);
		_exit(what(path));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void answers_only_root_and_its_own_user(void **state)
{
	pid_t pid = sleeper();
	struct kept give = { pid, 1, STDERR_FILENO, pidfd(pid) }, *got = NULL;
	struct stat dir, sock;
	char path[128];
	size_t n = 0;

	if (geteuid() != 0)
		skip();
	snprintf(path, sizeof(path), KEEPER_DIR "/%s", name);
	umask(0);
	assert_int_equal(keeper_start(name, &give, 1, NULL), 0);
	umask(022);
	assert_int_equal(stat(KEEPER_DIR, &dir), 0);
	assert_int_equal(stat(path, &sock), 0);
	assert_int_equal(dir.st_mode & 077, 0);
	assert_int_equal(sock.st_mode & 077, 0);
	assert_int_equal(as_nobody(stranger_gets, path), 2);
	/* Even where somebody has opened the doors. */
	assert_int_equal(chmod(KEEPER_DIR, 0755), 0);
	assert_int_equal(chmod(path, 0666), 0);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(as_nobody(stranger_gets, path), 0);
	assert_int_equal(chmod(KEEPER_DIR, dir.st_mode & 07777), 0);
	assert_int_equal(keeper_take(name, &got, &n, NULL), 0);
	assert_int_equal(n, 1);
	close(got[0].fd);
	free(got);
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
		cmocka_unit_test(answers_only_root_and_its_own_user),
		cmocka_unit_test(names_stay_in_the_directory),
	};

	snprintf(name, sizeof(name), "unit-%d", getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
