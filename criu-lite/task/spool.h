/*
 * spool - bytes go into a file while the next ones are read.
 *
 * Writing new pages costs more than reading them, and both happen while a tree is
 * frozen. So a thread writes one buffer while the caller fills the other: get a
 * buffer, fill it, put it, get the next, and drain before the file is closed.
 * The thread starts with the second full buffer, so that small tasks never have
 * one; without it (none can be made) the caller writes. It makes no ptrace
 * requests, and signals do not reach it.
 *
 * Errors of writing (a negative errno; @err says what) come with the next put or
 * with drain; after one, nothing more is written.
 */
#ifndef TASK_SPOOL_H
#define TASK_SPOOL_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct spool;

struct spool *spool_new(size_t buffer_len);
/* The buffer to fill; it stays the same until it was put. */
char *spool_buffer(struct spool *s);
/* Write the first @len bytes of the buffer to @fd at @offset. */
int spool_put(struct spool *s, size_t len, int fd, uint64_t offset, struct err *err);
/* Until all that was put is in its file. */
int spool_drain(struct spool *s, struct err *err);
/* NULL is fine. What was put and not drained may be lost. */
void spool_free(struct spool *s);

#endif
