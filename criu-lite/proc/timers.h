/*
 * timers - /proc/PID/timers: the POSIX timers of a task (proc_pid_timers(5)). Their
 * times are not in it; timer_gettime(2) from inside the task tells them.
 */
#ifndef PROC_TIMERS_H
#define PROC_TIMERS_H

#include "criu-lite/proc/proc.h"

struct proc_timer {
	int32_t id;
	int32_t signo;
	uint64_t sival_ptr; /* the whole of union sigval */
	int32_t notify;	    /* SIGEV_*, with SIGEV_THREAD_ID where it was set */
	int32_t target;	    /* whom it signals: a pid, or a tid with SIGEV_THREAD_ID */
	int32_t clockid;    /* CLOCK_*; negative for another task's CPU clock */
};

/* In the kernel's order. free(*v). A kernel without the file: no timers are known, -ENOENT. */
int proc_timers_read(const struct proc_dir *dir, struct proc_timer **v, size_t *n, struct err *err);
int proc_timers_parse(const char *buf, size_t len, struct proc_timer **v, size_t *n,
		      struct err *err);

#endif
