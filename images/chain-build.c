/* chain-build.c - a new checkpoint: begun beside the others, published by one rename. */
#include "images/chain-internal.h"
#include "images/img-internal.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/step.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A checkpoint directory is flat: anything deeper is not ours, and stays with an error. */
int chain_remove_directory(int dirfd, const char *name, struct err *err)
{
	scoped_fd fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char **names;
	size_t n;
	int rc;

	if (fd < 0)
		return err_errno(err, "%s", name);
	rc = img_names(&names, &n, fd, err);
	if (rc < 0)
		return err_add(err, rc, "%s", name);
	for (size_t i = 0; i < n && !rc; i++)
		if (unlinkat(fd, names[i], 0) < 0)
			rc = err_errno(err, "%s/%s: remove", name, names[i]);
	img_names_release(names, n);
	if (!rc && unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		rc = err_errno(err, "%s: remove", name);
	return rc;
}

/* ".N.tmp" */
static bool is_leftover(const char *name)
{
	size_t n = strlen(name);
	char number[16];
	uint32_t seq;

	if (n < 6 || n - 5 >= sizeof(number) || name[0] != '.' || strcmp(name + n - 4, ".tmp"))
		return false;
	memcpy(number, name + 1, n - 5);
	number[n - 5] = 0;
	return chain_number(number, &seq);
}

int chain_remove_leftovers(struct chain *c, struct err *err)
{
	char **names;
	size_t n;
	int rc = img_names(&names, &n, c->dirfd, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n && !rc; i++)
		if (is_leftover(names[i]))
			rc = chain_remove_directory(c->dirfd, names[i], err);
	img_names_release(names, n);
	return rc;
}

static int make_directory(struct chain *c, struct err *err)
{
	char link[16];

	STEP();
	if (mkdirat(c->dirfd, c->building_name, 0700) < 0)
		return err_errno(err, "%s: mkdir", c->building_name);
	STEP();
	c->building_fd =
		openat(c->dirfd, c->building_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c->building_fd < 0)
		return err_errno(err, "%s", c->building_name);
	snprintf(link, sizeof(link), "../%u", c->parent);
	/* In a plain directory the link is true only where the directory will be. */
	if (c->parent && !c->plain && symlinkat(link, c->building_fd, "parent") < 0)
		return err_errno(err, "parent: symlink");
	return 0;
}

static int begin_plain(struct chain *c, uint32_t parent, struct err *err)
{
	int rc;

	assert(!parent || c->prev_fd >= 0);
	c->parent = parent;
	strlcpy(c->building_name, CHAIN_PLAIN_TMP, sizeof(c->building_name));
	rc = make_directory(c, err);
	if (rc < 0) {
		rc = err_add(err, rc, "%s", c->path);
		chain_abort(c);
	}
	return rc;
}

struct chain_at chain_parent_at(const struct chain *c, uint32_t seq)
{
	if (!seq)
		return (struct chain_at) { .dirfd = -1 };
	if (c->plain)
		return (struct chain_at) { .dirfd = c->prev_fd };
	return (struct chain_at) { .dirfd = c->dirfd, .seq = seq };
}

int chain_begin(struct chain *c, uint32_t parent, struct err *err)
{
	uint32_t highest = c->n ? c->seq[c->n - 1] : 0;
	int rc;

	assert(c->lock >= 0 && c->building_fd < 0);
	if (c->plain)
		return begin_plain(c, parent, err);
	if (parent && !chain_has(c, parent))
		return err_set(err, -ENOENT, "%s: there is no checkpoint %u", c->path, parent);
	if (highest == INT32_MAX)
		return err_set(err, -ERANGE, "%s: no number after %u", c->path, highest);
	c->building = highest + 1;
	c->parent = parent;
	snprintf(c->building_name, sizeof(c->building_name), ".%u.tmp", c->building);
	rc = make_directory(c, err);
	if (rc < 0) {
		rc = err_add(err, rc, "%s", c->path);
		chain_abort(c);
	}
	return rc;
}

int chain_fd(const struct chain *c)
{
	return c->building_fd;
}

/* --- sealing ----------------------------------------------------------------------------- */

static void sums_release(struct chain *c)
{
	for (size_t i = 0; i < c->n_files; i++)
		protobuf_c_message_free_unpacked(&c->file[i]->base, NULL);
	for (size_t i = 0; i < c->n_pages; i++)
		protobuf_c_message_free_unpacked(&c->pages[i]->base, NULL);
	free(c->file);
	free(c->pages);
	c->file = NULL;
	c->pages = NULL;
	c->n_files = c->cap_files = c->n_pages = c->cap_pages = 0;
}

void chain_take_sums(struct chain *c, SdBlockSums *sums)
{
	ARRAY_PUSH(c->pages, c->n_pages, c->cap_pages, sums);
}

/* One file on its way to the disk. What is learnt of it goes into the list when all are there. */
struct sealed {
	const char *name;
	SdFileSum *file;    /* of all but pages */
	SdBlockSums *pages; /* of pages that nobody had given sums of */
	uint64_t size;
};

static const SdBlockSums *given_sums(const struct chain *c, const char *name)
{
	for (size_t i = 0; i < c->n_pages; i++)
		if (!strcmp(c->pages[i]->name, name))
			return c->pages[i];
	return NULL;
}

static int seal_pages(const struct chain *c, int fd, struct sealed *s, struct err *err)
{
	const SdBlockSums *given = given_sums(c, s->name);

	if (!given) {
		int rc = sum_blocks(&s->pages, fd, s->name, err);

		if (rc < 0)
			return rc;
		given = s->pages;
	}
	s->size = given->size;
	return 0;
}

static int seal_small(int fd, struct sealed *s, struct err *err)
{
	uint64_t hash;
	int rc = sum_file(fd, s->name, &s->size, &hash, err);

	if (rc < 0)
		return rc;
	s->file = xmalloc(sizeof(*s->file));
	sd_file_sum__init(s->file);
	s->file->name = xstrdup(s->name);
	s->file->size = s->size;
	s->file->hash = hash;
	return 0;
}

static bool is_pages(const char *name)
{
	return !strncmp(name, "pages-", 6);
}

static int seal_file(const struct chain *c, int fd, struct sealed *s, struct err *err)
{
	int rc = is_pages(s->name) ? seal_pages(c, fd, s, err) : seal_small(fd, s, err);

	return !rc && fsync(fd) < 0 ? err_errno(err, "%s: fsync", s->name) : rc;
}

/* Files that start on their way to the disk before the first of them is waited for. */
#define AT_ONCE 32

struct sealing {
	const struct chain *c;
	struct sealed *file;
	size_t n;
};

/* The @i'th lot. */
static int seal_some(void *arg, size_t i, struct err *err)
{
	const struct sealing *all = arg;
	struct sealed *file = all->file + i * AT_ONCE;
	size_t left = all->n - i * AT_ONCE, n = left < AT_ONCE ? left : AT_ONCE, opened = 0;
	int fd[AT_ONCE], rc = 0;

	for (; opened < n; opened++) {
		fd[opened] = img_open_file(all->c->building_fd, file[opened].name, NULL, err);
		if (fd[opened] < 0) {
			rc = fd[opened];
			break;
		}
		sync_file_range(fd[opened], 0, 0, SYNC_FILE_RANGE_WRITE);
	}
	for (size_t k = 0; k < opened; k++) {
		if (!rc)
			rc = seal_file(all->c, fd[k], &file[k], err);
		close(fd[k]);
	}
	return rc;
}

/* In the order of the names, whoever was first. */
static void take_sealed(struct chain *c, const struct sealing *all, uint64_t *bytes)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct sealed *s = &all->file[i];

		if (s->file)
			ARRAY_PUSH(c->file, c->n_files, c->cap_files, s->file);
		if (s->pages)
			chain_take_sums(c, s->pages);
		*bytes += s->size;
	}
}

