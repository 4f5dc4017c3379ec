/*
 * stat - /proc/PID/stat and /proc/PID/task/TID/stat (proc_pid_stat(5)).
 *
 * Fields that the kernel hides from us (ptrace access) or that the task no
 * longer has (a zombie's memory) are 0. pids are in the reader's namespace.
 */
#ifndef PROC_STAT_H
#define PROC_STAT_H

#include "criu-lite/proc/proc.h"

struct proc_stat {
	int32_t pid;
	char comm[64]; /* may hold blanks, brackets, newlines; kernel workers have up to 63 bytes */
	char state;    /* R S D Z T t X I P ... */
	int32_t ppid, pgrp, session;
	int32_t tty_nr; /* new_encode_dev(); 0: no terminal */
	int32_t tpgid;	/* -1: none */
	uint32_t flags; /* PF_* */
	uint64_t minflt, cminflt, majflt, cmajflt;
	uint64_t utime, stime; /* clock ticks */
	int64_t cutime, cstime;
	int64_t priority, nice;
	int64_t num_threads;
	int64_t itrealvalue;
	uint64_t starttime; /* clock ticks since boot: with the pid, who it is */
	uint64_t vsize;
	int64_t rss; /* pages */
	uint64_t rsslim;
	uint64_t start_code, end_code, start_stack;
	uint64_t kstkesp, kstkeip;
	uint64_t signal, blocked, sigignore, sigcatch; /* low 31 signals: use status.h */
	uint64_t wchan, nswap, cnswap;
	int32_t exit_signal; /* to the parent when it ends; -1 for a thread */
	int32_t processor;
	uint32_t rt_priority, policy; /* SCHED_* */
	uint64_t delayacct_blkio_ticks;
	uint64_t guest_time;
	int64_t cguest_time;
	uint64_t start_data, end_data, start_brk;
	uint64_t arg_start, arg_end, env_start, env_end;
	int32_t exit_code; /* as wait(2) would give it */
};

int proc_stat_read(const struct proc_dir *dir, struct proc_stat *out, struct err *err);
int proc_stat_parse(const char *buf, size_t len, struct proc_stat *out, struct err *err);

/* It runs no code of its own any more: a zombie, or on its way to be one. */
bool proc_stat_exiting(const struct proc_stat *st);
bool proc_stat_kernel_thread(const struct proc_stat *st);

#endif
