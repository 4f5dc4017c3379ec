/* ns.c - /proc/PID/ns: links that say "mnt:[4026531840]". */
#include "criu-lite/proc/ns.h"

#include <errno.h>
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

static int read_one(const struct proc_dir *dir, const char *name, uint64_t *ino, struct err *err)
{
	scoped char *path = xasprintf("ns/%s", name);
	scoped char *target = NULL;
	struct proc_link link;
	int rc = proc_readlink(dir, path, &target, err);

	*ino = 0;
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	proc_link_parse(target, &link);
	if (link.kind != PROC_LINK_NS)
		return err_set(err, -EINVAL, "%s: \"%s\" names no namespace", path, target);
	*ino = link.ino;
	return 0;
}

int proc_ns_read(const struct proc_dir *dir, uint64_t ns[PROC_N_NS], struct err *err)
{
	uint64_t found[PROC_N_NS];

	for (int i = 0; i < PROC_N_NS; i++) {
		int rc = read_one(dir, names[i], &found[i], err);

		if (rc < 0)
			return rc;
	}
	memcpy(ns, found, sizeof(found));
	return 0;
}
