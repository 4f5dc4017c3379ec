/*
 * pagemap - which pages of a task or shared object a checkpoint holds
 * (pagemap-*.img), and their bytes (pages-N.img).
 *
 * Addresses and lengths of runs count in bytes and pages of 4096 bytes. For a
 * shared object the address is an offset in it.
 */
#ifndef IMAGES_PAGEMAP_H
#define IMAGES_PAGEMAP_H

#include "images/img.h"
#include "proto/criu-lite.pb-c.h"

#define PAGE_IN_PARENT 1u /* the bytes are in an older checkpoint */
#define PAGE_LAZY      2u /* may be served after the restore */
#define PAGE_PRESENT   4u /* the bytes are in this checkpoint's pages-N.img */

/* Where user addresses end. */
#define PAGEMAP_END (1ull << 47)

/*
 * Writing. Runs are added in ascending order and without overlap (anything
 * else is the caller's mistake: an assertion); neighbours with equal flags
 * become one. The bytes of PRESENT pages go one after the other into the pages
 * file, and are summed on their way, in blocks of SUM_BLOCK: pages_sum and
 * pages_put each want all of them, in order. pages_write does all for one run.
 *
 * Runs and sums stay in memory, and the files are made by the first pages_put
 * and by pages_close, so that in the freeze window nothing is written but pages,
 * and not even those if they can wait. One thread may add and sum while another
 * one puts.
 */
struct pages_writer;

/* pages-ID.img; @pagemap_fmt names the pagemap that pages_close will write. */
int pages_create(struct pages_writer **out, struct err *err, int dirfd, uint32_t pages_id,
		 const char *pagemap_fmt, ...) __attribute__((format(printf, 5, 6)));
void pages_add(struct pages_writer *w, uint64_t vaddr, uint64_t nr_pages, uint32_t flags);
void pages_sum(struct pages_writer *w, const void *bytes, size_t len);
int pages_put(struct pages_writer *w, const void *bytes, size_t len, struct err *err);
int pages_write(struct pages_writer *w, uint64_t vaddr, const void *bytes, uint64_t nr_pages,
		uint32_t flags, struct err *err);
/* Pages that got PRESENT, that got PAGE_IN_PARENT. */
uint64_t pages_written(const struct pages_writer *w);
uint64_t pages_parent(const struct pages_writer *w);
/*
 * Writes the pagemap; checks that the pages file is as long as the runs say. *@sums, for
 * chain_take_sums, is the caller's; NULL: not wanted. *@w becomes NULL.
 */
int pages_close(struct pages_writer **w, SdBlockSums **sums, struct err *err);
void pages_writer_release(struct pages_writer **w); /* safe on NULL */

/* Reading: one pagemap, checked: ascending, aligned, below @PAGEMAP_END, its pages file long enough. */
struct pagemap_run {
	uint64_t vaddr, nr_pages;
	uint64_t offset; /* of the first page in the pages file, if PRESENT */
	uint32_t flags;
};

struct pagemap {
	uint32_t pages_id;
	struct pagemap_run *run;
	size_t n, cap;
};

/* -ENOENT when there is no such pagemap. @p must be zeroed; release it in any case. */
int pagemap_load(struct pagemap *p, int dirfd, const char *name, struct err *err);
void pagemap_release(struct pagemap *p);
/* The run that contains @vaddr, or NULL. */
const struct pagemap_run *pagemap_find(const struct pagemap *p, uint64_t vaddr);

#endif
