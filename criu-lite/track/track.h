/*
 * track - what tells written pages from unwritten ones.
 *
 * One contract, one file a tracker, one table (track_table): soft-dirty,
 * wp-async, hash, none. Used once per dump, on a frozen tree whose leaders have
 * been entered (so that a tracker may run plans in them):
 *
 *	track_open -> per task: track_scan (which also arms for the next time) ->
 *	track_close (hands what must live on to the keeper)
 *
 * All addresses and lengths are bytes, page aligned; ranges are [start, end).
 */
#ifndef TRACK_TRACK_H
#define TRACK_TRACK_H

#include "base/err.h"
#include "criu-lite/remote/batch.h"
#include "criu-lite/remote/tree.h"

struct track;

/* A mapping whose pages may be saved. Ascending, not overlapping. */
struct track_vma {
	uint64_t start, end;
	bool shared; /* shmem/memfd: the same pages may be written through other tasks */
	bool file;   /* private file mapping: only its anonymous (written) pages count */
};

/* Populated pages that count; what is in no run is absent: a hole or an untouched file page. */
struct track_run {
	uint64_t start, end;
	bool written; /* since the last arm; false: in parent */
};

struct track_runs {
	struct track_run *run;
	size_t n, cap;
};

struct track_request {
	const char *name;     /* "auto" or a tracker's name */
	const char *full;     /* everything is to be written, because; arm only */
	const char *chain_id; /* hex text */
	uint32_t seq;	      /* the checkpoint being made, or the one being restored */
	uint32_t newest;      /* highest published number, 0: none */
	int chain_dirfd;      /* where the durable `armed` record lies */
	/*
	 * A checkpoint in a plain directory: its chain_id is its own, its parent is the
	 * directory @parent_dirfd (-1: none) with the id @parent_id and an `armed` of its own.
	 */
	bool plain;
	bool again; /* this program began the same checkpoint already, and has let the tree go */
	const char *parent_id; /* "": not one of ours */
	int parent_dirfd;
};

/*
 * Choose and probe a tracker before the freeze. *@full_reason says why every
 * page will be written although a parent exists (static or owned by @out; NULL
 * when this is an increment): no tracker, other parent, pid reused, keeper gone.
 * A tracker forced by name that does not work here: an error that says why.
 */
int track_open(struct track **out, const struct track_request *rq, struct err *err);
const char *track_name(const struct track *t);
/* The tracker that @name ("auto" or a name) stands for here; NULL: it does not work. */
const char *track_choice(const char *name);
/*
 * Before the freeze, and so only a guess: how many private pages of the task have been
 * written. UINT64_MAX: as many as there are. @armed: all that was tracked was armed just now.
 */
uint64_t track_expect(const struct track *t, const struct proc_dir *dir, bool armed);
const char *track_full_reason(const struct track *t);
/* After the last scan: of each task that could not be tracked a line, "task 7: why". The
 * lines and what holds them are the caller's from here on. */
size_t track_take_untracked(struct track *t, char ***lines);
/* The checkpoint that this one is an increment on: the one that the tracker was armed for, be
 * it the newest or the one restored last. 0: a full dump. */
uint32_t track_parent(const struct track *t);

/*
 * Before the freeze (pid, start_time and proc are looked at): what @task has written
 * since the parent, at most @most pages; and arm again. From then on "written" means: since here.
 * So what was read of these pages after this call is what they hold in the freeze, unless
 * track_scan calls them written. No runs: nothing was armed, for whatever reason.
 */
void track_early(struct track *t, const struct task *task, uint64_t most, struct track_runs *runs);

/*
 * On the frozen tree, not yet entered: decide whether this can be an increment (armed record, start
 * times, boot id, canaries). After this, track_full_reason is final.
 */
int track_begin(struct track *t, struct tree *tree, struct err *err);

/*
 * Which pages of @task's mappings are populated and which were written since
 * the last arm; and arm again. Mappings unknown to the tracker are all written.
 * A tracker that compares contents (hash) reports everything written and says
 * so by track_compares: the page writer then asks track_same per page.
 */
int track_scan(struct track *t, struct task *task, const struct track_vma *vma, size_t n_vma,
	       struct track_runs *runs, struct err *err);
bool track_compares(const struct track *t);
/*
 * Hash tracker: remember @page (4096 bytes) at @vaddr of @object (a pid, or TRACK_SHMEM |
 * the shared object's id) for the next dump; true when it equals the parent's.
 */
#define TRACK_SHMEM ((uint64_t)1 << 63)
bool track_same(struct track *t, uint64_t object, uint64_t vaddr, const void *page);

/* After leaving, before the thaw: rewrite the canary byte of each address space. */
int track_end(struct track *t, struct tree *tree, struct err *err);
/* After the thaw: the tracker's own files, into the checkpoint being built. */
int track_write(struct track *t, int dirfd, struct err *err);
/*
 * After the checkpoint is published (@published) or given up: hand descriptors to
 * the keeper, write hashes and the armed record, or drop them. Frees @t.
 */
int track_close(struct track *t, struct tree *tree, bool published, struct err *err);

/*
 * After a restore of checkpoint rq.seq: arm, so that the next dump is an increment on it. Between
 * track_open and track_close, in place of begin, scan and end, once a task; its
 * memory is filled, plans run in it by @batch, task->proc and task->pidfd are set.
 * @canary: a byte in its stack that will be written once more before it goes; 0: none.
 */
int track_arm(struct track *t, struct task *task, struct batch *batch, const struct track_vma *vma,
	      size_t n_vma, uint64_t canary, struct err *err);

void track_runs_release(struct track_runs *r);

#endif
