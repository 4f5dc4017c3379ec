/*
 * remote - stop the tasks of a tree, run plans inside them, let them go.
 *
 * The order: freeze, (enter, run..., leave), thaw. Whatever happens to the tool
 * between freeze and thaw - SIGKILL at any instant included - every task goes
 * on as if nothing had been: see Documentation/design.md, "Rescue".
 *
 * ptrace(2) requests are taken from the thread that attached only, so all of
 * these are called from one thread. Functions return 0 or a negative errno and
 * fill @err with the task and what to do; after a failure the caller thaws,
 * which is safe in every state.
 */
#ifndef REMOTE_REMOTE_H
#define REMOTE_REMOTE_H

#include "base/err.h"
#include "criu-lite/remote/plan.h"
#include "criu-lite/remote/tree.h"

struct freeze_options {
	unsigned timeout_ms; /* for the whole freeze */
	bool unprotected;    /* go on where a task could not rescue itself */
};

/*
 * Stop every thread of the tree rooted at @root; fills @tree with tasks and
 * threads (state, ids, exit codes, start times, proc, pidfd) and gives every
 * live thread a tracee whose interrupted system call is settled. Refuses by
 * name (@refusals) tasks that cannot be held: traced by another, 32-bit,
 * kernel threads, shadow stacks in use, threads with their own files or fs, tasks that
 * share theirs or their memory with another, inside of the tree or outside,
 * filters that would forbid the rescue. -ETIMEDOUT names the task it waited for.
 */
int tree_freeze(struct tree *tree, pid_t root, const struct freeze_options *opt,
		struct refusals *refusals, struct err *err);

/* When the first thread was interrupted, in ns of CLOCK_MONOTONIC; 0 when nothing is held. */
uint64_t tree_frozen_since(const struct tree *tree);

/*
 * Let every thread go on (leave first if entered). @how stops or kills instead; killed
 * tasks have ended on return, those that the kernel holds for longer than 10 s apart.
 */
enum thaw { THAW_RUN, THAW_STOP, THAW_KILL };
int tree_thaw(struct tree *tree, enum thaw how, struct err *err);

/*
 * Enter @task: rescue frames, scratch, the runner in the leader. After this
 * plans run in the leader; leave undoes it all. The address range of scratch is
 * free in the task before and after; it is not in the maps read before.
 */
int remote_enter(struct task *task, const struct freeze_options *opt, struct err *err);
/* The same for every live task of a tree; after an error some are entered. */
int remote_enter_all(const struct tree *tree, const struct freeze_options *opt, struct err *err);
int remote_leave(struct task *task, struct err *err);
/* Every task that is inside; after an error none is, but for what could not be undone. */
int remote_leave_all(const struct tree *tree, struct err *err);

/* An empty plan whose data address is right for the leader of @task. */
void remote_plan_init(struct task *task, struct plan *p);
/*
 * Hand a plan over; wait for it. Start all tasks' plans before waiting for the first. Whose
 * task it is, remote_enter and remote_leave say in @err; what is run in between is the
 * caller's, and so is its name.
 */
int remote_start(struct task *task, struct plan *p, struct err *err);
int remote_finish(struct task *task, struct plan *p, struct err *err);
int remote_run(struct task *task, struct plan *p, struct err *err);

/*
 * Every other thread of @task runs a plan, in groups as many as frames fit:
 * @ask adds the rows for one thread, @answer reads the results.
 */
struct remote_each {
	void (*ask)(struct thread *t, struct plan *p, void *arg);
	int (*answer)(struct thread *t, struct plan *p, void *arg, struct err *err);
	void *arg;
};
int remote_threads(struct task *task, const struct remote_each *each, struct err *err);

/*
 * Pages of the leader's stack that hold our frames while we are inside (zero
 * before and after) or dead frames of an earlier rescue: [*start, *end) is
 * left out of images.
 */
void remote_frame_pages(const struct task *task, uint64_t *start, uint64_t *end);
/* Write the mark of a page of frames into the last 16 bytes of @page, which will lie at @addr. */
void remote_mark_page(void *page, uint64_t addr);

#endif
