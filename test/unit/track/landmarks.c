/* landmarks.c - a page table that mremap(2) moved as a whole is not believed. */
#include "criu-lite/track/landmarks.h"
#include "base/mem.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/track/tracker.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#define P     4096ul
#define BLOCK (2ul << 20)

enum { LEFT, RIGHT, SPARE, PLACES };

static char *const base = (char *)0x210000000000ul;
static int pagemap;

static char *place(int i)
{
	return base + i * 2 * BLOCK;
}

static void fill(int i, size_t pages)
{
	char *want = place(i);

	assert_ptr_equal(mmap(want, BLOCK, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 want);
	madvise(want, BLOCK, MADV_NOHUGEPAGE);
	for (size_t k = 0; k < pages; k++)
		want[k * P] = 1 + i;
}

static void move(int from, int to)
{
	assert_ptr_equal(
		mremap(place(from), BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, place(to)),
		place(to));
}

/* Where there is soft-dirty, everything is to be clean. */
static void clear(void)
{
	scoped_fd fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	assert_int_equal(write(fd, "4", 1), 1);
}

static int setup(void **state)
{
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	fill(LEFT, 512);
	fill(RIGHT, 512);
	return 0;
}

static int teardown(void **state)
{
	munmap(base, PLACES * 2 * BLOCK);
	close(pagemap);
	return 0;
}

static void clean_runs(struct track_runs *runs)
{
	for (int i = LEFT; i <= RIGHT; i++)
		track_run_add(runs, (uintptr_t)place(i), (uintptr_t)place(i) + BLOCK, false);
}

/* How many bytes @runs calls unwritten after the doubt. */
static size_t believed(const struct landmarks *l)
{
	struct track_runs runs = {};
	size_t n = 0;

	clean_runs(&runs);
	assert_int_equal(landmarks_doubt(l, pagemap, &runs, NULL), 0);
	for (size_t i = 0; i < runs.n; i++)
		if (!runs.run[i].written)
			n += runs.run[i].end - runs.run[i].start;
	track_runs_release(&runs);
	return n;
}

static struct landmarks take(void)
{
	struct landmarks l = {};
	struct track_runs runs = {};

	clear();
	clean_runs(&runs);
	assert_int_equal(landmarks_take(&l, pagemap, &runs, NULL), 0);
	track_runs_release(&runs);
	return l;
}

static void what_stands_is_believed(void **state)
{
	struct landmarks l = take();

	assert_true(l.n >= 4);
	assert_int_equal(believed(&l), 2 * BLOCK);
	free(l.v);
}

static void an_exchange_is_found_out(void **state)
{
	struct landmarks l = take();

	move(LEFT, SPARE);
	move(RIGHT, LEFT);
	move(SPARE, RIGHT);
	assert_int_equal(believed(&l), 0);
	free(l.v);
}

static void there_and_back_is_no_move(void **state)
{
	struct landmarks l = take();

	move(LEFT, SPARE);
	move(SPARE, LEFT);
	assert_true(believed(&l) >= BLOCK); /* the kernel may have marked what it moved */
	free(l.v);
}

/* One block's landmarks are gone, the other's stay. */
static void without_landmarks_nothing_is_believed(void **state)
{
	struct landmarks l = take();

	fill(LEFT, 512);
	assert_int_equal(believed(&l), BLOCK);
	l.n = 0;
	assert_int_equal(believed(&l), 0);
	free(l.v);
}

static void an_odd_or_unordered_list_is_no_proof(void **state)
{
	uint64_t v[] = { (uintptr_t)place(RIGHT), 5, (uintptr_t)place(LEFT), 6, 7 };
	struct landmarks l = { .v = v, .n = ARRAY_SIZE(v) };

	assert_int_equal(believed(&l), 0);
	l.n = 1;
	assert_int_equal(believed(&l), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_stands_is_believed, setup, teardown),
		cmocka_unit_test_setup_teardown(an_exchange_is_found_out, setup, teardown),
		cmocka_unit_test_setup_teardown(there_and_back_is_no_move, setup, teardown),
		cmocka_unit_test_setup_teardown(without_landmarks_nothing_is_believed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_odd_or_unordered_list_is_no_proof, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
