/* parents.c - what was read of a parent early is what is used, and nothing of another parent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "criu-lite/task/parents.h"

enum { PAGE = 4096, PID = 1234, OTHER = 1235 };

static void ok(struct err *err, int rc)
{
	if (rc < 0)
		fail_msg("%d: %s", rc, err->text);
}

/* Of PID @pages pages from 0x10000 on. */
static void checkpoint(struct chain *c, uint32_t parent, uint64_t pages)
{
	SdCheckpoint info = SD_CHECKPOINT__INIT;
	struct pages_writer *w = NULL;
	struct err err = {};
	uint64_t bytes;
	char *p = calloc(pages, PAGE);

	ok(&err, chain_begin(c, parent, &err));
	ok(&err, pages_create(&w, &err, chain_fd(c), 1, "pagemap-%d.img", PID));
	ok(&err, pages_write(w, 0x10000, p, pages, PAGE_PRESENT, &err));
	ok(&err, pages_close(&w, NULL, &err));
	ok(&err, chain_seal(c, &bytes, &err));
	info.boot_id = info.kernel_release = info.tracker = (char *)"told";
	ok(&err, chain_commit(c, &info, &err));
	free(p);
}

static void early_and_late(void **state)
{
	char dir[] = "/tmp/parents-XXXXXX", path[64];
	struct chain *c = NULL;
	struct parents *p = NULL;
	const struct pagemap *map = NULL;
	struct chain_at first, second, none;
	struct err err = {};

	assert_non_null(mkdtemp(dir));
	ok(&err, chain_open(&c, dir, CHAIN_WRITE, &err));
	checkpoint(c, 0, 3);
	checkpoint(c, 1, 5);
	first = chain_parent_at(c, 1);
	second = chain_parent_at(c, 2);
	none = chain_parent_at(c, 0);
	assert_int_equal(none.dirfd, -1);

	assert_false(parents_are_of(NULL, &first));
	ok(&err, parents_open(&p, &first, &err));
	assert_true(parents_are_of(p, &first));
	assert_false(parents_are_of(p, &second));
	assert_false(parents_are_of(p, &none));
	assert_int_equal(parents_links(p)->n, 1);

	parents_expect(p, PID);
	snprintf(path, sizeof(path), "%s/1/pagemap-%d.img", dir, PID);
	assert_int_equal(unlink(path), 0);
	ok(&err, parents_of(p, PID, &map, &err));
	assert_non_null(map);
	assert_int_equal(map->n, 1);
	assert_int_equal(map->run[0].nr_pages, 3);
	ok(&err, parents_of(p, OTHER, &map, &err));
	assert_null(map);
	parents_free(p);

	/* What nobody expected is read when it is asked for; what is damaged is no parent without pages. */
	p = NULL;
	ok(&err, parents_open(&p, &second, &err));
	ok(&err, parents_of(p, PID, &map, &err));
	assert_int_equal(map->run[0].nr_pages, 5);
	parents_free(p);
	p = NULL;
	snprintf(path, sizeof(path), "%s/2/pagemap-%d.img", dir, PID);
	assert_int_equal(truncate(path, 9), 0);
	ok(&err, parents_open(&p, &second, &err));
	parents_expect(p, PID);
	assert_true(parents_of(p, PID, &map, &err) < 0);
	parents_free(p);

	chain_release(&c);
	snprintf(path, sizeof(path), "rm -r %s", dir);
	assert_int_equal(system(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(early_and_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
