/*
 * values - the files of /proc/PID that hold one value, and a few that hold little more.
 */
#ifndef PROC_VALUES_H
#define PROC_VALUES_H

#include "criu-lite/proc/proc.h"

int proc_personality_read(const struct proc_dir *dir, uint32_t *out, struct err *err);
/* -1000 to 1000 */
int proc_oom_score_adj_read(const struct proc_dir *dir, int32_t *out, struct err *err);
/* ~0: not set. -ENOENT where the kernel has no audit. */
int proc_loginuid_read(const struct proc_dir *dir, uint32_t *out, struct err *err);
/* Nanoseconds; of the leader, or of a thread through /proc/TID (not task/TID). */
int proc_timerslack_read(const struct proc_dir *dir, uint64_t *out, struct err *err);
/* -20 to 19. -ENOENT or -ENODATA where sessions are not grouped. */
int proc_autogroup_read(const struct proc_dir *dir, int32_t *out, struct err *err);
int proc_autogroup_parse(const char *buf, size_t len, int32_t *out, struct err *err);
/* Bits as in core(5). -ESRCH or -ENODATA in a zombie. */
int proc_coredump_filter_read(const struct proc_dir *dir, uint32_t *out, struct err *err);

/*
 * se.exec_start of /proc/PID/sched or task/TID/sched, in nanoseconds of the scheduler's clock:
 * when it last began to run. -ENOENT where the kernel or the file has none.
 */
int proc_exec_start_read(const struct proc_dir *dir, uint64_t *ns, struct err *err);
int proc_exec_start_parse(const char *buf, size_t len, uint64_t *ns, struct err *err);

/* /proc/PID/syscall: where a task sleeps. */
struct proc_syscall {
	bool running; /* nothing else is known */
	int64_t nr;   /* -1: stopped or sleeping outside a call; args are 0 then */
	uint64_t args[6];
	uint64_t sp, pc;
};

int proc_syscall_read(const struct proc_dir *dir, struct proc_syscall *out, struct err *err);
int proc_syscall_parse(const char *buf, size_t len, struct proc_syscall *out, struct err *err);

/* Which start of the machine this is: 36 characters that no other has. free(*out). */
int proc_boot_id_read(char **out, struct err *err);

/* The kernel function it sleeps in, "0" when none; free(*out). */
int proc_wchan_read(const struct proc_dir *dir, char **out, struct err *err);

/* A file that holds one number and a newline: decimal (a minus is taken) or hexadecimal. */
int proc_number_parse(const char *buf, size_t len, int64_t *out, struct err *err);
int proc_hex_parse(const char *buf, size_t len, uint64_t *out, struct err *err);

#endif
