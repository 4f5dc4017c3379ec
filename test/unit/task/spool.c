/* What is put arrives, in one buffer or many; an error is told by what comes after it. */
#include "criu-lite/task/spool.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LEN = 65536, BUFFERS = 50 };

static void put(struct spool *s, int fd, int i, size_t len)
{
	struct err err;

	memset(spool_buffer(s), i + 1, len);
	assert_int_equal(spool_put(s, len, fd, (uint64_t)i * LEN, &err), 0);
}

/* @n buffers, of which the last is half full. */
static void round_trip(int n)
{
	scoped_fd fd = memfd_create("spool", MFD_CLOEXEC);
	struct spool *s = spool_new(LEN);
	static char got[LEN];
	struct stat st;
	struct err err;

	for (int i = 0; i < n; i++)
		put(s, fd, i, i == n - 1 ? LEN / 2 : LEN);
	assert_int_equal(spool_drain(s, &err), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, (off_t)(n - 1) * LEN + LEN / 2);
	for (int i = 0; i < n; i++) {
		ssize_t len = pread(fd, got, LEN, (off_t)i * LEN);

		assert_int_equal(len, i == n - 1 ? LEN / 2 : LEN);
		for (ssize_t k = 0; k < len; k++)
			assert_int_equal((unsigned char)got[k], i + 1);
	}
	spool_free(s);
}

static void what_is_put_arrives(void **state)
{
	round_trip(1);
	round_trip(2);
	round_trip(BUFFERS);
}

static void one_spool_serves_many_files(void **state)
{
	struct spool *s = spool_new(LEN);
	struct err err;

	for (int i = 0; i < BUFFERS; i++) {
		int fd = memfd_create("spool", MFD_CLOEXEC);
		char last = 0;

		put(s, fd, 0, LEN);
		put(s, fd, 1, LEN);
		assert_int_equal(spool_drain(s, &err), 0);
		assert_int_equal(pread(fd, &last, 1, 2 * LEN - 1), 1);
		assert_int_equal(last, 2);
		close(fd);
	}
	spool_free(s);
}

/* After @good buffers the file cannot be written. */
static void fails_after(int good)
{
	scoped_fd fd = memfd_create("spool", MFD_CLOEXEC);
	scoped_fd bad = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct spool *s = spool_new(LEN);
	struct err err = {};
	int rc;

	for (int i = 0; i < good; i++)
		put(s, fd, i, LEN);
	memset(spool_buffer(s), 1, LEN);
	rc = spool_put(s, LEN, bad, 0, &err);
	if (!rc)
		rc = spool_drain(s, &err);
	assert_int_equal(rc, -EBADF);
	assert_non_null(strstr(err.text, "writing pages"));
	memset(&err, 0, sizeof(err));
	assert_int_equal(spool_put(s, LEN, fd, (uint64_t)good * LEN, &err), -EBADF);
	assert_int_equal(spool_drain(s, NULL), -EBADF);
	assert_int_equal(lseek(fd, 0, SEEK_END), (off_t)good * LEN);
	spool_free(s);
}

static void an_error_is_told(void **state)
{
	fails_after(0);
	fails_after(1);
	fails_after(5);
}

static void nothing_is_freed_twice(void **state)
{
	spool_free(NULL);
	spool_free(spool_new(LEN));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_arrives),
		cmocka_unit_test(one_spool_serves_many_files),
		cmocka_unit_test(an_error_is_told),
		cmocka_unit_test(nothing_is_freed_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
