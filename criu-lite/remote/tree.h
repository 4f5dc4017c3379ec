/*
 * tree - the tasks and threads of one tree, as both stories see them.
 *
 * What is saved of a task is the image messages themselves: dump fills them
 * from the kernel, restore loads them from files, and nothing else describes a
 * task's state. Parents come before their children in tree.task.
 */
#ifndef REMOTE_TREE_H
#define REMOTE_TREE_H

#include "base/err.h"
#include "proto/core.pb-c.h"
#include "proto/criu-lite.pb-c.h"
#include "proto/files.pb-c.h"
#include "proto/fs.pb-c.h"
#include "proto/ids.pb-c.h"
#include "proto/mm.pb-c.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_dir;
struct proc_status;
struct proc_vma;
struct tracee;	    /* remote: one thread's ptrace side, see remote.h */
struct task_remote; /* remote: one task's scratch and frames */

enum task_state { TASK_ALIVE = 1, TASK_DEAD = 2, TASK_STOPPED = 3 }; /* as in images */

struct thread {
	pid_t tid;
	size_t index; /* in task->thread */
	struct task *task;
	CoreEntry *core;	    /* owned; in a leader with .tc, .ids stays NULL */
	SdTaskExtra *extra;	    /* owned; our own additions, see criu-lite.proto */
	struct proc_status *status; /* dump: read when the whole tree had stopped; owned */
	uint64_t *ns;		    /* dump, task/namespaces.c: which it is in; owned */
	struct tracee *tracee;
	pid_t decoy; /* task/landlock.c: whom it should be able to look at; 0: nobody */
};

struct task {
	pid_t pid, ppid, pgid, sid;
	bool has_terminal;   /* a controlling one */
	struct task *parent; /* NULL for the root */
	enum task_state state;
	int exit_code;	     /* wait status, of a dead task */
	int exit_signal;     /* sent to the parent at exit, SIGCHLD as a rule */
	int stop_signal;     /* of a stopped task */
	uint64_t start_time; /* clock ticks since boot: tells a pid from its next owner */

	struct thread **thread; /* [0] is the leader; a dead task has just that one */
	size_t n_threads, cap_threads;

	/* Dump: an open /proc/PID and a pidfd of it; NULL and -1 at restore. */
	struct proc_dir *proc;
	int pidfd;
	struct proc_vma *vma; /* read when the whole tree had stopped; owned */
	size_t n_vmas;

	/* The task's messages; owned. */
	MmEntry *mm;
	FsEntry *fs;
	TaskKobjIdsEntry *ids;
	FdinfoEntry **fdinfo;
	size_t n_fdinfo;
	struct task_files *files; /* dump, file/state.h: what was read ahead */

	struct task_remote *remote;
	struct task_memory *memory; /* task/memory.c: VMAs and what is in them */
};

struct tree {
	struct task **task; /* [0] is the root */
	size_t n_tasks, cap_tasks;
	struct tree_hold
		*hold; /* remote: what the tool changed in itself while it holds the tree */
};

#define for_each_task(t, tree)                                                                     \
	for (size_t t##_i = 0; t##_i < (tree)->n_tasks && ((t) = (tree)->task[t##_i]); t##_i++)
#define for_each_live_task(t, tree)                                                                \
	for_each_task (t, tree)                                                                    \
		if ((t)->state != TASK_DEAD)
#define for_each_thread(t, of)                                                                     \
	for (size_t t##_i = 0; t##_i < (of)->n_threads && ((t) = (of)->thread[t##_i]); t##_i++)

/* Append an empty task / thread; they stay where they are in memory. */
struct task *tree_add_task(struct tree *tree, pid_t pid);
struct thread *task_add_thread(struct task *task, pid_t tid);
struct task *tree_find(const struct tree *tree, pid_t pid);
/* What /proc said of it when the tree had stopped; read now if that was not done. Stays owned by it. */
int thread_status(struct thread *t, const struct proc_status **status, struct err *err);
/* The same of its mappings. */
void task_forget_maps(struct task *task); /* they have changed */
int task_maps(struct task *task, const struct proc_vma **v, size_t *n, struct err *err);
/* All threads of all live tasks, in order; free(*all). */
void tree_threads(const struct tree *tree, struct thread ***all, size_t *n);
/* Frees messages and memory; what remote holds must have been let go before. */
void tree_release(struct tree *tree);

static inline struct thread *task_leader(const struct task *task)
{
	return task->thread[0];
}

#endif
