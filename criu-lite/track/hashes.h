/*
 * hashes - XXH3-128 of every page of a checkpoint, to compare the next one with.
 *
 * criu-lite-hashes-PID.img and criu-lite-hashes-shmem-ID.img hold them, 16
 * bytes a page, for every page that the checkpoint has, be its bytes there or in a parent.
 */
#ifndef TRACK_HASHES_H
#define TRACK_HASHES_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct hashes;

/* Nothing to compare with. */
struct hashes *hashes_new(void);
/* The hashes of checkpoint @seq; -ENOENT: it has none. */
int hashes_load(struct hashes **out, int chain_dirfd, uint32_t seq, struct err *err);
/*
 * Remember @page; does it equal the parent's? @object is a pid, or TRACK_SHMEM | id.
 * Quickest when the addresses of an object ascend.
 */
bool hashes_same(struct hashes *h, uint64_t object, uint64_t vaddr, const void *page);
/* What was remembered, into a checkpoint that is being built. */
int hashes_write(const struct hashes *h, int dirfd, struct err *err);
void hashes_free(struct hashes *h); /* safe on NULL */

#endif
