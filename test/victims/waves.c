/*
 * waves.c - a victim whose memory is never at rest: whatever a checkpoint holds of it must
 * be of one moment.
 *
 * Each thread walks over its pages again and again and writes the number of the walk, and before
 * that looks for the number of the walk before. So at any moment the pages up to some
 * place have one number and those behind it the one below; a page of another moment among them is
 * found by the next walk after the restore.
 */
#include "victim.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { WAVES = 2, PAGES = 2048, WORDS = PAGE / sizeof(uint64_t) };

static atomic_bool over;

/* One page a walk is given back; it must then be empty, and not what it was before. */
static void walk(uint64_t *at, uint64_t number, size_t *empty)
{
	size_t next = number % PAGES;

	for (size_t i = 0; i < PAGES; i++) {
		uint64_t *page = at + i * WORDS, want = i == *empty ? 0 : number - 1;

		CHECK(page[0] == want && page[WORDS - 1] == want,
		      "walk %lu: page %zu holds %lu and %lu, not %lu", number, i, page[0],
		      page[WORDS - 1], want);
		page[0] = number;
		page[WORDS - 1] = number;
		if (i == next)
			SYS(madvise(page, PAGE, MADV_DONTNEED));
	}
	*empty = next;
}

static void *wave(void *arg)
{
	size_t empty = PAGES;

	for (uint64_t number = 1; !atomic_load(&over); number++)
		walk(arg, number, &empty);
	return NULL;
}

VICTIM(waves)
{
	pthread_t thread[WAVES];

	for (int i = 0; i < WAVES; i++)
		pthread_create(&thread[i], NULL, wave, map_anon(PAGES * PAGE));
	ready();
	atomic_store(&over, true);
	for (int i = 0; i < WAVES; i++)
		pthread_join(thread[i], NULL);
}
