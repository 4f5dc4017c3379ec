/*
 * fdinfo - /proc/PID/fdinfo/FD (proc_pid_fdinfo(5)), and what a /proc/PID/fd
 * link says a descriptor is.
 */
#ifndef PROC_FDINFO_H
#define PROC_FDINFO_H

#include <time.h>

#include "criu-lite/proc/proc.h"

/* One target of an epoll instance. */
struct proc_epoll_item {
	int32_t tfd; /* the number it was added under: may be closed or be another file by now */
	uint32_t events;
	uint64_t data;
	int64_t pos;
	uint64_t ino;  /* of the target file, with sdev; 0 where the kernel does not say */
	uint32_t sdev; /* the kernel's own dev_t: major << 20 | minor */
};

struct proc_fdinfo {
	int64_t pos;
	uint32_t flags; /* open(2) flags with O_CLOEXEC (of this descriptor) and O_LARGEFILE */
	int32_t mnt_id;
	uint64_t ino; /* since 5.14, else 0 */

	bool is_eventfd;
	uint64_t eventfd_count;
	int32_t eventfd_id;	   /* since 5.2; -1 where not shown */
	int32_t eventfd_semaphore; /* 0 or 1; -1 where not shown */

	bool is_signalfd;
	uint64_t sigmask; /* bit N-1 is signal N */

	bool is_timerfd;
	int32_t clockid;
	uint64_t ticks;
	uint32_t settime_flags;	  /* TFD_TIMER_* */
	struct timespec it_value; /* the time left, even of an absolute timer */
	struct timespec it_interval;

	struct proc_epoll_item *epoll; /* an epoll instance without targets looks like any file */
	size_t n_epoll;

	bool is_pidfd;
	int32_t pidfd_pid; /* -1: the task has been reaped; 0: not in our namespace */

	size_t n_inotify;  /* watches */
	size_t n_fanotify; /* lines: marks and flags */
	size_t n_locks; /* "lock:" lines: flock, fcntl and leases held through this description */
};

/* Release with proc_fdinfo_release. */
int proc_fdinfo_read(const struct proc_dir *dir, int fd, struct proc_fdinfo *out, struct err *err);
int proc_fdinfo_parse(const char *buf, size_t len, struct proc_fdinfo *out, struct err *err);
void proc_fdinfo_release(struct proc_fdinfo *info);

/*
 * What a link in /proc/PID/fd names. A path is only a claim: whether it is a
 * file, a directory or a device, and whether it still is the same one, fstat
 * says.
 */
enum proc_link_kind {
	PROC_LINK_OTHER,  /* none of the forms below */
	PROC_LINK_PATH,	  /* "/home/x" */
	PROC_LINK_DEV,	  /* a path below /dev/ */
	PROC_LINK_PIPE,	  /* "pipe:[INO]" */
	PROC_LINK_SOCKET, /* "socket:[INO]" */
	PROC_LINK_ANON,	  /* "anon_inode:[NAME]" or "anon_inode:NAME" */
	PROC_LINK_MEMFD,  /* "/memfd:NAME (deleted)" */
	PROC_LINK_NS,	  /* "mnt:[INO]" and its kin */
};

struct proc_link {
	enum proc_link_kind kind;
	uint64_t ino;	  /* PIPE, SOCKET, NS */
	const char *name; /* into the link: ANON, MEMFD, NS without decoration; else the whole */
	size_t name_len;
	bool deleted; /* a PATH or DEV that ends in " (deleted)", which name_len leaves out */
};

void proc_link_parse(const char *link, struct proc_link *out);
/* Whether it is "anon_inode:[@name]" in either spelling. */
bool proc_link_is_anon(const struct proc_link *link, const char *name);

#endif
