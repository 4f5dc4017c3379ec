/* fds.c - room for descriptors: the limit, and the kernel's table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/resource.h>

#include "base/fds.h"

/* FDSize of proc_pid_status(5). */
static long table_size(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long size = -1;

	assert_non_null(f);
	while (size < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "FDSize: %ld", &size);
	fclose(f);
	return size;
}

static int next_descriptor(void)
{
	FILE *f = fopen("/dev/null", "r");
	int fd = fileno(f);

	fclose(f);
	return fd;
}

static void room_is_made(void **state)
{
	int next = next_descriptor();
	struct rlimit limit;

	assert_true(table_size() < 4096);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(limit.rlim_max >= 4096);
	limit.rlim_cur = 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	fds_make_room();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(limit.rlim_cur == limit.rlim_max);
	assert_true(table_size() >= 4096);
	/* Nothing stays open. */
	assert_int_equal(next_descriptor(), next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
