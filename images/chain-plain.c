/* chain-plain.c - a checkpoint written into a directory of the user's, which is no chain's. */
#include "images/chain-internal.h"
#include "images/img-internal.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* --- opening ------------------------------------------------------------------------------ */

/* The directory itself is the lock: nothing of ours is to lie there afterwards. */
static int lock_directory(struct chain *c, struct err *err)
{
	scoped_fd fd = openat(c->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(err, "%s", c->path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? err_set(err, -EBUSY, "%s: %s", c->path,
						      "another process is writing here")
					    : err_errno(err, "%s: flock", c->path);
	c->lock = fd_take(&fd);
	return 0;
}

static int remove_leftover(struct chain *c, struct err *err)
{
	struct stat st;

	if (fstatat(c->dirfd, CHAIN_PLAIN_TMP, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(err, "%s/" CHAIN_PLAIN_TMP, c->path);
	return chain_remove_directory(c->dirfd, CHAIN_PLAIN_TMP, err);
}

static int same_directory(const struct chain *c, struct err *err)
{
	struct stat here, there;

	if (fstat(c->dirfd, &here) < 0 || fstat(c->prev_fd, &there) < 0)
		return err_errno(err, "%s: stat", c->path);
	if (here.st_dev == there.st_dev && here.st_ino == there.st_ino)
		return err_set(err, -EINVAL, "%s: cannot be its own parent", c->path);
	return 0;
}

static int read_prev_id(struct chain *c, struct err *err)
{
	SdCheckpoint *info;
	int rc = chain_info(&info, c->prev_fd, err);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return err_add(err, rc, "%s/%s", c->path, c->prev);
	/* One of a chain of numbers has a record of its own, which this one cannot follow. */
	if (!info->seq)
		strlcpy(c->prev_id, info->chain_id, sizeof(c->prev_id));
	c->prev_spent = info->kept_for != NULL;
	sd_checkpoint__free_unpacked(info, NULL);
	return 0;
}

/* One that is not there, or is no checkpoint (yet), is no parent. */
static int open_prev(struct chain *c, struct err *err)
{
	int rc;

	c->prev_fd = openat(c->dirfd, c->prev, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->prev_fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, "%s/%s", c->path, c->prev);
	rc = same_directory(c, err);
	if (rc < 0)
		return rc;
	if (faccessat(c->prev_fd, "inventory.img", F_OK, 0) < 0) {
		mem_close_p(&c->prev_fd);
		c->prev_fd = -1;
		return 0;
	}
	rc = chain_check_owner(c->prev_fd, c->prev, err);
	return rc ? rc : read_prev_id(c, err);
}

static int open_plain(struct chain *c, struct err *err)
{
	int rc;

	c->dirfd = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dirfd < 0)
		return err_errno(err, "%s", c->path);
	rc = chain_check_owner(c->dirfd, c->path, err);
	if (!rc)
		rc = lock_directory(c, err);
	if (!rc)
		rc = remove_leftover(c, err);
	if (!rc)
		rc = chain_new_id(c->id, err);
	if (!rc && c->prev)
		rc = open_prev(c, err);
	return rc;
}

int chain_open_plain(struct chain **out, const char *dir, const char *prev, struct err *err)
{
	struct chain *c = xcalloc(1, sizeof(*c));
	int rc;

	c->dirfd = c->lock = c->building_fd = c->prev_fd = -1;
	c->plain = true;
	c->path = xstrdup(dir);
	c->prev = prev ? xstrdup(prev) : NULL;
	rc = open_plain(c, err);
	if (rc < 0)
		chain_release(&c);
	else
		*out = c;
	return rc;
}

bool chain_has_prev(const struct chain *c)
{
	return c->prev_fd >= 0;
}

bool chain_prev_spent(const struct chain *c)
{
	return c->prev_spent;
}

const char *chain_prev_id(const struct chain *c)
{
	return c->plain ? c->prev_id : NULL;
}

int chain_prev_dirfd(const struct chain *c)
{
	return c->prev_fd;
}

/* --- publishing ----------------------------------------------------------------------------- */

static bool is_of_a_checkpoint(const char *name)
{
	size_t n = strlen(name);

	return !strcmp(name, "parent") || !strcmp(name, "armed") ||
	       (n > 4 && !strcmp(name + n - 4, ".img"));
}

/* What it was is over first of all: what is half of one and half of another is neither. */
static int remove_old(struct chain *c, struct err *err)
{
	char **names;
	size_t n;
	int rc;

	if (unlinkat(c->dirfd, "inventory.img", 0) < 0 && errno != ENOENT)
		return err_errno(err, "inventory.img: remove");
	if (fsync(c->dirfd) < 0)
		return err_errno(err, "fsync");
	rc = img_names(&names, &n, c->dirfd, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n && !rc; i++)
		if (is_of_a_checkpoint(names[i]) && unlinkat(c->dirfd, names[i], 0) < 0)
			rc = err_errno(err, "%s: remove", names[i]);
	img_names_release(names, n);
	return rc;
}

static int move_one(struct chain *c, const char *name, struct err *err)
{
	if (renameat(c->building_fd, name, c->dirfd, name) < 0)
		return err_errno(err, "%s: rename", name);
	return 0;
}

static int move_all_but_inventory(struct chain *c, struct err *err)
{
	char **names;
	size_t n;
	int rc = img_names(&names, &n, c->building_fd, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n && !rc; i++)
		if (strcmp(names[i], "inventory.img"))
			rc = move_one(c, names[i], err);
	img_names_release(names, n);
	return rc;
}

int chain_publish_plain(struct chain *c, struct err *err)
{
	int rc = remove_old(c, err);

	if (!rc)
		rc = move_all_but_inventory(c, err);
	if (!rc && c->parent && symlinkat(c->prev, c->dirfd, "parent") < 0)
		rc = err_errno(err, "parent: symlink");
	/* All else is there, also after a power cut, before this makes it a checkpoint. */
	if (!rc && fsync(c->dirfd) < 0)
		rc = err_errno(err, "fsync");
	if (!rc)
		rc = move_one(c, "inventory.img", err);
	if (!rc)
		unlinkat(c->dirfd, c->building_name, AT_REMOVEDIR);
	return rc;
}

void chain_withdraw(struct chain *c)
{
	if (!c->plain)
		return;
	c->published = false;
	unlinkat(c->dirfd, "inventory.img", 0);
	unlinkat(c->dirfd, "armed", 0);
	fsync(c->dirfd);
}
