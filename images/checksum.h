/*
 * checksum - XXH3-64 of whole image files, and of 1 MiB blocks of pages files.
 *
 * They find damage, not malice: who can write the directory can write them.
 */
#ifndef IMAGES_CHECKSUM_H
#define IMAGES_CHECKSUM_H

#include "base/err.h"
#include "proto/criu-lite.pb-c.h"

#include <stdint.h>

#define SUM_BLOCK (1u << 20)

/* Size and hash of a whole file. */
int sum_file(int fd, const char *name, uint64_t *size, uint64_t *hash, struct err *err);

/* The sums of a file's blocks, taken while its bytes pass by. */
struct block_sums;

struct block_sums *block_sums_new(void);
void block_sums_add(struct block_sums *s, const void *bytes, size_t len);
/* For the file @name, all of whose bytes were added; owned by the caller. */
SdBlockSums *block_sums_message(struct block_sums *s, const char *name);
void block_sums_free(struct block_sums *s); /* safe on NULL */
/* The same of a file that is there. */
int sum_blocks(SdBlockSums **out, int fd, const char *name, struct err *err);

/*
 * page_file - a pages file being read, each block checked before its first use.
 * Without sums (another program's images) every check succeeds. Check may be
 * called by several threads.
 */
struct page_file;

/* Opens @name in @dirfd; @sums may be NULL, is copied. */
int page_file_open(struct page_file **out, int dirfd, const char *name, const SdBlockSums *sums,
		   struct err *err);
int page_file_fd(const struct page_file *f);
uint64_t page_file_size(const struct page_file *f);
/*
 * Map it; then blocks are checked in the mapping, and nothing need be read twice. Not
 * for two threads at once. *@at: NULL when it is empty.
 */
int page_file_map(struct page_file *f, const char **at, struct err *err);
/* -EBADMSG names the file and the offset of the block that is not as it was written. */
int page_file_check(struct page_file *f, uint64_t offset, uint64_t n, struct err *err);
/* All blocks, going on after a bad one: @bad once per fault. Returns how many. */
size_t page_file_check_all(struct page_file *f, void (*bad)(void *arg, const char *what),
			   void *arg);
void page_file_release(struct page_file **f); /* safe on NULL */

#endif
