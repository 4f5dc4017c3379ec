/* Pages across checkpoints: known chains, a random chain against a plain model, damaged blocks. */
#include "tmp.h"

#include "images/chain.h"

#include <pthread.h>

#define P	IMG_PAGE_SIZE
#define PAGE(n) ((uint64_t)(n)*P)

/* A checkpoint from a string: a digit or letter a page, '^' a page in the parent, '.' none. Bytes
 * of a page are its character. */
static void checkpoint(struct chain *c, uint32_t parent, uint32_t pages_id, const char *pages)
{
	SdCheckpoint info = SD_CHECKPOINT__INIT;
	struct pages_writer *w = NULL;
	struct err err = {};
	uint64_t bytes;

	info.boot_id = info.kernel_release = info.tracker = (char *)"none";
	assert_int_equal(chain_begin(c, parent, &err), 0);
	assert_int_equal(pages_create(&w, &err, chain_fd(c), pages_id, "pagemap-1.img"), 0);
	for (size_t i = 0; pages[i]; i++) {
		char page[P];

		memset(page, pages[i], P);
		if (pages[i] != '.')
			assert_int_equal(
				pages_write(w, PAGE(i), page, 1,
					    pages[i] == '^' ? PAGE_IN_PARENT : PAGE_PRESENT, &err),
				0);
	}
	assert_int_equal(pages_close(&w, NULL, &err), 0);
	assert_int_equal(chain_seal(c, &bytes, &err), 0);
	assert_int_equal(chain_commit(c, &info, &err), 0);
}

static struct chain *begin_chain(struct tmp *t)
{
	struct chain *c = NULL;
	struct err err = {};

	assert_int_equal(chain_open(&c, t->path, CHAIN_WRITE, &err), 0);
	return c;
}

/* What the sources say, as a string in the same form. */
static void read_back(struct tmp *t, uint32_t seq, char *out, size_t n, size_t *runs)
{
	struct chain_links l = {};
	struct page_sources s = {};
	struct err err = {};
	uint64_t end = 0;

	memset(out, '.', n);
	out[n] = 0;
	if (chain_follow(&l, t->fd, seq, &err) < 0 ||
	    chain_resolve(&s, &l, "pagemap-1.img", &err) < 0)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < s.n; i++) {
		struct page_file *f = NULL;
		uint64_t first = s.src[i].vaddr / P;

		assert_true(s.src[i].vaddr >= end);
		end = s.src[i].vaddr + s.src[i].nr_pages * P;
		assert_int_equal(chain_pages(&f, &l, &s, s.src[i].level, &err), 0);
		assert_int_equal(page_file_check(f, s.src[i].offset, s.src[i].nr_pages * P, &err),
				 0);
		for (size_t k = 0; k < s.src[i].nr_pages; k++)
			assert_int_equal(
				pread(page_file_fd(f), out + first + k, 1, s.src[i].offset + k * P),
				1);
		page_file_release(&f);
	}
	if (runs)
		*runs = s.n;
	page_sources_release(&s);
	chain_links_release(&l);
}

static void expect(struct tmp *t, uint32_t seq, const char *want, size_t want_runs)
{
	char got[64];
	size_t runs;

	read_back(t, seq, got, strlen(want), &runs);
	assert_string_equal(got, want);
	assert_int_equal(runs, want_runs);
}

static void known_chain(void **state)
{
	struct tmp *t = *state;
	struct chain *c = begin_chain(t);

	checkpoint(c, 0, 1, "aaaa.aaaa");
	checkpoint(c, 1, 4, "^b^^b^.^^"); /* a page freed: not in the parent, nowhere */
	checkpoint(c, 2, 1, "^^cc^^c^^");
	checkpoint(c, 2, 1, "^^^^^^.^^"); /* beside 3, nothing new */
	expect(t, 1, "aaaa.aaaa", 2);
	expect(t, 2, "abaaba.aa", 6);
	expect(t, 3, "abccbacaa", 7);
	expect(t, 4, "abaaba.aa", 6);
	chain_release(&c);
}

