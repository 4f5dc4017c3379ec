/*
 * kind - what a task is made of besides memory and descriptors.
 *
 * One kind a file, save and rebuild side by side, one row in task_kinds[].
 *
 * Saving, on a frozen tree: look (from outside; refuses by name before anything
 * is written), ask (rows for the thread itself), save (answers and /proc into
 * the messages), recheck (from outside, when threads are only held again: what may have
 * changed since it was looked at). Rebuilding, in a newborn: rebuild (rows), then outside (what
 * needs no code in the task: /proc files, prlimit, sched_setattr), stage by
 * stage over the whole tree.
 */
#ifndef TASK_KIND_H
#define TASK_KIND_H

#include "base/err.h"
#include "base/progress.h"
#include "criu-lite/file/file.h"
#include "criu-lite/remote/batch.h"
#include "criu-lite/remote/plan.h"
#include "criu-lite/remote/tree.h"
#include "images/chain.h"
#include "proto/seccomp.pb-c.h"

struct page_counts {
	uint64_t used, written, parent;
};

struct saver {
	struct tree *tree;
	struct refusals *refusals;
	struct file_save *files;
	bool unprotected;
	struct seccomp_save *seccomp; /* task/seccomp.c: the pool of filters */
	struct memory_save *memory;   /* task/memory.c */
	struct look *look;	      /* task/look.c: the thread looked at last */
	struct decoys *decoys;	      /* task/landlock.c */
	struct track *track;
	struct progress *progress; /* may be NULL */
	int dirfd;		   /* the checkpoint being built; -1 before pages are written */
	struct chain_at parent;	   /* whose pages need not be written again; dirfd -1: none. Before
				    * the freeze a guess. */
	uint64_t pages_used, pages_written, pages_parent, pages_zero;
	uint64_t time_ns;	   /* task/namespaces.c: the one that all tasks must be in */
	int64_t clock_ns[2];	   /* task/clocks.c: what the tree saw in the freeze */
	struct page_counts shared; /* of these, pages of shared memory */
};

struct builder {
	struct tree *tree;
	struct file_build *files;
	int dirfd;	 /* the checkpoint restored */
	int chain_dirfd; /* its parents lie beside it */
	uint32_t seq;
	struct progress *progress; /* may be NULL */
	uint64_t pages;		   /* filled with what is in images */
	SeccompEntry *seccomp;
	struct memory_build *memory; /* task/memory.c */
	struct proc_status *self;    /* task/creds.c: what this program is */
};

enum rebuild_stage {
	STAGE_EARLY,   /* before descriptors: limits that make room, umask, ... */
	STAGE_STATE,   /* descriptors and memory are there; still all-powerful */
	STAGE_TIMERS,  /* as late as may be, so that no time is lost */
	STAGE_SECCOMP, /* filters: suspended while we hold the task */
	STAGE_CREDS,   /* from here the thread is no longer root */
	STAGE_LAST,    /* what a change of credentials would undo: dumpable, pdeathsig */
	STAGES,
};

struct task_kind {
	const char *name;
	bool every_thread; /* else once a task, in its leader */
	enum rebuild_stage stage;

	/* A file of /proc/PID that look reads of a leader: kinds_read reads it ahead. */
	const char *file;
	int (*look)(struct saver *s, struct thread *t, struct err *err);
	/* Returns a cookie for save, as a rule the address of the answers. At most 16 rows and
	 * 512 bytes for every_thread kinds, 64 rows and 4096 bytes for others. */
	uint64_t (*ask)(struct thread *t, struct plan *p);
	/* @p holds the results of ask. Leader kinds may run more plans by remote_run. */
	int (*save)(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		    struct err *err);
	/* @asked_ns: when the first thread was asked, see now_ns. */
	int (*recheck)(struct thread *t, uint64_t asked_ns, struct err *err);

	int (*rebuild)(struct builder *b, struct thread *t, struct batch *batch, struct err *err);
	int (*outside)(struct builder *b, struct thread *t, struct err *err);
};
extern const struct task_kind *const task_kinds[]; /* ends with NULL; rebuilt in this order */

/* Before the freeze: what the kinds compare tasks with. Optional, but it takes time from it. */
int kinds_early(struct saver *s, pid_t root, struct err *err);
/*
 * Before the first look: what is read of a thread in /proc, by several threads of ours. What
 * nobody looked at then, kinds_forget drops.
 */
int kinds_read(struct thread *t, struct err *err);
void kinds_forget(struct task *task);
/* What the kinds keep in @s; after the last look and save. */
void kinds_save_release(struct saver *s);

/* What the kinds keep in @b; after the last rebuild. */
void kinds_build_release(struct builder *b);

/* Messages with every required field set and all sub-messages present, zeroed. */
CoreEntry *core_new(bool leader);
/* All there is of a dead task: state, exit code, name. */
int dead_look(struct saver *s, struct task *task, struct err *err);
SdTaskExtra *extra_new(const struct thread *t);

#endif
