/*
 * keeper - holds a tree's userfaultfds from one dump to the next.
 *
 * A small process of its own: own session, no inherited descriptors, cwd /. It
 * listens on /run/criu-lite/NAME (directory 0700) and hands copies of its
 * descriptors to root or its own user, nobody else (SO_PEERCRED, unix(7)). It
 * ends when the last task it holds a descriptor for has ended, or when it is
 * told to. When it is gone so is the tracking: the next dump is full.
 */
#ifndef TRACK_KEEPER_H
#define TRACK_KEEPER_H

#include "base/err.h"

#include <stdint.h>
#include <sys/types.h>

#define KEEPER_DIR "/run/criu-lite"
#define KEEPER_MAX 16384 /* tasks */

/* One address space: whose it is and the descriptor that tracks it. */
struct kept {
	pid_t pid;
	uint64_t start_time;
	int fd;
	int pidfd; /* tells when it ends; not handed out: -1 in what keeper_take gives */
};

/* A valid name: letters, digits, '-'; at most 80. Names in records are untrusted. */
int keeper_name_ok(const char *name);

/*
 * Start a keeper called @name for @n tasks. It has its own copies of the
 * descriptors; the caller's stay open. Returns once it listens and holds nothing else.
 */
int keeper_start(const char *name, const struct kept *kept, size_t n, struct err *err);

/* Copies of all it holds; the caller frees *@kept and closes the descriptors. -ENOENT: gone. */
int keeper_take(const char *name, struct kept **kept, size_t *n, struct err *err);

/* Tell it to end; that it is gone already is fine. */
void keeper_end(const char *name);

#endif