/* What lay together in the parent is one source again, however it was asked for. */
static void joined_again(void **state)
{
	struct tmp *t = *state;
	struct chain *c = begin_chain(t);

	checkpoint(c, 0, 1, "aaaabbbb");
	checkpoint(c, 1, 1, "^^^^^^^^");
	expect(t, 2, "aaaabbbb", 1);
	chain_release(&c);
}

static int resolve(struct tmp *t, uint32_t seq, struct err *err)
{
	struct chain_links l = {};
	struct page_sources s = {};
	int rc = chain_follow(&l, t->fd, seq, err);

	if (!rc)
		rc = chain_resolve(&s, &l, "pagemap-1.img", err);
	page_sources_release(&s);
	chain_links_release(&l);
	return rc;
}

static void page_that_nobody_has(void **state)
{
	struct tmp *t = *state;
	struct chain *c = begin_chain(t);
	struct err err = {};

	checkpoint(c, 0, 1, "aa.a");
	checkpoint(c, 1, 1, "^^^^");
	assert_int_equal(resolve(t, 2, &err), -EBADMSG);
	assert_says(&err, "checkpoint 2: pagemap-1.img: page at 0x2000 should be in the parent");
	checkpoint(c, 1, 1, "^^.^^");
	assert_int_equal(resolve(t, 3, &err), -EBADMSG);
	assert_says(&err, "page at 0x4000");
	checkpoint(c, 0, 1, "a^");
	assert_int_equal(resolve(t, 4, &err), -EBADMSG);
	assert_says(&err, "page at 0x1000 should be in the parent, and there is no parent");
	checkpoint(c, 3, 1, "^^.^");
	assert_int_equal(resolve(t, 5, &err), 0);
	chain_release(&c);
}

static void no_such_pagemap(void **state)
{
	struct tmp *t = *state;
	struct chain *c = begin_chain(t);
	struct chain_links l = {};
	struct page_sources s = {};
	struct err err = {};

	checkpoint(c, 0, 1, "a");
	assert_int_equal(chain_follow(&l, t->fd, 1, &err), 0);
	assert_int_equal(chain_resolve(&s, &l, "pagemap-2.img", &err), -ENOENT);
	page_sources_release(&s);
	chain_links_release(&l);
	chain_release(&c);
}

/* A long chain of random increments against a string that is simply overwritten. */
static void random_chain(void **state)
{
	enum { PAGES = 300, LENGTH = 30 };
	struct tmp *t = *state;
	struct chain *c = begin_chain(t);
	char model[LENGTH + 1][PAGES + 1], layer[PAGES + 1], got[PAGES + 1];
	uint64_t seed = 42;

	memset(model[0], '.', PAGES);
	model[0][PAGES] = layer[PAGES] = 0;
	for (int k = 1; k <= LENGTH; k++) {
		memcpy(model[k], model[k - 1], sizeof(model[k]));
		for (int i = 0; i < PAGES; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			switch ((seed >> 40) % 16) {
			case 0:
				model[k][i] = layer[i] = 'a' + (seed >> 50) % 26;
				break;
			case 1:
				model[k][i] = layer[i] = '.';
				break;
			default:
				layer[i] = model[k][i] == '.' ? '.' : '^';
			}
		}
		checkpoint(c, k - 1, 1, layer);
	}
	for (int k = 1; k <= LENGTH; k++) {
		read_back(t, k, got, PAGES, NULL);
		assert_string_equal(got, model[k]);
	}
	chain_release(&c);
}

/* --- blocks --------------------------------------------------------------------------------- */

struct blocks {
	struct page_file *f;
	_Atomic int bad;
};

static void *check_all(void *arg)
{
	struct blocks *b = arg;

	for (uint64_t at = 0; at < page_file_size(b->f); at += P)
		b->bad += page_file_check(b->f, at, P, NULL) < 0;
	return NULL;
}

