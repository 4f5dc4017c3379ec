/* Sums of blocks: the same whether one thread takes them or several. */
#include "images/checksum.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

enum { MANY = 40, TAIL = 100 };

static char block[SUM_BLOCK];

static char *nth(int i)
{
	memset(block, i + 1, sizeof(block));
	memcpy(block, &i, sizeof(i));
	return block;
}

/* @n blocks and a tail. */
static int make_file(int n)
{
	int fd = memfd_create("sums", MFD_CLOEXEC);

	for (int i = 0; i < n; i++)
		assert_int_equal(write(fd, nth(i), SUM_BLOCK), SUM_BLOCK);
	assert_int_equal(write(fd, nth(n), TAIL), TAIL);
	return fd;
}

static void sums_of(int n)
{
	scoped_fd fd = make_file(n);
	scoped uint64_t *hash = NULL;
	uint64_t size;
	struct err err;
	size_t count;

	assert_int_equal(sum_blocks(fd, "sums", &size, &hash, &count, &err), 0);
	assert_int_equal(size, (uint64_t)n * SUM_BLOCK + TAIL);
	assert_int_equal(count, n + 1);
	for (int i = 0; i < n; i++)
		assert_int_equal(hash[i], XXH3_64bits(nth(i), SUM_BLOCK));
	assert_int_equal(hash[n], XXH3_64bits(nth(n), TAIL));
}

static void few_and_many_blocks(void **state)
{
	sums_of(0);
	sums_of(1);
	sums_of(MANY);
}

static void nothing_has_no_sums(void **state)
{
	scoped_fd fd = memfd_create("sums", MFD_CLOEXEC);
	scoped uint64_t *hash = NULL;
	uint64_t size = 1;
	size_t count = 1;
	struct err err;

	assert_int_equal(sum_blocks(fd, "sums", &size, &hash, &count, &err), 0);
	assert_int_equal(size, 0);
	assert_int_equal(count, 0);
}

static void an_error_names_the_file(void **state)
{
	scoped_fd fd = make_file(MANY);
	scoped_fd unreadable = -1;
	uint64_t size, *hash;
	struct err err = {};
	char path[64];
	size_t count;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	unreadable = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(unreadable >= 0);
	assert_int_equal(sum_blocks(unreadable, "pages-1.img", &size, &hash, &count, &err), -EBADF);
	assert_non_null(strstr(err.text, "pages-1.img"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_and_many_blocks),
		cmocka_unit_test(nothing_has_no_sums),
		cmocka_unit_test(an_error_names_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
