/* pipe-build.c - pipes and FIFOs with what was in them. */
#include "base/mem.h"
#include "criu-lite/file/pipe-ends.h"
#include "images/img.h"
#include "proto/pipe.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

/* A pipe being rebuilt; open at both ends while @left of its descriptions are missing. */
struct pipe_base {
	uint32_t pipe_id, left;
	int fd[2];
	bool made, given[2];
	bool awaited;  /* a FIFO: opened for writing by nobody while its readers are opened */
	bool outside;  /* somebody else's: each description is opened anew */
	bool packets;  /* what was in it are packets: O_DIRECT in pipe(2) */
	uint32_t size; /* 0: the kernel's default */
	struct record {
		uint64_t offset; /* of the bytes in the image */
		uint32_t bytes;
	} * record;
	size_t n_records, cap_records;
};

struct pipes_build {
	struct pipe_base *base;
	size_t n, cap;
	bool sorted;
	int data; /* the image with the contents */
};

/* --- loading --------------------------------------------------------------------------- */

void pipe_ends_expect(struct pipes_build **pipes, uint32_t pipe_id, uint32_t flags, bool awaited)
{
	struct pipe_base one = { .pipe_id = pipe_id,
				 .left = 1,
				 .fd = { -1, -1 },
				 .packets = flags & O_DIRECT,
				 .awaited = awaited };

	if (!*pipes) {
		*pipes = xcalloc(1, sizeof(**pipes));
		(*pipes)->data = -1;
	}
	ARRAY_PUSH((*pipes)->base, (*pipes)->n, (*pipes)->cap, one);
}

static int compare_bases(const void *pa, const void *pb)
{
	const struct pipe_base *a = pa, *b = pb;

	return a->pipe_id < b->pipe_id ? -1 : a->pipe_id > b->pipe_id;
}

/* Expectations of one pipe become one base that waits for them all. */
static void merge(struct pipes_build *s)
{
	size_t n = 0;

	qsort(s->base, s->n, sizeof(*s->base), compare_bases);
	for (size_t i = 0; i < s->n; i++) {
		if (n && s->base[n - 1].pipe_id == s->base[i].pipe_id) {
			s->base[n - 1].left++;
			s->base[n - 1].packets |= s->base[i].packets;
		} else {
			s->base[n++] = s->base[i];
		}
	}
	s->n = n;
}

static struct pipe_base *find(struct pipes_build *s, uint32_t pipe_id)
{
	struct pipe_base key = { .pipe_id = pipe_id };

	return s && s->n ? bsearch(&key, s->base, s->n, sizeof(key), compare_bases) : NULL;
}

/* A pipe that no descriptor wants is passed over. */
static int take_record(struct pipes_build *s, struct img_reader *r, const PipeDataEntry *e,
		       struct err *err)
{
	struct pipe_base *base = find(s, e->pipe_id);
	struct record record = { img_offset(r), e->bytes };

	if (!base)
		return 0;
	if (e->bytes != img_payload_left(r))
		return img_error(r, err, "pipe %u is cut short", e->pipe_id);
	if (e->has_size && (e->size > INT32_MAX || e->bytes > e->size))
		return img_error(r, err, "pipe %u: %u bytes in a pipe of %u", e->pipe_id, e->bytes,
				 e->size);
	base->packets |= base->n_records > 0;
	base->size = e->has_size ? e->size : 0;
	ARRAY_PUSH(base->record, base->n_records, base->cap_records, record);
	return 0;
}

int pipe_ends_load(struct pipes_build *pipes, int dirfd, const char *image, struct err *err)
{
	scoped_reader r = NULL;
	PipeDataEntry *e;
	int rc;

	if (!pipes)
		return 0;
	merge(pipes);
	rc = img_open(&r, err, dirfd, "%s", image);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	while ((rc = img_next(r, &e, err)) > 0) {
		rc = take_record(pipes, r, e, err);
		pipe_data_entry__free_unpacked(e, NULL);
		if (rc < 0)
			return rc;
	}
	if (rc < 0)
		return rc;
	pipes->data = img_open_file(dirfd, image, NULL, err);
	return pipes->data < 0 ? pipes->data : 0;
}

/* --- making the pipe --------------------------------------------------------------------- */

