/* chain.c - opening a directory of checkpoints: whose it is, what is published, who writes. */
#include "images/chain-internal.h"
#include "images/img-internal.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

bool chain_number(const char *s, uint32_t *n)
{
	uint64_t v = 0;

	if (*s < '1' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++) {
		v = 10 * v + (*s - '0');
		if (v > INT32_MAX)
			return false;
	}
	*n = v;
	return !*s;
}

/* --- opening --------------------------------------------------------------------------- */

/* A trailing slash would make O_NOFOLLOW follow. */
static char *without_slashes(const char *dir)
{
	char *path = xstrdup(*dir ? dir : ".");
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		path[--n] = 0;
	return path;
}

/* A new directory outlives a power cut only when the one above it is on disk, too. */
static int make_durable(const char *path, struct err *err)
{
	scoped char *copy = xstrdup(path);
	char *slash = strrchr(copy, '/');
	scoped_fd fd = -1;

	if (slash)
		slash[slash == copy] = 0;
	fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? err_errno(err, "%s: fsync of the directory above", path)
				       : 0;
}

static int open_directory(const char *path, bool make, struct err *err)
{
	int fd, rc = 0;

	if (make && !mkdir(path, 0700))
		rc = make_durable(path, err);
	else if (make && errno != EEXIST)
		rc = err_errno(err, "%s: mkdir", path);
	if (rc < 0)
		return rc;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return err_set(err, -errno, "%s: is not a directory (links are not followed)",
			       path);
	return fd < 0 ? err_errno(err, "%s", path) : fd;
}

