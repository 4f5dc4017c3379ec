/* ns - the namespaces of a task, by inode number: /proc/PID/ns (namespaces(7)). */
#ifndef PROC_NS_H
#define PROC_NS_H

#include "criu-lite/proc/proc.h"

enum proc_ns {
	PROC_NS_CGROUP,
	PROC_NS_IPC,
	PROC_NS_MNT,
	PROC_NS_NET,
	PROC_NS_PID,
	PROC_NS_PID_CHILDREN,
	PROC_NS_TIME,
	PROC_NS_TIME_CHILDREN,
	PROC_NS_USER,
	PROC_NS_UTS,
	PROC_N_NS,
};

/* ns[i] is 0 where the kernel has no such namespace, and for most of a zombie's. */
int proc_ns_read(const struct proc_dir *dir, uint64_t ns[PROC_N_NS], struct err *err);
/* Of one thread of @task those with a bit in @which; the others are 0. */
int proc_ns_read_thread(const struct proc_dir *task, pid_t tid, uint32_t which,
			uint64_t ns[PROC_N_NS], struct err *err);
/* The name as it stands in /proc/PID/ns: "mnt". */
const char *proc_ns_name(enum proc_ns which);

#endif
