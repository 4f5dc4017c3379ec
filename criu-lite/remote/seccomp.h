/*
 * seccomp - a thread's filters: reading them, and what they say of a call.
 *
 * PTRACE_O_SUSPEND_SECCOMP lets our calls through only as long as the tool
 * lives. So that a thread can let itself go without the tool, the calls of the
 * rescue must pass its filters: they are run here, in C, as the kernel would.
 */
#ifndef REMOTE_SECCOMP_H
#define REMOTE_SECCOMP_H

#include "base/err.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct seccomp_filter {
	struct sock_filter *insn;
	size_t n;
	uint64_t flags; /* SECCOMP_FILTER_FLAG_*, as the kernel remembers them */
};

/* All zeros is empty: no seccomp. */
struct seccomp_filters {
	unsigned int mode;	       /* SECCOMP_MODE_* of linux/seccomp.h */
	struct seccomp_filter *filter; /* oldest first, as ptrace(2) counts them */
	size_t n;
};

/*
 * The filters of a stopped thread that we trace; none, when it has none. Strict mode is
 * not seen here (the caller may set .mode). -EACCES: the tool lacks CAP_SYS_ADMIN
 * or runs under a filter itself.
 */
int seccomp_read(pid_t tid, struct seccomp_filters *out, struct err *err);
void seccomp_release(struct seccomp_filters *filters);

/* One classic BPF program on one call: a SECCOMP_RET_* value with its data. Programs that
 * the kernel would not have loaded give SECCOMP_RET_KILL_PROCESS. */
uint32_t seccomp_run(const struct sock_filter *insn, size_t n, const struct seccomp_data *data);

/* Would the call be made, by all filters together? */
bool seccomp_allows(const struct seccomp_filters *filters, const struct seccomp_data *data);

#endif
