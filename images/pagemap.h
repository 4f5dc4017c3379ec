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

#define PAGE_IN_PARENT 1u /* the bytes are in an older checkpoint */
#define PAGE_LAZY      2u /* may be served after the restore */
#define PAGE_PRESENT   4u /* the bytes are in this checkpoint's pages-N.img */

/* Where user addresses end. */
#define PAGEMAP_END (1ull << 47)

/*
 * Writing. Runs are added in ascending order and without overlap (anything
 * else is the caller's mistake: an assertion); neighbours with equal flags
 * become one. The bytes of PRESENT pages go one after the other into the pages
 * file; the pagemap itself stays in memory until pages_close, so that in the
 * freeze window nothing is written but pages.
 *
 * Either pages_add tells where the bytes belong (*@offset) and the caller puts
 * them there by any means (pages_fd: pwrite, splice; several threads may), or
 * pages_write does both.
 */
struct pages_writer;

/* Creates pages-ID.img; @pagemap_fmt names the pagemap that pages_close will write. */
int pages_create(struct pages_writer **out, struct err *err, int dirfd, uint32_t pages_id,
		 const char *pagemap_fmt, ...) __attribute__((format(printf, 5, 6)));
void pages_add(struct pages_writer *w, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
	       uint64_t *offset);
int pages_write(struct pages_writer *w, uint64_t vaddr, const void *bytes, uint64_t nr_pages,
		uint32_t flags, struct err *err);
int pages_fd(const struct pages_writer *w);
/* Pages that got PRESENT, that got PAGE_IN_PARENT. */
uint64_t pages_written(const struct pages_writer *w);
uint64_t pages_parent(const struct pages_writer *w);
/* Writes the pagemap; checks that the pages file is as long as the runs say. *@w becomes NULL. */
int pages_close(struct pages_writer **w, struct err *err);
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
