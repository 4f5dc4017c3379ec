/* fd_reg.c - regular files, and all else that a path and open(2) bring back. */
#include "base/mem.h"
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/outside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define KERNEL_LARGEFILE 0100000 /* O_LARGEFILE, which the C library has as 0 here */

/* Flags that stay with a description. None that creates or cuts a file. */
#define LASTING_FLAGS                                                                              \
	((uint32_t)(O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_ASYNC | O_DIRECT |    \
		    KERNEL_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_PATH))

static bool reg_match(const struct fd_look *l)
{
	return S_ISREG(l->st.st_mode) && l->link[0] == '/' && !file_is_mqueue(l);
}

/*
 * Files of the kernel that are more than what can be read in them: an open one can hold
 * something, as a reader's place in a trace or a trigger.
 */
static int check_stateful(const struct fd_look *l, struct err *err)
{
	static const struct {
		unsigned magic;
		const char *name;
	} holding[] = {
		{ TRACEFS_MAGIC, "tracefs" },
		{ DEBUGFS_MAGIC, "debugfs" },
		{ SECURITYFS_MAGIC, "securityfs" },
		{ SELINUX_MAGIC, "selinuxfs" },
		{ BPF_FS_MAGIC, "bpf" },
	};
	const char *base = strrchr(l->link, '/');
	struct statfs fs;

	if (fstatfs(l->copy, &fs) < 0)
		return err_errno(err, "statfs");
	for (size_t i = 0; i < ARRAY_SIZE(holding); i++)
		if ((unsigned)fs.f_type == holding[i].magic)
			return err_set(err, ERR_REFUSED, "%s, a file of %s, is not supported",
				       l->link, holding[i].name);
	if ((l->info->flags & O_ACCMODE) != O_RDONLY &&
	    ((fs.f_type == PROC_SUPER_MAGIC && !strncmp(l->link, "/proc/pressure/", 15)) ||
	     (fs.f_type == CGROUP2_SUPER_MAGIC && strstr(base, ".pressure"))))
		return err_set(err, ERR_REFUSED, "%s, a pressure trigger, is not supported",
			       l->link);
	return 0;
}

static int reg_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
{
	int rc;

	if (outside_reg(s, l, e->reg))
		return 0;
	rc = file_path_check(l->link, &l->st, (uint64_t)l->info->mnt_id, err);
	if (!rc)
		rc = check_stateful(l, err);
	if (!rc)
		file_reg_fill(e->reg, l->link, &l->st, l->info->pos);
	return rc;
}

/* --- rebuilding ----------------------------------------------------------------- */

static bool may_open(const RegFileEntry *reg, const struct stat *st)
{
	return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || file_chardev_known(st) ||
	       (reg->flags & O_PATH);
}

static int check_same(const struct file_build *b, const RegFileEntry *reg, const struct stat *st,
		      struct err *err)
{
	mode_t counts = b->any_mode ? S_IFMT : ~0u;

	if (reg->has_mode && (reg->mode & counts) != (st->st_mode & counts))
		return err_set(err, -ESTALE, "%s: its mode is %#o, but was %#o when saved",
			       reg->name, st->st_mode, reg->mode);
	if (S_ISREG(st->st_mode) && reg->has_size && reg->size != (uint64_t)st->st_size)
		return err_set(err, -ESTALE,
			       "%s: its size is %lld bytes, but was %llu when saved (%s)",
			       reg->name, (long long)st->st_size, (unsigned long long)reg->size,
			       reg->size < (uint64_t)st->st_size
				       ? "what was written since has to go, see truncate(1), or "
					 "the file as it was to be put there"
				       : "the file as it was has to be put there");
	return 0;
}

/* Before opening: to open the wrong thing (a FIFO, a tape) can block or do harm. */
static int check_path(const struct file_build *b, const RegFileEntry *reg, struct err *err)
{
	struct stat st;
	int rc;

	if (reg->has_ext && reg->ext)
		return err_set(err, ERR_REFUSED,
			       "%s: a file that leads out of the tree has no path", reg->name);
	rc = file_name_check(reg, err);
	if (rc < 0)
		return rc;
	if (reg->flags & ~LASTING_FLAGS)
		return err_set(err, ERR_REFUSED, "%s: open flags %#o are not supported", reg->name,
			       reg->flags & ~LASTING_FLAGS);
	rc = reg->flags & O_PATH ? lstat(reg->name, &st) : stat(reg->name, &st);
	if (rc < 0 && errno == ENOENT)
		return err_set(err, -ENOENT, "%s: it was there when saved, but is gone", reg->name);
	if (rc < 0)
		return err_errno(err, "%s", reg->name);
	if (!may_open(reg, &st))
		return err_set(err, ERR_REFUSED,
			       "%s: neither a regular file nor a directory or harmless device",
			       reg->name);
	return check_same(b, reg, &st, err);
}

int file_reg_open(const struct file_build *b, const RegFileEntry *reg, int *fd, struct err *err)
{
	struct stat st;
	int rc = check_path(b, reg, err);

	if (rc < 0)
		return rc;
	*fd = open(reg->name, (reg->flags & ~O_ASYNC) | O_CLOEXEC | O_NOCTTY);
	if (*fd < 0)
		return err_errno(err, "%s: open", reg->name);
	rc = fstat(*fd, &st) < 0 ? err_errno(err, "%s: stat", reg->name)
				 : check_same(b, reg, &st, err);
	if (!rc && !(reg->flags & O_PATH) && reg->pos != UINT64_MAX && !S_ISCHR(st.st_mode) &&
	    lseek(*fd, reg->pos, SEEK_SET) < 0)
		rc = err_errno(err, "%s: go to position %llu", reg->name,
			       (unsigned long long)reg->pos);
	if (rc < 0) {
		close(*fd);
		*fd = -1;
	}
	return rc;
}

static int reg_build(struct file_build *b, const FileEntry *e, int *fd, struct err *err)
{
	return file_reg_open(b, e->reg, fd, err);
}

const struct file_kind fd_reg = {
	.name = "regular file",
	.type = FD_TYPES__REG,
	.match = reg_match,
	.save = reg_save,
	.build = reg_build,
};