/* The link to the parent is no file. */
static size_t without_parent(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *name = names[i];

		if (strcmp(name, "parent"))
			continue;
		names[i] = names[n - 1];
		names[n - 1] = name;
		return n - 1;
	}
	return n;
}

int chain_seal(struct chain *c, uint64_t *bytes, struct err *err)
{
	struct sealing all = { .c = c };
	char **names;
	size_t n;
	int rc;

	assert(c->building_fd >= 0);
	*bytes = 0;
	rc = img_names(&names, &n, c->building_fd, err);
	if (rc < 0)
		return err_add(err, rc, "%s", c->building_name);
	all.n = without_parent(names, n);
	all.file = xcalloc(all.n, sizeof(*all.file));
	for (size_t i = 0; i < all.n; i++)
		all.file[i].name = names[i];
	rc = parallel_large((all.n + AT_ONCE - 1) / AT_ONCE, seal_some, &all, err);
	take_sealed(c, &all, bytes);
	free(all.file);
	img_names_release(names, n);
	return rc < 0 ? err_add(err, rc, "%s/%s", c->path, c->building_name) : 0;
}

/* --- publishing ---------------------------------------------------------------------------- */

static int write_info(struct chain *c, const SdCheckpoint *given, struct err *err)
{
	scoped_writer w = NULL;
	SdCheckpoint info = *given;
	int rc;

	info.chain_id = c->id;
	info.parent_id = c->plain && c->parent ? c->prev_id : NULL;
	info.version = (char *)SD_VERSION;
	info.files = c->file;
	info.n_files = c->n_files;
	info.pages = c->pages;
	info.n_pages = c->n_pages;
	rc = img_create(&w, err, c->building_fd, "criu-lite.img");
	if (!rc)
		rc = img_append(w, &info, err);
	if (!rc)
		rc = img_sync(w, err);
	if (!rc)
		rc = img_close(&w, err);
	return rc;
}

