/* img_resolve.c - made-up runs in up to four checkpoints, resolved and compared page by page. */
#include "img_fuzz.h"

#include "images/chain.h"

#define LEVELS 4
#define PAGES  256

struct level {
	char page[PAGES]; /* 0, 'p'resent, '^' in parent */
	uint32_t offset[PAGES];
};

/* Four bytes a run: gap, length, flags, what else. */
static void make_level(int dirfd, const uint8_t **data, size_t *size, struct level *l)
{
	static const char zeros[16 * IMG_PAGE_SIZE];
	struct pages_writer *w = NULL;
	struct err err;
	uint32_t at = 0;

	unlinkat(dirfd, "pagemap-1.img", 0);
	unlinkat(dirfd, "pages-1.img", 0);
	if (pages_create(&w, &err, dirfd, 1, "pagemap-1.img") < 0)
		abort();
	while (*size >= 3) {
		uint32_t n = (*data)[1] % 16 + 1;
		uint32_t flags = (*data)[2] & 1 ? PAGE_IN_PARENT : PAGE_PRESENT;
		bool last = (*data)[2] & 0x80;
		uint64_t offset = pages_written(w);

		at += (*data)[0] % 32;
		*data += 3;
		*size -= 3;
		if (at + n > PAGES)
			break;
		if (pages_write(w, (uint64_t)at * IMG_PAGE_SIZE, zeros, n, flags, &err) < 0)
			abort();
		for (uint32_t i = 0; i < n; i++, at++) {
			l->page[at] = flags == PAGE_PRESENT ? 'p' : '^';
			l->offset[at] = offset + i;
		}
		if (last)
			break;
	}
	if (pages_close(&w, NULL, &err) < 0)
		abort();
}

/* The level that has the page; -1: none says it has; LEVELS: promised and not there. */
static int where(const struct level *l, int page)
{
	for (int i = 0; i < LEVELS; i++) {
		if (l[i].page[page] == 'p')
			return i;
		if (!l[i].page[page])
			return i ? LEVELS : -1;
	}
	return LEVELS;
}

static void check(const struct page_sources *s, const struct level *l)
{
	size_t k = 0;

	for (int page = 0; page < PAGES; page++) {
		uint64_t vaddr = (uint64_t)page * IMG_PAGE_SIZE;
		const struct page_source *src;
		int level = where(l, page);

		while (k < s->n && s->src[k].vaddr + s->src[k].nr_pages * IMG_PAGE_SIZE <= vaddr)
			k++;
		src = k < s->n && s->src[k].vaddr <= vaddr ? &s->src[k] : NULL;
		if (level == LEVELS || (level < 0) != !src)
			abort();
		if (src && (src->level != (uint32_t)level ||
			    src->offset + (vaddr - src->vaddr) !=
				    (uint64_t)l[level].offset[page] * IMG_PAGE_SIZE))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct level l[LEVELS];
	struct chain_links links = {};
	struct page_sources s = {};
	bool broken = false;
	struct err err;
	int rc;

	memset(l, 0, sizeof(l));
	for (int i = 0; i < LEVELS; i++) {
		char name[] = { '0' + LEVELS - i, 0 },
		     to[] = { '.', '.', '/', '0' + LEVELS - i - 1, 0 };
		int fd;

		mkdirat(fuzz_dir(), name, 0700);
		fd = openat(fuzz_dir(), name, O_RDONLY | O_DIRECTORY);
		if (i < LEVELS - 1)
			symlinkat(to, fd, "parent");
		make_level(fd, &data, &size, &l[i]);
		close(fd);
	}
	for (int page = 0; page < PAGES; page++)
		broken |= where(l, page) == LEVELS;
	if (chain_follow(&links, fuzz_dir(), LEVELS, &err) < 0)
		abort();
	rc = chain_resolve(&s, &links, "pagemap-1.img", &err);
	if ((rc < 0) != broken)
		abort();
	if (!rc)
		check(&s, l);
	page_sources_release(&s);
	chain_links_release(&links);
	return 0;
}
