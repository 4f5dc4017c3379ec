/* proc.c - opening /proc/PID or a recording of it, and reading what is in it. */
#include "criu-lite/proc/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "criu-lite/proc/text.h"

/* What was read ahead of one file; .text NULL: it was asked for. */
struct ahead {
	const char *name;
	char *text;
	size_t len;
};

struct proc_dir {
	int fd;
	pid_t id;
	struct ahead *ahead;
	size_t n_ahead, cap_ahead;
};

/* Open @path below @at; ENOENT is how procfs says that there is no such task. */
static int open_task(struct proc_dir **out, int at, const char *path, pid_t id, struct err *err)
{
	int fd = openat(at, path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		if (errno == ENOENT)
			errno = ESRCH;
		return err_errno(err, "open %s", path);
	}
	*out = xmalloc(sizeof(**out));
	**out = (struct proc_dir) { .fd = fd, .id = id };
	return 0;
}

int proc_open(struct proc_dir **out, const char *root, pid_t pid, struct err *err)
{
	scoped char *path = xasprintf("%s/%d", root ? root : "/proc", pid);

	return open_task(out, AT_FDCWD, path, pid, err);
}

int proc_open_thread(struct proc_dir **out, const struct proc_dir *task, pid_t tid, struct err *err)
{
	scoped char *path = xasprintf("task/%d", tid);

	return open_task(out, task->fd, path, tid, err);
}

void proc_close(struct proc_dir *dir)
{
	if (!dir)
		return;
	proc_forget(dir);
	close(dir->fd);
	free(dir);
}

pid_t proc_id(const struct proc_dir *dir)
{
	return dir->id;
}

int proc_dirfd(const struct proc_dir *dir)
{
	return dir->fd;
}

int proc_openat(const struct proc_dir *dir, const char *name, int flags)
{
	int fd = openat(dir->fd, name, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Procfs gives lengths of 0 and at most a page a read, so: until it says 0. */
static int read_all(int fd, char **buf, size_t *len)
{
	size_t cap = 16384, n = 0;
	scoped char *text = xmalloc(cap + 1);

	for (;;) {
		ssize_t got;

		if (n == cap) {
			if (cap >= PROC_READ_MAX)
				return -EFBIG;
			cap *= 2;
			text = xreallocarray(text, cap + 1, 1);
		}
		got = read(fd, text + n, cap - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		n += (size_t)got;
	}
	text[n] = 0;
	*buf = text;
	*len = n;
	text = NULL;
	return 0;
}

static int read_now(const struct proc_dir *dir, const char *name, char **buf, size_t *len,
		    struct err *err)
{
	scoped_fd fd = proc_openat(dir, name, O_RDONLY);
	int rc;

	if (fd < 0)
		return err_code(err, fd, "open %s", name);
	rc = read_all(fd, buf, len);
	if (rc < 0)
		return err_code(err, rc, "read %s", name);
	return 0;
}

static bool take_ahead(const struct proc_dir *dir, const char *name, char **buf, size_t *len)
{
	for (size_t i = 0; i < dir->n_ahead; i++) {
		struct ahead *a = &dir->ahead[i];

		if (!a->text || strcmp(a->name, name))
			continue;
		*buf = a->text;
		*len = a->len;
		a->text = NULL;
		return true;
	}
	return false;
}

void proc_read_ahead(struct proc_dir *dir, const char *name)
{
	struct ahead a = { .name = name };

	if (read_now(dir, name, &a.text, &a.len, NULL) < 0)
		return;
	a.text = xreallocarray(a.text, a.len + 1, 1);
	ARRAY_PUSH(dir->ahead, dir->n_ahead, dir->cap_ahead, a);
}

void proc_forget(struct proc_dir *dir)
{
	for (size_t i = 0; i < dir->n_ahead; i++)
		free(dir->ahead[i].text);
	free(dir->ahead);
	dir->ahead = NULL;
	dir->n_ahead = dir->cap_ahead = 0;
}

int proc_read(const struct proc_dir *dir, const char *name, char **buf, size_t *len,
	      struct err *err)
{
	if (take_ahead(dir, name, buf, len))
		return 0;
	return read_now(dir, name, buf, len, err);
}

int proc_readlink(const struct proc_dir *dir, const char *name, char **target, struct err *err)
{
	scoped char *text = NULL;

	for (size_t cap = 256; cap <= PROC_READ_MAX; cap *= 2) {
		ssize_t n;

		text = xreallocarray(text, cap, 1);
		n = readlinkat(dir->fd, name, text, cap);
		if (n < 0)
			return err_errno(err, "read link %s", name);
		if ((size_t)n < cap) {
			text[n] = 0;
			*target = text;
			text = NULL;
			return 0;
		}
	}
	return err_code(err, -ENAMETOOLONG, "read link %s", name);
}

static int int_order(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static bool number_of_name(const char *name, int *out)
{
	struct text t = text_of(name, strlen(name));
	uint64_t v;

	if (!text_dec(&t, &v) || t.p != t.end || v > INT_MAX)
		return false;
	*out = (int)v;
	return true;
}

static int list_dir(DIR *d, size_t most, int **ids, size_t *n)
{
	scoped int *v = NULL;
	size_t used = 0, cap = 0;
	struct dirent *de;
	int id;

	for (errno = 0; (de = readdir(d)); errno = 0) {
		if (!number_of_name(de->d_name, &id))
			continue;
		if (used == most)
			return -E2BIG;
		ARRAY_PUSH(v, used, cap, id);
	}
	if (errno)
		return -errno;
	if (used)
		qsort(v, used, sizeof(*v), int_order);
	*ids = v;
	*n = used;
	v = NULL;
	return 0;
}

int proc_list_few(const struct proc_dir *dir, const char *name, size_t most, int **ids, size_t *n,
		  struct err *err)
{
	scoped_fd fd = proc_openat(dir, name, O_RDONLY | O_DIRECTORY);
	scoped_dir d = NULL;
	int rc;

	if (fd < 0)
		return err_code(err, fd, "open %s", name);
	d = fdopendir(fd);
	if (!d)
		return err_errno(err, "list %s", name);
	fd_take(&fd);
	rc = list_dir(d, most, ids, n);
	return rc < 0 ? err_code(err, rc, "list %s", name) : 0;
}

int proc_list(const struct proc_dir *dir, const char *name, int **ids, size_t *n, struct err *err)
{
	return proc_list_few(dir, name, SIZE_MAX, ids, n, err);
}

int proc_tasks(int **pids, size_t *n, struct err *err)
{
	scoped_dir d = opendir("/proc");
	int rc = d ? list_dir(d, SIZE_MAX, pids, n) : -errno;

	return rc < 0 ? err_code(err, rc, "list /proc") : 0;
}
