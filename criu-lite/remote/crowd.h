/*
 * crowd - tasks that take the same steps, each step in all of them before the next.
 *
 * What one of them was told to do it does while the others are told, and by the time the
 * last is, the first need not be waited for. A task in which a step has failed takes no
 * further one; the others do, so that it is known how far each has come. The first
 * failure is the one that is told.
 */
#ifndef REMOTE_CROWD_H
#define REMOTE_CROWD_H

#include "criu-lite/remote/tree.h"

struct crowd_member {
	struct task *task;
	int rc; /* of the step that failed */
};

struct crowd {
	struct crowd_member *member;
	size_t n, cap;
	int rc;		 /* of the first that failed */
	struct err *err; /* the caller's: why it did, with its name */
};

typedef int crowd_step(struct task *task, const void *arg, struct err *err);

void crowd_add(struct crowd *c, struct task *task);
void crowd_take(struct crowd *c, crowd_step *step, const void *arg);
void crowd_release(struct crowd *c);

#endif
