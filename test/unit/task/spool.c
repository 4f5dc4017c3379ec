/* What is put arrives in its file, held or not, in one room or many; an error is told later. */
#include "criu-lite/task/spool.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define P IMG_PAGE_SIZE

enum { ROOM_PAGES = SPOOL_ROOM / IMG_PAGE_SIZE, FILES = 50 };

struct dir {
	char name[32];
	int fd;
};

static int dir_make(void **state)
{
	struct dir *d = xcalloc(1, sizeof(*d));

	strcpy(d->name, "/tmp/spool-XXXXXX");
	assert_non_null(mkdtemp(d->name));
	d->fd = open(d->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = d;
	return 0;
}

static int dir_remove(void **state)
{
	struct dir *d = *state;
	scoped char *cmd = xasprintf("rm -r %s", d->name);

	close(d->fd);
	assert_int_equal(system(cmd), 0);
	free(d);
	return 0;
}

static struct pages_writer *begin(struct spool *s, const struct dir *d, int id)
{
	struct pages_writer *w;
	struct err err;

	assert_int_equal(pages_create(&w, &err, d->fd, id, "pagemap-%d.img", id), 0);
	spool_adopt(s, w);
	return w;
}

/* @n pages, each full of its number. */
static int put(struct spool *s, struct pages_writer *w, size_t n, struct err *err)
{
	size_t from = pages_written(w);
	char *room = NULL;
	int rc = spool_room(s, &room, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		for (uint64_t *word = (uint64_t *)(room + i * P);
		     word < (uint64_t *)(room + (i + 1) * P); word++)
			*word = from + i;
		pages_add(w, (from + i) * P, 1, PAGE_PRESENT);
	}
	spool_put(s, n * P, w);
	return 0;
}

static void check_file(const struct dir *d, int id, size_t pages)
{
	scoped char *name = xasprintf("pages-%d.img", id);
	scoped_fd fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, pages * P);
	for (size_t i = 0; i < pages; i++) {
		uint64_t ends[2];

		assert_int_equal(pread(fd, &ends[0], 8, i * P), 8);
		assert_int_equal(pread(fd, &ends[1], 8, (i + 1) * P - 8), 8);
		assert_int_equal(ends[0], i);
		assert_int_equal(ends[1], i);
	}
}

/* @rooms rooms, the last half full, with room made for @expected bytes. */
static void round_trip(const struct dir *d, int id, size_t rooms, size_t expected)
{
	struct spool *s = spool_new(expected);
	struct pages_writer *w = begin(s, d, id);
	struct err err;

	for (size_t i = 0; i < rooms; i++)
		assert_int_equal(put(s, w, i == rooms - 1 ? ROOM_PAGES / 2 : ROOM_PAGES, &err), 0);
	spool_close(s, w);
	assert_int_equal(spool_drain(s, &err), 0);
	check_file(d, id, (rooms - 1) * ROOM_PAGES + ROOM_PAGES / 2);
	spool_free(s);
}

static void what_is_put_arrives(void **state)
{
	static const size_t rooms[] = { 1, 3, 4, 5, 6, 40 };
	int id = 1;

	for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
		round_trip(*state, id++, rooms[i], 0);
		round_trip(*state, id++, rooms[i], rooms[i] * SPOOL_ROOM);
		round_trip(*state, id++, rooms[i], rooms[i] * SPOOL_ROOM / 3);
		round_trip(*state, id++, rooms[i], SIZE_MAX);
	}
}

