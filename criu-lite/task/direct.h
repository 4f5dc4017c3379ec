/*
 * direct - whether a task may be in a read that goes past all caches into its pages: the kernel
 * pins them, takes the fault for a store at the beginning of the call, and what comes from a
 * device or another process later is in no page table. No tracker sees it; once the call is
 * over, and in the freeze each is, the pages are what they are.
 */
#ifndef TASK_DIRECT_H
#define TASK_DIRECT_H

#include <stdbool.h>

#include "criu-lite/proc/proc.h"

/* By its descriptors: that it cannot is certain, that it can is not. */
bool reads_directly(const struct proc_dir *dir);

#endif
