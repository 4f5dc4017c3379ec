/* Sums of blocks: the same however the bytes pass by, and whether or not the file is read again. */
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

enum { BLOCKS = 3, TAIL = 100 };

static char bytes[BLOCKS * SUM_BLOCK + TAIL];

static void fill(void)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i * 31 >> 7;
}

static void check(const SdBlockSums *m, size_t len)
{
	size_t n = len / SUM_BLOCK, tail = len % SUM_BLOCK;

	assert_string_equal(m->name, "pages-1.img");
	assert_int_equal(m->size, len);
	assert_int_equal(m->block_size, SUM_BLOCK);
	assert_int_equal(m->n_hash, n + !!tail);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(m->hash[i], XXH3_64bits(bytes + i * SUM_BLOCK, SUM_BLOCK));
	if (tail)
		assert_int_equal(m->hash[n], XXH3_64bits(bytes + n * SUM_BLOCK, tail));
}

/* @len bytes, @step at a time. */
static void in_steps(size_t len, size_t step)
{
	struct block_sums *s = block_sums_new();
	SdBlockSums *m;

	for (size_t at = 0; at < len; at += step)
		block_sums_add(s, bytes + at, len - at < step ? len - at : step);
	m = block_sums_message(s, "pages-1.img");
	check(m, len);
	sd_block_sums__free_unpacked(m, NULL);
	block_sums_free(s);
}

static void steps_do_not_matter(void **state)
{
	static const size_t steps[] = { 4096, 12345, SUM_BLOCK, 2 * SUM_BLOCK + 1, sizeof(bytes) };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		in_steps(0, steps[i]);
		in_steps(TAIL, steps[i]);
		in_steps(SUM_BLOCK, steps[i]);
		in_steps(2 * SUM_BLOCK + 4096, steps[i]);
		in_steps(sizeof(bytes), steps[i]);
	}
}

static void of_a_file(size_t len)
{
	scoped_fd fd = memfd_create("sums", MFD_CLOEXEC);
	struct err err = {};
	SdBlockSums *m;

	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(sum_blocks(&m, fd, "pages-1.img", &err), 0);
	check(m, len);
	sd_block_sums__free_unpacked(m, NULL);
}

static void files_have_the_same(void **state)
{
	of_a_file(0);
	of_a_file(SUM_BLOCK);
	of_a_file(sizeof(bytes));
}

static void an_error_names_the_file(void **state)
{
	scoped_fd fd = memfd_create("sums", MFD_CLOEXEC);
	scoped_fd unreadable = -1;
	struct err err = {};
	char path[64];
	SdBlockSums *m;

	assert_int_equal(write(fd, bytes, TAIL), TAIL);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	unreadable = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(unreadable >= 0);
	assert_int_equal(sum_blocks(&m, unreadable, "pages-1.img", &err), -EBADF);
	assert_non_null(strstr(err.text, "pages-1.img"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_do_not_matter),
		cmocka_unit_test(files_have_the_same),
		cmocka_unit_test(an_error_names_the_file),
	};

	fill();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
