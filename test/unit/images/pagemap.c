/* Runs of pages: joined when written, refused when read in any other shape than we write. */
#include "tmp.h"

#include "images/pagemap.h"
#include "proto/pagemap.pb-c.h"

#define P IMG_PAGE_SIZE

static char *pages_of(char c, size_t n)
{
	char *p = xmalloc(n * P);

	memset(p, c, n * P);
	return p;
}

static void neighbours_become_one(void **state)
{
	struct tmp *t = *state;
	struct pages_writer *w = NULL;
	struct img_reader *r = NULL;
	struct err err = {};
	char *bytes = pages_of('a', 2);
	SdBlockSums *sums = NULL;
	PagemapHead *head;
	PagemapEntry *e;

	assert_int_equal(pages_create(&w, &err, t->fd, 7, "pagemap-%u.img", 5), 0);
	assert_int_equal(pages_write(w, 0x10000, bytes, 2, PAGE_PRESENT, &err), 0);
	pages_add(w, 0x12000, 1, PAGE_PRESENT); /* goes on where the last ended */
	pages_add(w, 0x13000, 3, PAGE_IN_PARENT);
	pages_add(w, 0x16000, 2, PAGE_IN_PARENT);
	pages_add(w, 0x20000, 1, PAGE_PRESENT | PAGE_LAZY);
	pages_sum(w, bytes, 2 * P);
	assert_int_equal(pages_put(w, bytes, 2 * P, &err), 0);
	assert_int_equal(pages_written(w), 4);
	assert_int_equal(pages_parent(w), 5);
	assert_false(exists(t->fd, "pagemap-5.img")); /* nothing but pages until the close */
	assert_int_equal(pages_close(&w, &sums, &err), 0);
	assert_string_equal(sums->name, "pages-7.img");
	assert_int_equal(sums->size, 4 * P);
	sd_block_sums__free_unpacked(sums, NULL);

	assert_int_equal(img_open(&r, &err, t->fd, "pagemap-5.img"), 0);
	assert_int_equal(img_next(r, &head, &err), 1);
	assert_int_equal(head->pages_id, 7);
	pagemap_head__free_unpacked(head, NULL);
	static const struct {
		uint64_t vaddr, n;
		uint32_t flags;
	} want[] = { { 0x10000, 3, 4 }, { 0x13000, 5, 1 }, { 0x20000, 1, 6 } };
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(img_next(r, &e, &err), 1);
		assert_int_equal(e->vaddr, want[i].vaddr);
		assert_true(e->has_nr_pages);
		assert_int_equal(e->nr_pages, want[i].n);
		assert_int_equal(e->compat_nr_pages, want[i].n);
		assert_int_equal(e->flags, want[i].flags);
		assert_false(e->has_in_parent);
		pagemap_entry__free_unpacked(e, NULL);
	}
	assert_int_equal(img_next(r, &e, &err), 0);
	img_reader_release(&r);
	free(bytes);
}

static void short_pages_file_is_noticed(void **state)
{
	struct tmp *t = *state;
	struct pages_writer *w = NULL;
	struct err err = {};

	assert_int_equal(pages_create(&w, &err, t->fd, 1, "pagemap-1.img"), 0);
	pages_add(w, 0x1000, 2, PAGE_PRESENT);
	assert_int_equal(pages_close(&w, NULL, &err), -EIO);
	assert_null(w);
	assert_says(&err, "pages-1.img: has 0 bytes, its pagemap says 8192");
	assert_false(exists(t->fd, "pagemap-1.img"));
}

static void nothing_is_made_before_it_is_needed(void **state)
{
	struct tmp *t = *state;
	struct pages_writer *w = NULL;
	struct err err = {};

	assert_int_equal(pages_create(&w, &err, t->fd, 1, "pagemap-1.img"), 0);
	pages_add(w, 0x1000, 2, PAGE_IN_PARENT);
	assert_false(exists(t->fd, "pages-1.img"));
	assert_int_equal(pages_close(&w, NULL, &err), 0);
	assert_true(exists(t->fd, "pages-1.img"));
}

struct row {
	uint64_t vaddr;
	int64_t nr_pages; /* negative: only in the older field */
	int64_t flags;	  /* -1 absent, -2 absent and in_parent */
};

static void write_rows(struct tmp *t, const struct row *row, size_t n, size_t pages)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	struct img_writer *w = NULL;
	struct err err = {};
	char *bytes = pages_of('x', pages + 1);

	unlinkat(t->fd, "pagemap-1.img", 0);
	head.pages_id = 3;
	assert_int_equal(img_create(&w, &err, t->fd, "pagemap-1.img"), 0);
	assert_int_equal(img_append(w, &head, &err), 0);
	for (size_t i = 0; i < n; i++) {
		PagemapEntry e = PAGEMAP_ENTRY__INIT;

		e.vaddr = row[i].vaddr;
		e.has_nr_pages = row[i].nr_pages >= 0;
		e.nr_pages = row[i].nr_pages;
		e.compat_nr_pages = row[i].nr_pages < 0 ? -row[i].nr_pages : 0;
		e.has_flags = row[i].flags >= 0;
		e.flags = row[i].flags;
		e.has_in_parent = e.in_parent = row[i].flags == -2;
		assert_int_equal(img_append(w, &e, &err), 0);
	}
	assert_int_equal(img_close(&w, &err), 0);
	put(t->fd, "pages-3.img", bytes, pages * P);
	free(bytes);
}

