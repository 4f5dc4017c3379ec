/*
 * births - who clones whom, so that parents, sessions and groups come out right.
 *
 * A session is only ever inherited or begun by setsid(2); a group is joined by
 * setpgid(2) within the session. So a task whose session is not its parent's is
 * cloned by the parent before that one's setsid, by a sibling in that session
 * (CLONE_PARENT), or by a *helper* that takes the pid of the dead leader and goes
 * again once everybody is where he belongs. Pure: nothing is run here.
 */
#ifndef RESTORE_BIRTHS_H
#define RESTORE_BIRTHS_H

#include "base/err.h"
#include "criu-lite/remote/tree.h"

struct birth {
	pid_t pid;
	struct task *task;    /* NULL: a helper */
	struct birth *by;     /* who clones it; NULL: the tool */
	struct birth *mother; /* whose child it is then; NULL: the tool's */
	bool as_sibling;      /* CLONE_PARENT */
	bool early;	      /* before the cloner's setsid */
	bool setsid;
	pid_t born_sid, sid;
	pid_t pgid;		 /* to be set; 0: nothing to do */
	struct newborn *newborn; /* restore/newborn.h: its leader, once it lives */
};

struct births {
	struct birth **birth; /* cloners before the cloned; a task's own is found by births_of */
	size_t n, cap;
};

/* The caller's own place, into which the tree is put. */
struct births_where {
	pid_t sid, pgid;
	bool shell_job; /* the tree's outer session and group become these */
	/* Does group @pgid live in session @sid, outside of the tree? May be NULL: no. */
	bool (*has_group)(pid_t pgid, pid_t sid);
};

/*
 * Parents come before children in @tree. ERR_REFUSED names the task whose session
 * or group cannot be rebuilt and why. Release in any case.
 */
int births_plan(struct births *out, const struct tree *tree, const struct births_where *where,
		struct err *err);
void births_release(struct births *b);
/* What its parent gets when it ends, 0 for nothing. */
int birth_exit_signal(const struct birth *n);
struct birth *births_of(const struct births *b, pid_t pid);

#endif
