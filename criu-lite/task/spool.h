/*
 * spool - pages read from a frozen tree wait in memory until they can go to their files.
 *
 * Making new file pages costs more than reading the old ones, and the tree stands
 * still meanwhile. So what is expected to be read has room here, made before the
 * freeze: then the caller does nothing but read in the window. A thread writes at the same
 * time where there is a processor for it, and never makes the caller wait; spool_drain, after
 * the thaw, waits for it or writes. When there is more than expected, a thread starts to write in any case while
 * the caller goes on reading; the caller then sums, because it is the one that waits.
 * The thread makes no ptrace requests, and signals do not reach it.
 *
 *	spool_adopt(s, w);
 *	spool_room(s, &to, &err);	fill up to SPOOL_ROOM bytes
 *	spool_put(s, len, w);		and again
 *	spool_close(s, w);		and the next pagemap
 *	spool_drain(s, &err);		all of it is in its files
 *
 * The writer is the spool's from spool_adopt on; until spool_close the caller adds
 * runs to it. Errors of writing come with a later spool_room or with spool_drain;
 * after one, nothing more is written.
 */
#ifndef TASK_SPOOL_H
#define TASK_SPOOL_H

#include "images/chain.h"
#include "images/pagemap.h"

#define SPOOL_ROOM ((size_t)1 << 20) /* small: between reading and writing it stays in the cache */

struct spool;

/* @expected bytes; 0: nobody knows. Beyond a limit, which may be too much to hold, as if 0. */
struct spool *spool_new(size_t expected);
/* More than is held: whoever reads it will wait for the writer. */
bool spool_too_much(size_t expected);
void spool_adopt(struct spool *s, struct pages_writer *w);
/* Where SPOOL_ROOM bytes may be put, in one put or in several. */
int spool_room(struct spool *s, char **room, struct err *err);
/* The next @len bytes of the room belong to @w. */
void spool_put(struct spool *s, size_t len, struct pages_writer *w);
/* @len bytes that lie elsewhere, until spool_free, belong to @w. */
void spool_lend(struct spool *s, const char *from, size_t len, struct pages_writer *w);
/* All of @w was put. */
void spool_close(struct spool *s, struct pages_writer *w);
int spool_drain(struct spool *s, struct err *err);
/* After spool_drain: the sums of all that was written, for the chain. */
void spool_give_sums(struct spool *s, struct chain *c);
/* NULL is fine. What was not drained may be lost. */
void spool_free(struct spool *s);

#endif
