/* hashes.c - equal pages are found equal after a trip through files. */
#include "criu-lite/track/hashes.h"
#include "criu-lite/track/track.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char page_a[4096], page_b[4096];

static void found_again_after_files(void **state)
{
	char dir[] = "/tmp/hashes-XXXXXX";
	struct hashes *h = hashes_new(), *next = NULL;
	int chain, one;

	assert_non_null(mkdtemp(dir));
	chain = open(dir, O_DIRECTORY | O_RDONLY);
	assert_int_equal(mkdirat(chain, "1", 0700), 0);
	one = openat(chain, "1", O_DIRECTORY | O_RDONLY);

	assert_false(hashes_same(h, 7, 0x1000, page_a));
	assert_false(hashes_same(h, 7, 0x2000, page_b));
	assert_false(hashes_same(h, 7, 0x9000, page_a));
	assert_false(hashes_same(h, TRACK_SHMEM | 7, 0x1000, page_b));
	assert_int_equal(hashes_write(h, one, NULL), 0);
	hashes_free(h);

	assert_int_equal(hashes_load(&next, chain, 1, NULL), 0);
	assert_true(hashes_same(next, 7, 0x1000, page_a));
	assert_false(hashes_same(next, 7, 0x2000, page_a)); /* changed */
	assert_false(hashes_same(next, 7, 0x3000, page_a)); /* was not there */
	assert_true(hashes_same(next, 7, 0x9000, page_a));
	assert_true(hashes_same(next, 7, 0x2000, page_b)); /* out of order */
	assert_true(hashes_same(next, TRACK_SHMEM | 7, 0x1000, page_b));
	assert_false(hashes_same(next, 8, 0x1000, page_a));
	hashes_free(next);

	unlinkat(one, "criu-lite-hashes-7.img", 0);
	unlinkat(one, "criu-lite-hashes-shmem-7.img", 0);
	assert_int_not_equal(hashes_load(&next, chain, 1, NULL), 0);
	close(one);
	unlinkat(chain, "1", AT_REMOVEDIR);
	close(chain);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(found_again_after_files) };

	memset(page_a, 1, sizeof(page_a));
	memset(page_b, 2, sizeof(page_b));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
