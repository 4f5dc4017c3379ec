/*
 * children - /proc/PID/task/TID/children: who was started by which thread.
 *
 * On a running tree the kernel's list may miss a child while another one ends; on a
 * stopped one it is exact. pids in the reader's namespace. Where a task has many more
 * threads than there are processes, or the kernel has no such lists, the processes are
 * asked who their parent is; not where /proc is mounted with hidepid (proc(5)), as some may not
 * be seen there: without lists that is -E2BIG.
 */
#ifndef PROC_CHILDREN_H
#define PROC_CHILDREN_H

#include "criu-lite/proc/proc.h"

/* The children of all threads of a task, sorted, each once. Threads that end meanwhile are passed
 * over. free(*pids). */
int proc_children_read(const struct proc_dir *task, int **pids, size_t *n, struct err *err);
/* One thread's file, in its order. */
int proc_children_parse(const char *buf, size_t len, int **pids, size_t *n, struct err *err);

#endif
