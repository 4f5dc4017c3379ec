/* parents.c - what was read of a parent early is what is used, and nothing of another parent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* A chain of two: three pages of PID, then five. */
struct two {
	char dir[32];
	struct chain *c;
	struct chain_at first, second;
};

static int setup(void **state)
{
	struct two *t = calloc(1, sizeof(*t));
	struct err err = {};

	strcpy(t->dir, "/tmp/parents-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	ok(&err, chain_open(&t->c, t->dir, CHAIN_WRITE, &err));
	checkpoint(t->c, 0, 3);
	checkpoint(t->c, 1, 5);
	t->first = chain_parent_at(t->c, 1);
	t->second = chain_parent_at(t->c, 2);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct two *t = *state;
	char command[64];

	chain_release(&t->c);
	snprintf(command, sizeof(command), "rm -r %s", t->dir);
	assert_int_equal(system(command), 0);
	free(t);
	return 0;
}

static const char *pagemap_of(const struct two *t, unsigned int seq)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%u/pagemap-%d.img", t->dir, seq, PID);
	return path;
}

static void of_one_checkpoint(void **state)
{
	struct two *t = *state;
	struct chain_at none = chain_parent_at(t->c, 0);
	struct parents *p = NULL;
	struct err err = {};

	assert_int_equal(none.dirfd, -1);
	assert_false(parents_are_of(NULL, &t->first));
	ok(&err, parents_open(&p, &t->first, &err));
	assert_true(parents_are_of(p, &t->first));
	assert_false(parents_are_of(p, &t->second));
	assert_false(parents_are_of(p, &none));
	assert_int_equal(parents_links(p)->n, 1);
	parents_free(p);
}

/* What was read early is not read again; what nobody expected is read when it is asked for. */
static void early_and_late(void **state)
{
	struct two *t = *state;
	const struct pagemap *map = NULL;
	struct parents *p = NULL;
	struct err err = {};

	ok(&err, parents_open(&p, &t->first, &err));
	parents_expect(p, PID);
	assert_int_equal(unlink(pagemap_of(t, 1)), 0);
	ok(&err, parents_of(p, PID, &map, &err));
	assert_non_null(map);
	assert_int_equal(map->n, 1);
	assert_int_equal(map->run[0].nr_pages, 3);
	ok(&err, parents_of(p, OTHER, &map, &err));
	assert_null(map);
	parents_free(p);

	p = NULL;
	ok(&err, parents_open(&p, &t->second, &err));
	ok(&err, parents_of(p, PID, &map, &err));
	assert_int_equal(map->run[0].nr_pages, 5);
	parents_free(p);
}

/* What is damaged is no parent without pages. */
static void damaged(void **state)
{
	struct two *t = *state;
	const struct pagemap *map = NULL;
	struct parents *p = NULL;
	struct err err = {};

	assert_int_equal(truncate(pagemap_of(t, 2), 9), 0);
	ok(&err, parents_open(&p, &t->second, &err));
	parents_expect(p, PID);
	assert_true(parents_of(p, PID, &map, &err) < 0);
	parents_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_one_checkpoint, setup, teardown),
		cmocka_unit_test_setup_teardown(early_and_late, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
