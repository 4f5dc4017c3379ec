/*
 * limits - /proc/PID/limits (proc_pid_limits(5)): what prlimit(2) would say, and
 * readable where prlimit(2) on another user's task is refused.
 */
#ifndef PROC_LIMITS_H
#define PROC_LIMITS_H

#include "criu-lite/proc/proc.h"

#define PROC_N_LIMITS	16
#define PROC_LIMIT_NONE (~0ull) /* unlimited: RLIM_INFINITY */

struct proc_limit {
	uint64_t cur, max;
};

/* In the order of the resource numbers: limits[RLIMIT_CPU] ... limits[RLIMIT_RTTIME]. */
int proc_limits_read(const struct proc_dir *dir, struct proc_limit limits[PROC_N_LIMITS],
		     struct err *err);
int proc_limits_parse(const char *buf, size_t len, struct proc_limit limits[PROC_N_LIMITS],
		      struct err *err);

#endif
