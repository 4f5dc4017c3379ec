/* direct.c - descriptors that are read past the kernel's caches. */
#include "criu-lite/task/direct.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/proc/fdinfo.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/vfs.h>

struct table {
	const struct proc_dir *dir;
	int *fd, *mnt_id; /* of each the mount it is on, -1: closed again */
	size_t n;
	atomic_bool direct;
};

/* A pipe in packet mode has the flag as well, and is taken for what it is not. */
static int look_at(void *arg, size_t i, struct err *err)
{
	struct table *t = arg;
	struct proc_fdinfo info = { .mnt_id = -1 };

	if (t->direct)
		return 0;
	if (proc_fdinfo_read(t->dir, t->fd[i], &info, NULL) == 0 && info.flags & O_DIRECT)
		t->direct = true;
	t->mnt_id[i] = info.mnt_id;
	proc_fdinfo_release(&info);
	return 0;
}

/* Where the other end of the filesystem may say so, and no flag is needed. */
static bool on_such_filesystem(const struct proc_dir *dir, int fd)
{
	static const unsigned such[] = { FUSE_SUPER_MAGIC, V9FS_MAGIC, CIFS_SUPER_MAGIC,
					 SMB2_SUPER_MAGIC };
	scoped char *name = xasprintf("fd/%d", fd);
	scoped_fd file = proc_openat(dir, name, O_PATH);
	struct statfs fs;

	if (file < 0 || fstatfs(file, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(such); i++)
		if ((unsigned)fs.f_type == such[i])
			return true;
	return false;
}

/* Thousands of descriptors are on few mounts. */
static bool on_such_mounts(const struct table *t)
{
	scoped int *seen = xcalloc(t->n, sizeof(*seen));
	size_t n_seen = 0;

	for (size_t i = 0; i < t->n; i++) {
		size_t k = 0;

		while (k < n_seen && seen[k] != t->mnt_id[i])
			k++;
		if (k < n_seen || t->mnt_id[i] < 0)
			continue;
		if (on_such_filesystem(t->dir, t->fd[i]))
			return true;
		seen[n_seen++] = t->mnt_id[i];
	}
	return false;
}

bool reads_directly(const struct proc_dir *dir)
{
	struct table t = { .dir = dir };
	scoped int *fd = NULL, *mnt_id = NULL;

	if (proc_list(dir, "fd", &fd, &t.n, NULL) < 0)
		return true;
	t.fd = fd;
	t.mnt_id = mnt_id = xcalloc(t.n, sizeof(*mnt_id));
	parallel(t.n, look_at, &t, NULL);
	return t.direct || on_such_mounts(&t);
}
