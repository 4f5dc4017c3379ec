/*
 * dump - the story of one checkpoint, told in order.
 *
 *	probe -> read early -> freeze -> look (refuse) -> enter, ask -> pages
 *	-> leave, thaw -> checksum, sync, publish
 *
 * Whatever fails, the tree goes on and the newest published checkpoint stays
 * what it was.
 */
#ifndef DUMP_DUMP_H
#define DUMP_DUMP_H

#include "base/err.h"
#include "base/progress.h"
#include "criu-lite/remote/remote.h"
#include "proto/criu-lite.pb-c.h"

struct dump_options {
	pid_t pid;
	const char *dir;  /* of the chain; plain: of this checkpoint */
	bool plain;	  /* images go into @dir itself */
	const char *prev; /* plain: the parent's directory, seen from @dir; may be NULL */
	bool memory_only; /* a pre-dump: what cannot be restored, but can be a parent */
	bool shell_job;	  /* terminals whose other side is outside may be saved */
	/* What else of the outside may be saved by name, and all pipes: file/outside.h */
	const char *const *external;
	size_t n_external;
	bool pipes_outside;
	const char *tracker; /* "auto" or a tracker's name */
	bool full;
	bool unprotected;
	unsigned timeout_ms;	       /* of the freeze */
	enum thaw after;	       /* what becomes of the tree */
	struct progress *progress;     /* may be NULL */
	void (*say)(const char *line); /* -v; may be NULL */
	/* More images, of the caller's, into the checkpoint being built. May be NULL. */
	int (*more)(void *arg, int dirfd, struct err *err);
	/* The checkpoint is safe on disk, the tree still held: a negative value withdraws
	 * the one (in a plain directory) and lets the other go on. May be NULL. */
	int (*published)(void *arg, struct err *err);
	void *arg;
};

/*
 * Make the next checkpoint of @opt->pid's tree in @opt->dir. On success *@made
 * describes what was published (sd_checkpoint__free_unpacked). ERR_REFUSED: something
 * in the tree cannot be saved; all of it is named in @err and nothing was
 * written. Must be called from a thread that holds no tracees.
 */
int dump(const struct dump_options *opt, SdCheckpoint **made, struct err *err);

#endif
