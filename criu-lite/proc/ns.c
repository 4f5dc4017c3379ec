/* ns.c - /proc/PID/ns: links that say "mnt:[4026531840]". */
#include "criu-lite/proc/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "criu-lite/proc/fdinfo.h"

static const char *const names[PROC_N_NS] = {
	[PROC_NS_CGROUP] = "cgroup", [PROC_NS_IPC] = "ipc",
	[PROC_NS_MNT] = "mnt",	     [PROC_NS_NET] = "net",
	[PROC_NS_PID] = "pid",	     [PROC_NS_PID_CHILDREN] = "pid_for_children",
	[PROC_NS_TIME] = "time",     [PROC_NS_TIME_CHILDREN] = "time_for_children",
	[PROC_NS_USER] = "user",     [PROC_NS_UTS] = "uts",
};

const char *proc_ns_name(enum proc_ns which)
{
	return names[which];
}

static int read_one(int fd, const char *name, uint64_t *ino, struct err *err)
{
	char target[64];
	struct proc_link link;
	ssize_t n = readlinkat(fd, name, target, sizeof(target) - 1);

	*ino = 0;
	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0)
		return err_errno(err, "read link ns/%s", name);
	target[n] = 0;
	proc_link_parse(target, &link);
	if (link.kind != PROC_LINK_NS)
		return err_set(err, -EINVAL, "ns/%s: \"%s\" names no namespace", name, target);
	*ino = link.ino;
	return 0;
}

static int read_some(const struct proc_dir *dir, const char *folder, uint32_t which,
		     uint64_t ns[PROC_N_NS], struct err *err)
{
	scoped_fd fd = proc_openat(dir, folder, O_PATH | O_DIRECTORY);
	uint64_t found[PROC_N_NS] = {};

	if (fd < 0)
		return err_code(err, fd, "open %s", folder);
	for (int i = 0; i < PROC_N_NS; i++) {
		int rc = which >> i & 1 ? read_one(fd, names[i], &found[i], err) : 0;

		if (rc < 0)
			return rc;
	}
	memcpy(ns, found, sizeof(found));
	return 0;
}

int proc_ns_read(const struct proc_dir *dir, uint64_t ns[PROC_N_NS], struct err *err)
{
	return read_some(dir, "ns", ~0u, ns, err);
}

int proc_ns_read_thread(const struct proc_dir *task, pid_t tid, uint32_t which,
			uint64_t ns[PROC_N_NS], struct err *err)
{
	scoped char *folder = xasprintf("task/%d/ns", tid);

	return read_some(task, folder, which, ns, err);
}
