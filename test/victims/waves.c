/*
 * waves.c - victims whose memory is never at rest: whatever a checkpoint holds of it must
 * be of one moment.
 *
 * waves: each thread walks over its pages again and again and writes the number of the walk, and before
 * that looks for the number of the walk before. So at any moment the pages up to some
 * place have one number and those behind it the one below; a page of another moment among them is
 * found by the next walk after the restore.
 *
 * remaps: every other page of many is mapped anew in turn, in the same place, so that what was
 * said of a mapping a moment ago is no longer so, though its borders are.
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

enum { REMAPS = 600 };

static void *remap(void *arg)
{
	char *pages = arg;

	while (!atomic_load(&over)) {
		for (int i = 0; i < REMAPS; i++) {
			uint64_t *page = (uint64_t *)(pages + 2 * i * PAGE);

			CHECK(*page == (uint64_t)i + 1, "page %d holds %lu", i, *page);
			SYS(mmap(page, PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
			*page = (uint64_t)i + 1;
			usleep(50);
		}
	}
	return NULL;
}

VICTIM(remaps)
{
	char *pages = map_anon(2 * REMAPS * PAGE);
	pthread_t thread;

	maps_may_change(); /* too many to compare as text */
	for (int i = 0; i < REMAPS; i++) {
		*(uint64_t *)(pages + 2 * i * PAGE) = (uint64_t)i + 1;
		SYS(mprotect(pages + (2 * i + 1) * PAGE, PAGE, PROT_READ));
	}
	pthread_create(&thread, NULL, remap, pages);
	ready();
	atomic_store(&over, true);
	pthread_join(thread, NULL);
}