/* For people and shells: when it cannot be made, the checkpoint is as good as ever. */
static void point_latest(const struct chain *c, const char *name)
{
	unlinkat(c->dirfd, ".latest.tmp", 0);
	STEP();
	if (!symlinkat(name, c->dirfd, ".latest.tmp"))
		renameat(c->dirfd, ".latest.tmp", c->dirfd, "latest");
}

static int publish(struct chain *c, struct err *err)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", c->building);
	if (fsync(c->building_fd) < 0)
		return err_errno(err, "fsync");
	STEP();
	if (renameat2(c->dirfd, c->building_name, c->dirfd, name, RENAME_NOREPLACE) < 0) {
		/* Some file systems know no flags; the lock keeps others away. */
		if (errno != EINVAL)
			return err_errno(err, "rename to %s", name);
		if (renameat(c->dirfd, c->building_name, c->dirfd, name) < 0)
			return err_errno(err, "rename to %s", name);
	}
	STEP();
	point_latest(c, name);
	STEP();
	return 0;
}

int chain_commit(struct chain *c, SdCheckpoint *info, struct err *err)
{
	int rc;

	assert(c->building_fd >= 0);
	info->format_version = CHAIN_FORMAT_VERSION;
	info->seq = c->building;
	info->has_parent_seq = c->parent != 0 && !c->plain;
	info->parent_seq = c->plain ? 0 : c->parent;
	rc = write_info(c, info, err);
	if (!rc)
		rc = c->plain ? chain_publish_plain(c, err) : publish(c, err);
	if (rc < 0)
		return err_add(err, rc, "%s/%s", c->path, c->building_name);
	if (!c->plain)
		ARRAY_PUSH(c->seq, c->n, c->cap, c->building);
	c->newest = c->building;
	c->published = true;
	mem_close_p(&c->building_fd);
	c->building_fd = -1;
	sums_release(c);
	/* It is there and complete; only whether it outlives a power cut is not known. */
	if (fsync(c->dirfd) < 0)
		return err_errno(err, "%s: fsync", c->path);
	return 0;
}

bool chain_published(const struct chain *c)
{
	return c->published;
}

void chain_abort(struct chain *c)
{
	if (!c->building_name[0])
		return;
	if (c->building_fd >= 0) {
		close(c->building_fd);
		c->building_fd = -1;
		chain_remove_directory(c->dirfd, c->building_name, NULL);
	}
	c->building_name[0] = 0;
	sums_release(c);
}
