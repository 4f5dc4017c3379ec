/*
 * status - /proc/PID/status and /proc/PID/task/TID/status (proc_pid_status(5)).
 *
 * A line that the kernel always writes and that is missing is an error that
 * names it ("status: no SigBlk line").
 */
#ifndef PROC_STATUS_H
#define PROC_STATUS_H

#include "criu-lite/proc/proc.h"

struct proc_status {
	char name[64];	/* escapes decoded */
	uint32_t umask; /* ~0 when there is none (a zombie) */
	char state;
	int32_t tgid, ngid, pid, ppid;
	int32_t tracer;		 /* TracerPid; 0: nobody */
	uint32_t uid[4], gid[4]; /* real, effective, saved, file system */
	uint32_t *groups;
	size_t n_groups;
	int32_t ns_tgid, ns_pid, ns_pgid, ns_sid; /* in the task's own pid namespace */
	bool nested;				  /* more than one pid namespace deep */
	bool kthread;
	uint32_t threads;
	uint64_t sigq, sigq_limit;
	uint64_t sig_pending, shared_pending; /* bit N-1 is signal N */
	uint64_t sig_blocked, sig_ignored, sig_caught;
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	bool no_new_privs;
	uint32_t seccomp;	  /* SECCOMP_MODE_* */
	uint32_t seccomp_filters; /* since 5.9, else 0 */
	bool thp_enabled;	  /* PR_SET_THP_DISABLE not set; true where not shown */
	bool core_dumping;
	uint64_t untag_mask;   /* ~0 where not shown */
	uint32_t x86_features; /* bits PROC_X86_* */
	uint32_t x86_locked;   /* the same, locked */
	uint64_t vm_size_kb, vm_locked_kb, vm_rss_kb, vm_swap_kb,
		vm_pte_kb;     /* 0 where the task has no memory */
	uint8_t *cpus_allowed; /* bit N of byte N / 8 is CPU N; as sched_setaffinity wants it */
	size_t n_cpus_bytes;   /* a multiple of 8 */
};

#define PROC_X86_SHSTK 1 /* x86_Thread_features: shstk */
#define PROC_X86_WRSS  2
#define PROC_X86_OTHER 4 /* a word that is not in this list */

/* Release with proc_status_release. */
int proc_status_read(const struct proc_dir *dir, struct proc_status *out, struct err *err);
/* Of one thread; where it is all that is wanted of it, the thread's directory need not be opened. */
int proc_status_read_thread(const struct proc_dir *task, pid_t tid, struct proc_status *out,
			    struct err *err);
int proc_status_parse(const char *buf, size_t len, struct proc_status *out, struct err *err);
void proc_status_release(struct proc_status *status);

/* SIGKILL waits for it, or it is gone: whatever it looks like, it will not go on. */
bool proc_was_killed(const struct proc_dir *dir);

#endif
