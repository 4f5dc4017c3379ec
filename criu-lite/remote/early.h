/*
 * early - what is learned of a tree while it still runs.
 *
 * Reading text for gadgets and finding out how long a thread has slept take
 * time that must not be taken inside the freeze. All of it is a hint: the tree
 * goes on changing, and what is used later is checked again then.
 */
#ifndef REMOTE_EARLY_H
#define REMOTE_EARLY_H

#include "base/err.h"
#include "criu-lite/arch/x86-64/gadget.h"
#include "criu-lite/proc/proc.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct early_task {
	pid_t pid;
	uint64_t start_time;
	struct gadgets gadgets;
	bool ended;   /* a zombie, or nearly one */
	bool cramped; /* room_is_scarce */
	bool rescue;  /* it was still letting itself go after an earlier tool had died */
};

/* A thread asleep with a timeout in a register. */
struct early_nap {
	pid_t tid;
	uint64_t slept_ns; /* when looked at, at .looked_ns of CLOCK_MONOTONIC */
	uint64_t looked_ns;
	uint64_t switches; /* how often it had left the processor by then */
};

/* All zeros is empty. */
struct early {
	struct early_task *task;
	size_t n_tasks, cap_tasks;
	struct early_nap *nap;
	size_t n_naps, cap_naps;
};

/*
 * Look at the tree of @root. Tasks of an earlier rescue are waited for until
 * @deadline_ns (CLOCK_MONOTONIC); -ETIMEDOUT names the one that does not end.
 */
int early_look(struct early *early, pid_t root, uint64_t deadline_ns, struct err *err);
void early_release(struct early *early);

/* What is known of this task, or NULL. */
const struct early_task *early_find(const struct early *early, pid_t pid, uint64_t start_time);

/*
 * How long the stopped thread @tid of @task had been asleep in one go, or 0 when it
 * is not certain.
 */
uint64_t early_slept_ns(const struct early *early, const struct proc_dir *task, pid_t tid);

#endif