/* Who can write here can make a restore run what they like. */
int chain_check_owner(int dirfd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(dirfd, &st) < 0)
		return err_errno(err, "%s: stat", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(err, -EPERM, "%s: belongs to user %u, neither to us nor to root",
			       path, st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(err, -EPERM, "%s: others can write it (mode %o)", path,
			       st.st_mode & 07777);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/*
 * What of @name is there, without following links: st_mode, 0 for nothing. One that
 * cannot be looked at must not pass for one that is not there: an older
 * checkpoint would be taken for the newest.
 */
static int mode_of(const struct chain *c, const char *name, mode_t *mode, struct err *err)
{
	struct stat st = {};

	if (fstatat(c->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
		return err_errno(err, "%s/%s: stat", c->path, name);
	*mode = st.st_mode;
	return 0;
}

static int read_numbers(struct chain *c, struct err *err)
{
	char **names;
	size_t n;
	int rc = img_names(&names, &n, c->dirfd, err);

	if (rc < 0)
		return err_add(err, rc, "%s", c->path);
	for (size_t i = 0; i < n && !rc; i++) {
		mode_t mode = 0;
		uint32_t seq;

		if (!chain_number(names[i], &seq))
			continue;
		rc = mode_of(c, names[i], &mode, err);
		if (S_ISDIR(mode))
			ARRAY_PUSH(c->seq, c->n, c->cap, seq);
	}
	img_names_release(names, n);
	if (c->n) {
		qsort(c->seq, c->n, sizeof(*c->seq), by_number);
		c->newest = c->seq[c->n - 1];
	}
	return rc;
}

static bool id_ok(const char *id)
{
	return strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32;
}

/*
 * The id is that of the newest checkpoint that has one. A damaged one is passed
 * over here: it is found when it is used, and the others can still be restored.
 */
static int read_id(struct chain *c, struct err *err)
{
	for (size_t i = c->n; i-- > 0 && !c->id[0];) {
		int fd = chain_checkpoint(c->dirfd, c->seq[i], err), rc;
		SdCheckpoint *info;

		if (fd < 0)
			return fd;
		rc = chain_info(&info, fd, err);
		close(fd);
		if (rc == -ENOENT || rc == -EBADMSG)
			continue;
		if (rc < 0)
			return err_add(err, rc, "checkpoint %u", c->seq[i]);
		strlcpy(c->id, info->chain_id, sizeof(c->id));
		sd_checkpoint__free_unpacked(info, NULL);
	}
	return 0;
}

int chain_new_id(char id[33], struct err *err)
{
	unsigned char bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_errno(err, "getrandom");
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(id + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* Made to stand alone, whatever its name is; or the caller sees it so. */
static bool is_plain(int dirfd, enum chain_mode mode)
{
	SdCheckpoint *info;
	bool plain;
	int rc = chain_info(&info, dirfd, NULL);

	if (rc < 0)
		return rc == -ENOENT && mode == CHAIN_PLAIN;
	plain = !info->seq;
	sd_checkpoint__free_unpacked(info, NULL);
	return plain;
}

/*
 * @path is an image directory itself. Named by a number it is a checkpoint of
 * the directory above, where its parents are; else it stands alone.
 */
static int enter_single(struct chain *c, enum chain_mode mode, struct err *err)
{
	scoped char *real = realpath(c->path, NULL);
	char *slash = real ? strrchr(real, '/') : NULL;
	uint32_t seq;
	int fd;

	if (!slash || is_plain(c->dirfd, mode) || !chain_number(slash + 1, &seq)) {
		uint32_t zero = 0;

		ARRAY_PUSH(c->seq, c->n, c->cap, zero);
		return 0;
	}
	*slash = 0;
	fd = open_directory(*real ? real : "/", false, err);
	if (fd < 0)
		return fd;
	close(c->dirfd);
	c->dirfd = fd;
	free(c->path);
	c->path = xstrdup(*real ? real : "/");
	c->newest = seq;
	return 0;
}

static int chain_load(struct chain *c, enum chain_mode mode, struct err *err)
{
	mode_t single = 0;
	uint32_t newest;
	int rc = mode_of(c, "inventory.img", &single, err);

	if (rc < 0)
		return rc;
	if (single && mode == CHAIN_WRITE)
		return err_set(err, -EEXIST,
			       "%s: is an image directory itself, not one of checkpoints", c->path);
	if (single)
		rc = enter_single(c, mode, err);
	newest = c->newest;
	if (!rc && mode != CHAIN_LOOK)
		rc = chain_check_owner(c->dirfd, c->path, err);
	if (!rc && mode == CHAIN_WRITE)
		rc = chain_lock(c, err);
	/* Here and not in chain_begin: a large file takes its time to go, and then tasks wait. */
	if (!rc && mode == CHAIN_WRITE)
		rc = chain_remove_leftovers(c, err);
	/* Numbers are read under the lock: nobody publishes in between. */
	if (!rc && !(single && !newest))
		rc = read_numbers(c, err);
	if (newest)
		c->newest = newest;
	/* Someone who only looks wants to see the damage, not to be stopped by it. */
	if (!rc && !(single && !newest) && mode != CHAIN_LOOK)
		rc = read_id(c, err);
	if (!rc && mode == CHAIN_WRITE && !c->id[0])
		rc = chain_new_id(c->id, err);
	return rc;
}

int chain_open(struct chain **out, const char *dir, enum chain_mode mode, struct err *err)
{
	struct chain *c = xcalloc(1, sizeof(*c));
	int rc;

	c->lock = c->building_fd = c->prev_fd = -1;
	c->path = without_slashes(dir);
	c->dirfd = open_directory(c->path, mode == CHAIN_WRITE, err);
	rc = c->dirfd < 0 ? c->dirfd : chain_load(c, mode, err);
	if (rc < 0)
		chain_release(&c);
	else
		*out = c;
	return rc;
}

/* Who has it, for the message: whatever the holder wrote there, if it is a number. */
static int locked_by_other(const struct chain *c, int fd, struct err *err)
{
	char text[16] = "";
	uint32_t pid;

	if (pread(fd, text, sizeof(text) - 1, 0) > 0) {
		text[strcspn(text, "\n")] = 0;
		if (chain_number(text, &pid))
			return err_set(err, -EBUSY, "%s: process %u is writing here", c->path, pid);
	}
	return err_set(err, -EBUSY, "%s: another process is writing here", c->path);
}

int chain_lock(struct chain *c, struct err *err)
{
	scoped_fd fd = -1;
	struct stat st;
	char text[16];
	int n;

	if (c->lock >= 0)
		return 0;
	fd = openat(c->dirfd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "%s: lock", c->path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s: lock is not a regular file", c->path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? locked_by_other(c, fd, err)
					    : err_errno(err, "%s: flock", c->path);
	n = snprintf(text, sizeof(text), "%d\n", getpid());
	/* The number is for the message above only: when the disk is full, do without. */
	if (ftruncate(fd, 0) == 0)
		full_pwrite(fd, text, n, 0);
	c->lock = fd_take(&fd);
	return 0;
}

void chain_release(struct chain **cp)
{
	struct chain *c = *cp;

	if (!c)
		return;
	chain_abort(c);
	/* Not by closing alone: a child that was forked meanwhile may still have it. */
	if (c->lock >= 0)
		flock(c->lock, LOCK_UN);
	mem_close_p(&c->lock);
	mem_close_p(&c->dirfd);
	mem_close_p(&c->prev_fd);
	free(c->prev);
	free(c->seq);
	free(c->path);
	free(c);
	*cp = NULL;
}

int chain_dirfd(const struct chain *c)
{
	return c->dirfd;
}

const char *chain_id(const struct chain *c)
{
	return c->id;
}

size_t chain_numbers(const struct chain *c, const uint32_t **seq)
{
	*seq = c->seq;
	return c->n;
}

uint32_t chain_newest(const struct chain *c)
{
	return c->newest;
}

bool chain_has(const struct chain *c, uint32_t seq)
{
	return c->n && bsearch(&seq, c->seq, c->n, sizeof(seq), by_number);
}

/* --- one published checkpoint ------------------------------------------------------------ */

int chain_checkpoint(int chain_dirfd, uint32_t seq, struct err *err)
{
	char name[16];
	int fd;

	snprintf(name, sizeof(name), "%u", seq);
	fd = openat(chain_dirfd, seq ? name : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(err, "checkpoint %u", seq) : fd;
}

/* Every checkpoint of ours has another file that is no one else's. */
static bool is_ours(int checkpoint_dirfd)
{
	return faccessat(checkpoint_dirfd, "criu-lite-tasks.img", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int chain_info(SdCheckpoint **out, int checkpoint_dirfd, struct err *err)
{
	SdCheckpoint *info;
	int rc = img_read_one(&info, err, checkpoint_dirfd, "criu-lite.img");

	if (rc == -ENOENT && is_ours(checkpoint_dirfd))
		return err_set(err, -EBADMSG,
			       "criu-lite.img: is missing, and with it all checksums");
	if (rc < 0)
		return rc;
	if (info->format_version != CHAIN_FORMAT_VERSION)
		rc = err_set(err, -EPROTO, "criu-lite.img: format version %u, we know %u",
			     info->format_version, CHAIN_FORMAT_VERSION);
	else if (!id_ok(info->chain_id) || (info->parent_id && !id_ok(info->parent_id)))
		rc = err_set(err, -EBADMSG, "criu-lite.img: chain id is not 32 hexadecimal digits");
	if (rc < 0)
		sd_checkpoint__free_unpacked(info, NULL);
	else
		*out = info;
	return rc;
}

int chain_parent(int checkpoint_dirfd, uint32_t *seq, struct err *err)
{
	char link[32];
	ssize_t n = readlinkat(checkpoint_dirfd, "parent", link, sizeof(link) - 1);

	*seq = 0;
	if (n < 0)
		return errno == ENOENT ? 0 : err_errno(err, "parent: read link");
	link[n] = 0;
	if (strncmp(link, "../", 3) || !chain_number(link + 3, seq))
		return err_set(err, -EBADMSG, "parent: leads to %s, not to ../NUMBER", link);
	return 0;
}

/* --- DIR/armed --------------------------------------------------------------------------- */

int chain_replace(int dirfd, const char *name, const void *message, struct err *err)
{
	char tmp[64];
	scoped_writer w = NULL;
	int rc;

	snprintf(tmp, sizeof(tmp), ".%s.tmp", name);
	if (unlinkat(dirfd, tmp, 0) < 0 && errno != ENOENT)
		return err_errno(err, "%s: remove", tmp);
	rc = img_create_as(&w, img_family_of(name), dirfd, tmp, err);
	if (!rc)
		rc = img_append(w, message, err);
	if (!rc)
		rc = img_sync(w, err);
	if (!rc)
		rc = img_close(&w, err);
	if (!rc && renameat(dirfd, tmp, dirfd, name) < 0)
		rc = err_errno(err, "%s: rename", name);
	/* On a full disk what is half written takes the room that somebody else needs. */
	if (rc < 0)
		unlinkat(dirfd, tmp, 0);
	if (!rc && fsync(dirfd) < 0)
		rc = err_errno(err, "%s: fsync of its directory", name);
	return rc;
}

int chain_armed_write(int chain_dirfd, SdArmed *armed, struct err *err)
{
	armed->format_version = CHAIN_FORMAT_VERSION;
	return chain_replace(chain_dirfd, "armed", armed, err);
}

int chain_armed_read(SdArmed **out, int chain_dirfd, struct err *err)
{
	SdArmed *armed;
	int rc = img_read_one(&armed, err, chain_dirfd, "armed");

	if (rc < 0)
		return rc;
	if (armed->format_version != CHAIN_FORMAT_VERSION || !id_ok(armed->chain_id)) {
		sd_armed__free_unpacked(armed, NULL);
		return err_set(err, -EBADMSG, "armed: is not of a format that we know");
	}
	*out = armed;
	return 0;
}

int chain_armed_clear(int chain_dirfd, struct err *err)
{
	if (unlinkat(chain_dirfd, "armed", 0) < 0 && errno != ENOENT)
		return err_errno(err, "armed: remove");
	return fsync(chain_dirfd) < 0 ? err_errno(err, "armed: fsync of its directory") : 0;
}