static int load(struct tmp *t, struct pagemap *p, struct err *err)
{
	*p = (struct pagemap) {};
	return pagemap_load(p, t->fd, "pagemap-1.img", err);
}

/* flags absent, the count in the older field: what older writers leave. */
static void older_entries(void **state)
{
	static const struct row rows[] = { { 0x1000, -2, -1 },
					   { 0x3000, -4, -2 },
					   { 0x8000, 1, PAGE_PRESENT } };
	struct tmp *t = *state;
	struct pagemap p;
	struct err err = {};

	write_rows(t, rows, ARRAY_SIZE(rows), 3);
	assert_int_equal(load(t, &p, &err), 0);
	assert_int_equal(p.pages_id, 3);
	assert_int_equal(p.n, 3);
	assert_int_equal(p.run[0].flags, PAGE_PRESENT);
	assert_int_equal(p.run[0].nr_pages, 2);
	assert_int_equal(p.run[0].offset, 0);
	assert_int_equal(p.run[1].flags, PAGE_IN_PARENT);
	assert_int_equal(p.run[1].nr_pages, 4);
	assert_int_equal(p.run[2].offset, 2 * P);
	assert_null(pagemap_find(&p, 0xfff));
	assert_ptr_equal(pagemap_find(&p, 0x1000), &p.run[0]);
	assert_ptr_equal(pagemap_find(&p, 0x2fff), &p.run[0]);
	assert_ptr_equal(pagemap_find(&p, 0x3000), &p.run[1]);
	assert_null(pagemap_find(&p, 0x7000));
	assert_ptr_equal(pagemap_find(&p, 0x8000), &p.run[2]);
	assert_null(pagemap_find(&p, 0x9000));
	pagemap_release(&p);
}

static void refused(void **state)
{
	static const struct {
		struct row row[2];
		size_t pages;
		const char *say;
	} cases[] = {
		{ { { 0x1001, 1, 4 } }, 1, "not page aligned" },
		{ { { 0x1000, 0, 4 } }, 0, "of 0 pages" },
		{ { { 0x1000, 1, 0 } }, 1, "flags 0" },
		{ { { 0x1000, 1, 8 } }, 1, "flags 0x8" },
		{ { { 0x1000, 1, 5 } }, 1, "flags 0x5" },
		{ { { PAGEMAP_END, 1, 4 } }, 1, "of 1 pages" },
		{ { { PAGEMAP_END - P, 2, 1 } }, 0, "of 2 pages" },
		{ { { 0x1000, INT64_MAX, 1 } }, 0, "of 9223372036854775807 pages" },
		{ { { 0x1000, 2, 4 }, { 0x2000, 1, 4 } }, 3, "begins before the end" },
		{ { { 0x5000, 1, 4 }, { 0x2000, 1, 4 } }, 2, "begins before the end" },
		{ { { 0x1000, 1, 4 }, { 0x2000, 1, 4 } },
		  1,
		  "has 4096 bytes, its pagemap says 8192" },
	};
	struct tmp *t = *state;
	struct pagemap p;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {};

		write_rows(t, cases[i].row, cases[i].row[1].vaddr ? 2 : 1, cases[i].pages);
		assert_int_equal(load(t, &p, &err), -EBADMSG);
		assert_says(&err, cases[i].say);
		assert_says(&err, "pagemap-1.img");
		pagemap_release(&p);
	}
}

/* The last page below the end of user addresses is a page like any other. */
static void highest_page(void **state)
{
	static const struct row row = { PAGEMAP_END - P, 1, PAGE_PRESENT };
	struct tmp *t = *state;
	struct pagemap p;
	struct err err = {};

	write_rows(t, &row, 1, 1);
	assert_int_equal(load(t, &p, &err), 0);
	assert_ptr_equal(pagemap_find(&p, PAGEMAP_END - 1), &p.run[0]);
	pagemap_release(&p);
	write_rows(t, &row, 1, 2); /* bytes after the last page mean nothing */
	assert_int_equal(load(t, &p, &err), 0);
	pagemap_release(&p);
	unlinkat(t->fd, "pages-3.img", 0);
	assert_int_equal(load(t, &p, &err), -EBADMSG);
	assert_says(&err, "pages-3.img");
	pagemap_release(&p);
	assert_int_equal(pagemap_load(&p, t->fd, "pagemap-2.img", &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(neighbours_become_one), IMAGE_TEST(short_pages_file_is_noticed),
		IMAGE_TEST(older_entries),	   IMAGE_TEST(refused),
		IMAGE_TEST(highest_page),	   IMAGE_TEST(nothing_is_made_before_it_is_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