static int write_back(const struct pipes_build *s, const struct pipe_base *base,
		      const struct record *r, struct err *err)
{
	uint64_t offset = r->offset, end = r->offset + r->bytes;
	char buf[16384];

	while (offset < end) {
		size_t want = end - offset < sizeof(buf) ? end - offset : sizeof(buf);
		ssize_t n = pread(s->data, buf, want, offset), put;

		if (n <= 0)
			return err_set(err, n < 0 ? -errno : -EBADMSG,
				       "pipe %u: its data cannot be read", base->pipe_id);
		put = write(base->fd[1], buf, n);
		if (put < 0)
			return err_errno(err, "pipe %u: write what was in it", base->pipe_id);
		offset += put;
	}
	return 0;
}

static int fill(const struct pipes_build *s, const struct pipe_base *base, struct err *err)
{
	int rc = 0;

	if (base->size && fcntl(base->fd[1], F_GETPIPE_SZ) != (int)base->size &&
	    fcntl(base->fd[1], F_SETPIPE_SZ, base->size) < 0)
		return err_errno(err,
				 "pipe %u: capacity of %u bytes (see /proc/sys/fs/pipe-max-size)",
				 base->pipe_id, base->size);
	/* Should it not fit after all, we would wait for ourselves. */
	if (fcntl(base->fd[1], F_SETFL, O_NONBLOCK | (base->packets ? O_DIRECT : 0)) < 0)
		return err_errno(err, "pipe %u: F_SETFL", base->pipe_id);
	for (size_t i = 0; !rc && i < base->n_records; i++)
		rc = write_back(s, base, &base->record[i], err);
	return rc;
}

