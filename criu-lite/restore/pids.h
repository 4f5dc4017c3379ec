/*
 * pids - are the numbers that the tree needs free, and who has them if not?
 */
#ifndef RESTORE_PIDS_H
#define RESTORE_PIDS_H

#include "criu-lite/restore/births.h"

/* -EEXIST names the number and who has it: one of the tree's, or one a helper needs. */
int pids_check(const struct births *births, const struct tree *tree, struct err *err);
/* "pid 99 is taken by NAME ...": what clone3(2) means by -EEXIST; returns that. */
int pid_taken(pid_t pid, struct err *err);

#endif
