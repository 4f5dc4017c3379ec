/* link.c - files that a task has without a descriptor: exe, cwd, root, mapped files. */
#include "base/mem.h"
#include "criu-lite/file/state.h"
#include "criu-lite/proc/fdinfo.h"
#include "criu-lite/proc/proc.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <string.h>

struct link_seen {
	dev_t dev;
	ino_t ino;
	uint64_t mount;
	uint32_t flags, id;
	char path[];
};

/* What has a name in this form without ever having had a place in the file system. */
static const struct {
	const char *prefix, *what;
} nameless[] = {
	{ "/secretmem", "memfd_secret memory" },
	{ "/dmabuf:", "dma-buf" },
	{ "/SYSV", "System V shared memory" },
	{ "/[aio]", "an AIO context" },
	{ "/anon_hugepage", "shared memory of huge pages" },
	{ "/dev/zero", "shared anonymous memory" },
	{ "/drm mm object", "graphics memory" },
};

const char *file_nameless(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(nameless); i++)
		if (!strncmp(path, nameless[i].prefix, strlen(nameless[i].prefix)))
			return nameless[i].what;
	return NULL;
}

static bool ends_deleted(const char *path)
{
	static const char tail[] = " (deleted)";
	size_t len = strlen(path), n = sizeof(tail) - 1;

	return len > n && !strcmp(path + len - n, tail);
}

static int refuse_gone(const char *path, const struct stat *st, struct err *err)
{
	const char *what = file_nameless(path);

	if (what)
		return err_set(err, ERR_REFUSED, "%s is not supported", what);
	return err_set(err, ERR_REFUSED, "deleted %s %s is not supported",
		       S_ISDIR(st->st_mode) ? "directory" : "file", path);
}

/* 0: the kernel does not tell (before 5.8). */
static uint64_t mount_of(int dirfd, const char *path, int flags)
{
	struct statx x;

	if (statx(dirfd, path, flags, STATX_MNT_ID, &x) < 0 || !(x.stx_mask & STATX_MNT_ID))
		return 0;
	return x.stx_mnt_id;
}

int file_path_check(const char *path, const struct stat *st, uint64_t mount, struct err *err)
{
	uint64_t leads_to;
	struct stat now;
	int rc;

	if (path[0] != '/')
		return err_set(err, ERR_REFUSED,
			       "%s, which has no path from our root, is not supported", path);
	if (st->st_nlink == 0)
		return refuse_gone(path, st, err);
	if (!strncmp(path, "/proc/", 6) && isdigit((unsigned char)path[6]))
		return err_set(err, ERR_REFUSED, "%s, a file of a task, is not supported", path);
	rc = S_ISLNK(st->st_mode) ? lstat(path, &now) : stat(path, &now);
	if (rc < 0 && ends_deleted(path))
		return refuse_gone(path, st, err);
	if (rc < 0)
		return err_set(err, ERR_REFUSED,
			       "%s, which its path does not lead to (%s), is not supported", path,
			       strerror(errno));
	if (now.st_dev != st->st_dev || now.st_ino != st->st_ino)
		return err_set(err, ERR_REFUSED,
			       "%s, whose path leads to another file by now, is not supported",
			       path);
	/*
	 * A folder is what is mounted below it; any other file is the same by whatever mount it is
	 * reached (often that of the namespace where a program was started).
	 */
	if (!S_ISDIR(st->st_mode))
		return 0;
	leads_to = mount_of(AT_FDCWD, path, 0);
	if (mount && leads_to && mount != leads_to)
		return err_set(err, ERR_REFUSED,
			       "%s, open on another mount than its path leads to, is not supported",
			       path);
	return 0;
}

void file_reg_fill(RegFileEntry *reg, const char *path, const struct stat *st, uint64_t pos)
{
	bool grows = (reg->flags & O_ACCMODE) == O_WRONLY && (reg->flags & O_APPEND);

	reg->name = xstrdup(path);
	reg->pos = pos;
	reg->has_mnt_id = true;
	reg->mnt_id = -1;
	reg->has_mode = true;
	reg->mode = st->st_mode;
	if (S_ISREG(st->st_mode) && !grows) {
		reg->has_size = true;
		reg->size = st->st_size;
	}
}

