/*
 * restore - the story of bringing a tree back, told in order.
 *
 *	read and check the images -> are the pids free -> births (every task and
 *	thread, empty) -> memory -> descriptors -> kinds, stage by stage -> frames
 *	-> the gate: all of them leave, or none
 *
 * sd-restore never turns into the process: it builds it from outside, by plans
 * that newborns run. Until the commit everything it made dies with it.
 */
#ifndef RESTORE_RESTORE_H
#define RESTORE_RESTORE_H

#include "base/err.h"
#include "criu-lite/task/kind.h"
#include "proto/criu-lite.pb-c.h"

struct restore_options {
	const char *dir;
	uint32_t seq;		  /* which checkpoint; 0: the newest */
	bool plain;		  /* @dir is a checkpoint by itself, whatever its name is */
	bool detach;		  /* the caller will end before the tree */
	bool sibling;		  /* the root becomes a child of the caller's parent */
	bool any_mode;		  /* the modes of files need not be what they were */
	bool stop;		  /* all of it is left stopped, as by SIGSTOP */
	bool shell_job;		  /* the outer session and group become the caller's */
	struct file_given *given; /* descriptors in place of files, see file/outside.h */
	size_t n_given;
	const char *pidfile;	       /* NULL: none; written before the commit */
	void (*say)(const char *line); /* -v; may be NULL */
	struct progress *progress;     /* may be NULL */
	/* Everything is there, nothing runs: a negative value ends it all. May be NULL. */
	int (*ready)(void *arg, pid_t root, struct err *err);
	void *arg;
};

struct restored {
	pid_t root;
	uint32_t seq;
	uint64_t tasks, threads, pages;
	uint64_t total_us;
	bool terminal_given; /* a group of the tree has it, where the caller's had it */
	SdPhase **phases;    /* owned */
	size_t n_phases;
};

/*
 * Restore the tree. On success the root is a child of the caller, running (or
 * stopped, if it was or shall be). On failure nothing is left of it; ERR_REFUSED: something in
 * it cannot be brought back here, named in @err; -EINTR: INT, TERM, HUP or QUIT came
 * before the commit (they are held back meanwhile, and then delivered). SIGCHLD must have its default
 * action, and the caller no other children that it wants to wait for.
 */
int restore(const struct restore_options *opt, struct restored *out, struct err *err);
void restored_release(struct restored *r);

#endif