static void count_fault(void *arg, const char *what)
{
	++*(int *)arg;
	assert_non_null(strstr(what, "pages-9.img: offset 1048576: 1048576 bytes"));
}

/* The second of three blocks is not as it was. */
static void finds_damage(struct tmp *t, const SdBlockSums *sums, size_t len, bool map)
{
	struct blocks b = {};
	struct err err = {};
	pthread_t threads[3];
	const char *at = NULL;
	int faults = 0;

	assert_int_equal(page_file_open(&b.f, t->fd, "pages-9.img", sums, &err), 0);
	if (map)
		assert_int_equal(page_file_map(b.f, &at, &err), 0);
	assert_true(map == !!at);
	assert_int_equal(page_file_check(b.f, 0, SUM_BLOCK, &err), 0);
	assert_int_equal(page_file_check(b.f, 2 * SUM_BLOCK, 3 * P, &err), 0);
	assert_int_equal(page_file_check(b.f, 2 * SUM_BLOCK - P, P, &err), -EBADMSG);
	assert_says(&err,
		    "pages-9.img: offset 1048576: 1048576 bytes are not as they were written");
	assert_int_equal(page_file_check(b.f, SUM_BLOCK - P, 2 * P, &err), -EBADMSG);
	assert_int_equal(page_file_check(b.f, len - P, 2 * P, &err), -EBADMSG);
	assert_says(&err, "beyond the end");
	assert_int_equal(page_file_check(b.f, UINT64_MAX, 2, &err), -EBADMSG);
	assert_int_equal(page_file_check_all(b.f, count_fault, &faults), 1);
	assert_int_equal(faults, 1);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, check_all, &b), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(b.bad, ARRAY_SIZE(threads) * SUM_BLOCK / P);
	page_file_release(&b.f);
}

static void damaged_block(void **state)
{
	struct tmp *t = *state;
	SdBlockSums *sums = NULL;
	struct blocks b = {};
	struct err err = {};
	size_t len = 2 * SUM_BLOCK + 3 * P;
	char *bytes = xmalloc(len);
	int fd;

	for (size_t i = 0; i < len; i++)
		bytes[i] = i * 31 >> 4;
	put(t->fd, "pages-9.img", bytes, len);
	free(bytes);
	fd = openat(t->fd, "pages-9.img", O_RDONLY);
	assert_int_equal(sum_blocks(&sums, fd, "pages-9.img", &err), 0);
	close(fd);
	assert_int_equal(sums->n_hash, 3);
	flip(t->fd, "pages-9.img", SUM_BLOCK + 12345);

	finds_damage(t, sums, len, false);
	finds_damage(t, sums, len, true);

	sums->size++;
	assert_int_equal(page_file_open(&b.f, t->fd, "pages-9.img", sums, &err), -EBADMSG);
	sums->size--;
	sums->n_hash--;
	assert_int_equal(page_file_open(&b.f, t->fd, "pages-9.img", sums, &err), -EBADMSG);
	sums->n_hash++;
	sums->block_size = 0;
	assert_int_equal(page_file_open(&b.f, t->fd, "pages-9.img", sums, &err), -EBADMSG);
	assert_null(b.f);
	sums->block_size = SUM_BLOCK;
	sd_block_sums__free_unpacked(sums, NULL);
}

/* The sum of nothing is the one that every XXH3-64 has. */
static void sum_of_nothing(void **state)
{
	struct tmp *t = *state;
	struct err err = {};
	uint64_t size, hash;
	int fd;

	put(t->fd, "empty", "", 0);
	fd = openat(t->fd, "empty", O_RDONLY);
	assert_int_equal(sum_file(fd, "empty", &size, &hash, &err), 0);
	close(fd);
	assert_int_equal(size, 0);
	assert_true(hash == 0x2d06800538d394c2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(known_chain),	  IMAGE_TEST(joined_again),
		IMAGE_TEST(page_that_nobody_has), IMAGE_TEST(no_such_pagemap),
		IMAGE_TEST(random_chain),	  IMAGE_TEST(damaged_block),
		IMAGE_TEST(sum_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