/* The kernel tells a file's place without ways around: they are no mistake of a writer's. */
int file_name_check(const RegFileEntry *reg, struct err *err)
{
	const char *at = reg->name;
	size_t n;

	if (*at != '/')
		return err_set(err, -EBADMSG, "files.img: %s: not an absolute path", reg->name);
	for (; at[0] && strcmp(reg->name, "/"); at += n) {
		n = strcspn(++at, "/");
		if (!n || !strncmp(at, "..", n))
			return err_set(err, -EBADMSG, "files.img: %s: a path with detours",
				       reg->name);
	}
	return 0;
}

/* --- by link ---------------------------------------------------------------------- */

static int compare_links(const void *pa, const void *pb)
{
	const struct link_seen *a = pa, *b = pb;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	if (a->mount != b->mount)
		return a->mount < b->mount ? -1 : 1;
	if (a->flags != b->flags)
		return a->flags < b->flags ? -1 : 1;
	return strcmp(a->path, b->path);
}

static struct link_seen *link_seen_new(const struct link_at *at, uint32_t flags)
{
	size_t len = strlen(at->path) + 1;
	struct link_seen *l = xcalloc(1, sizeof(*l) + len);

	l->dev = at->st.st_dev;
	l->ino = at->st.st_ino;
	l->mount = at->mount;
	l->flags = flags;
	memcpy(l->path, at->path, len);
	return l;
}

static int add_path(struct file_save *s, const struct link_at *at, uint32_t flags, uint32_t *id,
		    struct err *err)
{
	const struct stat *st = &at->st;
	const char *path = at->path;
	struct link_seen *key = link_seen_new(at, flags), **node;
	FileEntry *e;
	int rc;

	node = tfind(key, &file_state(s)->links, compare_links);
	if (node) {
		free(key);
		*id = (*node)->id;
		return 0;
	}
	rc = file_path_check(path, st, at->mount, err);
	if (!rc && !S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode) && !file_chardev_known(st))
		rc = err_set(err, ERR_REFUSED, "device %s is not supported", path);
	if (rc < 0) {
		free(key);
		return rc;
	}
	key->id = file_new_id(s);
	e = file_entry_new(FD_TYPES__REG, key->id, flags);
	file_reg_fill(e->reg, path, st, 0);
	file_append(s, e);
	if (!tsearch(key, &file_state(s)->links, compare_links))
		abort();
	*id = key->id;
	return 0;
}

/* Of other files the mount makes no difference, see file_path_check. */
static uint64_t mount_of_dir(const struct task *task, const char *link, const struct stat *st)
{
	return S_ISDIR(st->st_mode) ? mount_of(proc_dirfd(task->proc), link, 0) : 0;
}

int file_add_target(struct file_save *s, struct task *task, const struct file_target *target,
		    uint32_t flags, uint32_t *id, struct err *err)
{
	const struct link_at at = {
		.path = (char *)target->path,
		.st = *target->st,
		.mount = mount_of_dir(task, target->link, target->st),
	};

	return add_path(s, &at, flags, id, err);
}

static int read_link(const struct task *task, const char *link, struct link_at *at, struct err *err)
{
	int rc = proc_readlink(task->proc, link, &at->path, err);

	if (rc < 0)
		return rc;
	if (fstatat(proc_dirfd(task->proc), link, &at->st, 0) < 0) {
		rc = err_errno(err, "%s (%s): stat", link, at->path);
		file_link_release(at);
		return rc;
	}
	at->mount = mount_of_dir(task, link, &at->st);
	return 0;
}

static const char *const ahead[LINKS_AHEAD] = { "exe", "cwd", "root" };

void file_links_read(struct task *task)
{
	for (size_t i = 0; i < LINKS_AHEAD; i++)
		read_link(task, ahead[i], &task->files->link[i], NULL);
}

static const struct link_at *find_ahead(const struct task *task, const char *link)
{
	for (size_t i = 0; task->files && i < LINKS_AHEAD; i++)
		if (!strcmp(ahead[i], link) && task->files->link[i].path)
			return &task->files->link[i];
	return NULL;
}

int file_add_link(struct file_save *s, struct task *task, const char *link, uint32_t flags,
		  uint32_t *id, struct err *err)
{
	const struct link_at *known = find_ahead(task, link);
	struct link_at now = {};
	int rc;

	if (known)
		return add_path(s, known, flags, id, err);
	rc = read_link(task, link, &now, err);
	if (!rc)
		rc = add_path(s, &now, flags, id, err);
	file_link_release(&now);
	return rc;
}

void file_link_release(struct link_at *at)
{
	free(at->path);
	at->path = NULL;
}

void file_links_release(struct file_save *s)
{
	tdestroy(s->state->links, free);
}
