/*
 * look - what /proc says of one frozen thread, read once for all kinds.
 *
 * The kinds look at a thread one after the other, so the last thread read is
 * kept. What is returned belongs to the saver and holds until another thread is
 * looked at.
 */
#ifndef TASK_LOOK_H
#define TASK_LOOK_H

#include "criu-lite/proc/ns.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/proc/status.h"
#include "criu-lite/task/kind.h"

/* What the tool itself is: what differs from it in a task may not be restorable. */
struct look_self {
	uint64_t ns[PROC_N_NS];
	char *label; /* of the security module; NULL where none is active */
	long n_cpus; /* that this machine has */
};

int look_dir(struct saver *s, struct thread *t, struct proc_dir **dir, struct err *err);
int look_stat(struct saver *s, struct thread *t, const struct proc_stat **st, struct err *err);
int look_self(struct saver *s, const struct look_self **self, struct err *err);
/* The label of @dir's task as /proc/PID/attr/current has it, without newline; NULL: none. */
int look_label(const struct proc_dir *dir, char **label, struct err *err);
void look_release(struct saver *s);

/* "task 99" or "task 99: thread 100", for refusals. @buf is as large as this. */
#define LOOK_NAME 48
const char *look_name(const struct thread *t, char buf[LOOK_NAME]);

#endif
