/*
 * clocks - CLOCK_MONOTONIC and CLOCK_BOOTTIME, which go on from where the tree saw them last.
 *
 * They begin anew with the machine: a tree restored after that would see time run
 * backwards, and wait for ages. timens-0.img has what they said in the
 * freeze; a restored tree lives in a time namespace (time_namespaces(7)) of its
 * own in which they continue from there.
 */
#ifndef TASK_CLOCKS_H
#define TASK_CLOCKS_H

#include "criu-lite/task/kind.h"

/* Write timens-0.img into s->dirfd, after the root was looked at. */
int clocks_write(struct saver *s, struct err *err);

/*
 * Between these two, what this process clones has the clocks of the checkpoint
 * in @dirfd (if it says anything of clocks). ERR_REFUSED: this kernel has no time
 * namespaces, and its clocks are behind; when they are ahead, @say (may be NULL) tells that they jump.
 * *@home: for clocks_leave, which may be called in any case.
 */
int clocks_enter(int *home, int dirfd, void (*say)(const char *line), struct err *err);
void clocks_leave(int *home);

#endif