/* What lies elsewhere comes where it was put in the order, between parts of one room, held or not. */
static void what_is_lent_arrives(void **state)
{
	enum { LENT = 3, ROUNDS = 12 };
	scoped char *lent = xmalloc((size_t)ROUNDS * LENT * P);
	struct err err;

	for (int id = 1; id <= 2; id++) {
		struct spool *s = spool_new(id == 1 ? 0 : ROUNDS * SPOOL_ROOM);
		struct pages_writer *w = begin(s, *state, id);

		for (size_t i = 0; i < ROUNDS; i++) {
			char *at = lent + i * LENT * P;

			assert_int_equal(put(s, w, ROOM_PAGES / 2, &err), 0);
			for (size_t k = 0; k < LENT; k++) {
				for (size_t word = 0; word < P / 8; word++)
					((uint64_t *)(at + k * P))[word] = pages_written(w);
				pages_add(w, pages_written(w) * P, 1, PAGE_PRESENT);
			}
			spool_lend(s, at, LENT * P, w);
		}
		spool_close(s, w);
		assert_int_equal(spool_drain(s, &err), 0);
		check_file(*state, id, ROUNDS * (ROOM_PAGES / 2 + LENT));
		spool_free(s);
	}
}

/* What there is room for, and too little for a thread, does not touch a file before it is asked to. */
static void what_is_held_waits(void **state)
{
	struct dir *d = *state;
	struct spool *s = spool_new(7 * SPOOL_ROOM);
	struct pages_writer *w = begin(s, d, 1);
	struct err err;

	for (size_t i = 0; i < 7; i++)
		assert_int_equal(put(s, w, ROOM_PAGES, &err), 0);
	spool_close(s, w);
	assert_int_equal(faccessat(d->fd, "pages-1.img", F_OK, 0), -1);
	assert_int_equal(spool_drain(s, &err), 0);
	check_file(d, 1, 7 * ROOM_PAGES);
	spool_free(s);
}

static void one_spool_serves_many_files(void **state)
{
	struct spool *s = spool_new(0);
	struct err err;

	for (int id = 1; id <= FILES; id++) {
		struct pages_writer *w = begin(s, *state, id);

		for (int i = 0; i < id % 4; i++)
			assert_int_equal(put(s, w, ROOM_PAGES - i * 10 - id, &err), 0);
		spool_close(s, w);
	}
	assert_int_equal(spool_drain(s, &err), 0);
	for (int id = 1; id <= FILES; id++) {
		size_t pages = 0;

		for (int i = 0; i < id % 4; i++)
			pages += ROOM_PAGES - i * 10 - id;
		check_file(*state, id, pages);
	}
	spool_free(s);
}

/* The file can be made no more; that is known after @rooms rooms at the latest. */
static void fails(const struct dir *d, size_t rooms)
{
	struct spool *s = spool_new(0);
	struct pages_writer *w = begin(s, d, 1);
	struct err err = {};
	char *room;
	int rc = 0;

	for (size_t i = 0; !rc && i < rooms; i++)
		rc = put(s, w, ROOM_PAGES, &err);
	if (!rc) {
		spool_close(s, w);
		rc = spool_drain(s, &err);
	}
	assert_int_equal(rc, -EEXIST);
	assert_non_null(strstr(err.text, "pages-1.img: create"));
	assert_int_equal(spool_room(s, &room, &err), -EEXIST);
	assert_int_equal(spool_drain(s, NULL), -EEXIST);
	assert_int_equal(faccessat(d->fd, "pagemap-1.img", F_OK, 0), -1);
	spool_free(s);
}

static void an_error_is_told(void **state)
{
	struct dir *d = *state;
	scoped_fd fd = openat(d->fd, "pages-1.img", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	fails(d, 1);
	fails(d, 100);
}

static void nothing_is_freed_twice(void **state)
{
	struct spool *s = spool_new(0);
	struct err err;

	spool_free(NULL);
	spool_free(s);
	s = spool_new(0);
	assert_int_equal(put(s, begin(s, *state, 1), 10, &err), 0);
	begin(s, *state, 2);
	spool_close(s, begin(s, *state, 3));
	spool_free(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, dir_make, dir_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_put_arrives),	   TEST(what_is_lent_arrives),
		TEST(what_is_put_arrives),	   TEST(what_is_held_waits),
		TEST(one_spool_serves_many_files), TEST(an_error_is_told),
		TEST(nothing_is_freed_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
