/*
 * timens - /proc/PID/timens_offsets (time_namespaces(7)): how far the clocks of
 * the task's children are ahead of the machine's.
 */
#ifndef PROC_TIMENS_H
#define PROC_TIMENS_H

#include "criu-lite/proc/proc.h"

struct proc_timens {
	struct timespec monotonic, boottime; /* tv_sec may be negative, tv_nsec not */
};

/* -ENOENT where the kernel has no time namespaces. */
int proc_timens_read(const struct proc_dir *dir, struct proc_timens *out, struct err *err);
int proc_timens_parse(const char *buf, size_t len, struct proc_timens *out, struct err *err);

#endif
