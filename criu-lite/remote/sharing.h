/*
 * sharing - tasks that have in common what a task mostly has to itself: memory, the
 * descriptor table, directories, signal handlers.
 *
 * No file tells; the kernel only compares two tasks, and gives their order (kcmp(2)). To
 * find the place of everybody outside of the tree among its tasks takes its time, so it is
 * done before the freeze, and in the freeze only for those who seemed to share something.
 * A task that is cloned in between by one of the tree is of the tree itself.
 */
#ifndef REMOTE_SHARING_H
#define REMOTE_SHARING_H

#include "base/err.h"
#include "criu-lite/remote/early.h"
#include "criu-lite/remote/tree.h"

enum { SHARED_KINDS = 4 };

/* Tasks in the order that the kernel has for one kind. */
struct sharing_order {
	pid_t *v;
	size_t n;
};

/* All zeros is empty. */
struct sharing {
	struct sharing_order order[SHARED_KINDS]; /* a hint: it saves comparing in the freeze */
	pid_t *outside;
	size_t n_outside, cap_outside;
};

/* Who shares something with a task of @early; those that we may not look at are passed over. */
void sharing_early(struct sharing *s, const struct early *early);
/* In the freeze: refuses by name all that share something, inside the tree or with outsiders. */
void sharing_check(const struct sharing *s, const struct tree *tree, struct refusals *refusals);
void sharing_release(struct sharing *s);

/* KCMP_* of two tasks or threads: 0 the same, 1 and 2 before and behind, below 0 nobody knows. */
int sharing_compare(pid_t a, pid_t b, int what);

#endif