/* The first @len bytes that are in a pipe, which stay there. */
static int peek(const struct pipe_base *base, char *buf, size_t len)
{
	scoped_fd reader = -1, writer = -1;
	int p[2], size = fcntl(base->fd[0], F_GETPIPE_SZ);

	if (size < 0 || pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	reader = p[0];
	writer = p[1];
	if (fcntl(writer, F_SETPIPE_SZ, size) < 0 ||
	    tee(base->fd[0], writer, (size_t)size, SPLICE_F_NONBLOCK) < 0)
		return -errno;
	for (size_t at = 0; at < len;) {
		ssize_t n = read(reader, buf + at, len - at);

		if (n <= 0)
			return -EBUSY;
		at += (size_t)n;
	}
	return 0;
}

/* Of @len bytes that are in it: are those that were saved the first? */
static bool still_there(const struct pipes_build *s, const struct pipe_base *base, size_t len)
{
	scoped char *is = xmalloc(len), *was = xmalloc(len);
	size_t n = 0;

	for (size_t i = 0; i < base->n_records; i++) {
		const struct record *r = &base->record[i];

		if (r->bytes > len - n ||
		    pread(s->data, was + n, r->bytes, (off_t)r->offset) != (ssize_t)r->bytes)
			return false;
		n += r->bytes;
	}
	return n && peek(base, is, n) == 0 && !memcmp(is, was, n);
}

static bool held_bytes(const struct pipe_base *base)
{
	for (size_t i = 0; i < base->n_records; i++)
		if (base->record[i].bytes)
			return true;
	return false;
}

/* A pipe or FIFO that others may have: what was in it is put into it, unless it is there still. */
static int join(const struct pipes_build *s, struct pipe_base *base, const char *name,
		struct err *err)
{
	int len = 0;

	base->fd[0] = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (base->fd[0] < 0)
		return err_errno(err, "%s: open", name);
	base->fd[1] = fcntl(base->fd[0], F_DUPFD_CLOEXEC, 0);
	if (base->fd[1] < 0 || ioctl(base->fd[0], FIONREAD, &len) < 0)
		return err_errno(err, "%s", name);
	if (!len)
		return base->outside && !held_bytes(base) ? 0 : fill(s, base, err);
	if (base->outside && !held_bytes(base))
		return 0;
	if (!still_there(s, base, (size_t)len))
		return err_set(err, -EBUSY,
			       "%s: somebody has it open, with %d bytes in it that are other ones "
			       "than were saved",
			       name, len);
	return 0;
}

static void close_base(struct pipe_base *base)
{
	mem_close_p(&base->fd[0]);
	mem_close_p(&base->fd[1]);
	base->fd[0] = base->fd[1] = -1;
}

/* Whoever opens it while somebody can write is told of a hangup when that one goes. */
static int leave_to_readers(struct pipe_base *base, const char *name, struct err *err)
{
	int keep = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (keep < 0)
		return err_errno(err, "%s: open", name);
	close_base(base);
	base->fd[0] = keep;
	return 0;
}

static int make(const struct pipes_build *s, struct pipe_base *base, const struct pipe_from *from,
		struct err *err)
{
	char given[32];
	int rc;

	base->outside = from->given >= 0;
	snprintf(given, sizeof(given), "/proc/self/fd/%d", from->given);
	if (base->outside || from->path) {
		rc = join(s, base, base->outside ? given : from->path, err);
	} else {
		rc = pipe2(base->fd, O_CLOEXEC) < 0 ? err_errno(err, "pipe") : 0;
		if (!rc)
			rc = fill(s, base, err);
	}
	if (!rc && base->awaited && !base->outside)
		rc = leave_to_readers(base, from->path, err);
	if (rc < 0)
		close_base(base);
	base->made = rc == 0;
	return rc;
}

/* --- one description ----------------------------------------------------------------------- */

static int reopen(const struct pipe_base *base, const char *path, uint32_t flags, int *fd,
		  struct err *err)
{
	char name[32];
	uint32_t now;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", base->fd[0]);
	if (!path)
		flags &= ~O_NOFOLLOW;
	/* open(2) takes O_DIRECT for the disk's, and might wait for the other end. */
	now = (flags & ~O_DIRECT) | (base->awaited ? O_NONBLOCK : 0);
	*fd = open(path ? path : name, now | O_CLOEXEC | O_NOCTTY);
	if (*fd < 0)
		return err_errno(err, "%s: open", path ? path : "pipe");
	if (now == flags || fcntl(*fd, F_SETFL, flags) == 0)
		return 0;
	close(*fd);
	*fd = -1;
	return err_errno(err, "pipe: F_SETFL %#o", flags);
}

/*
 * The first description of either end is the one that pipe2 made: those have no
 * O_LARGEFILE, which a description from open(2) has.
 */
static int description(struct pipe_base *base, const char *path, uint32_t flags, int *fd,
		       struct err *err)
{
	int end = (flags & O_ACCMODE) == O_WRONLY;

	if (path || base->outside || (flags & O_ACCMODE) == O_RDWR || base->given[end])
		return reopen(base, path, flags, fd, err);
	*fd = fcntl(base->fd[end], F_DUPFD_CLOEXEC, 0);
	if (*fd < 0)
		return err_errno(err, "pipe");
	base->given[end] = true;
	if (fcntl(*fd, F_SETFL, flags) < 0) {
		close(*fd);
		*fd = -1;
		return err_errno(err, "pipe: F_SETFL %#o", flags);
	}
	return 0;
}

int pipe_ends_open(struct pipes_build *pipes, uint32_t pipe_id, const struct pipe_from *from,
		   uint32_t flags, int *fd, struct err *err)
{
	struct pipe_base *base = find(pipes, pipe_id);
	int rc;

	if (!base || !base->left)
		return err_set(err, -EBADMSG, "pipe %u is wanted once too often", pipe_id);
	if (flags & ~(uint32_t)(O_ACCMODE | O_NONBLOCK | O_APPEND | O_NOATIME | O_ASYNC | O_DIRECT |
				O_NOFOLLOW | O_SYNC | O_DSYNC | 0100000 /* O_LARGEFILE */))
		return err_set(err, ERR_REFUSED, "a pipe with flags %#o is not supported", flags);
	flags &= ~O_ASYNC;
	rc = base->made ? 0 : make(pipes, base, from, err);
	if (!rc)
		rc = description(base, base->outside ? NULL : from->path, flags, fd, err);
	if (!rc && !--base->left)
		close_base(base);
	return rc;
}

static void base_release(struct pipe_base *base)
{
	close_base(base);
	free(base->record);
}

void pipe_ends_build_release(struct pipes_build **pipes)
{
	struct pipes_build *s = *pipes;

	*pipes = NULL;
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++)
		base_release(&s->base[i]);
	mem_close_p(&s->data);
	free(s->base);
	free(s);
}
