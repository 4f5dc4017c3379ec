/* pipe-save.c - what is in pipes and FIFOs, copied without taking it out. */
#include "base/mem.h"
#include "criu-lite/file/outside.h"
#include "criu-lite/file/pipe-ends.h"
#include "images/img.h"
#include "proto/pipe.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <search.h>
#include <string.h>
#include <sys/ioctl.h>

enum end { READ_END, WRITE_END };

struct pipe_seen {
	dev_t dev;
	ino_t ino;
	uint32_t pipe_id;
	bool fifo;
	bool visited; /* a description can write, or has seen a writer come and go */
	bool outside; /* strangers have it too, and may */
	/* One descriptor for either end, if the tree has any. */
	const struct task *task[2];
	int fd[2];
	uint32_t size;
	char *data;
	/* Lengths of its packets; all of it is one where the pipe is not in packet mode. */
	uint32_t *packet;
	size_t n_packets, cap_packets;
};

struct pipes_save {
	struct pipe_seen **pipe;
	size_t n, cap;
	void *by_inode;
	/* A pipe of our own that contents are copied to, used again and again; empty in between. */
	int mirror[2], mirror_size;
};

/* --- noting ends --------------------------------------------------------------------- */

static int compare_inodes(const void *pa, const void *pb)
{
	const struct pipe_seen *a = pa, *b = pb;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->dev < b->dev ? -1 : a->dev > b->dev;
}

static bool id_taken(const struct pipes_save *s, uint32_t id)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->pipe[i]->pipe_id == id)
			return true;
	return false;
}

/*
 * The number of the inode names a pipe in the images. Anonymous pipes are of one
 * file system and their numbers have 32 bits; FIFOs of several may need another.
 */
static uint32_t new_pipe_id(const struct pipes_save *s, const struct stat *st, bool fifo)
{
	uint32_t id = st->st_ino;

	while (fifo && id_taken(s, id))
		id++;
	return id;
}

static struct pipe_seen *find_or_add(struct pipes_save *s, const struct fd_look *l)
{
	struct pipe_seen key = { .dev = l->st.st_dev, .ino = l->st.st_ino }, *p, **node;

	node = tfind(&key, &s->by_inode, compare_inodes);
	if (node)
		return *node;
	p = xmemdup(&key, sizeof(key));
	p->fifo = l->link[0] == '/';
	p->pipe_id = new_pipe_id(s, &l->st, p->fifo);
	ARRAY_PUSH(s->pipe, s->n, s->cap, p);
	if (!tsearch(p, &s->by_inode, compare_inodes))
		abort();
	return p;
}

static void note_end(struct pipe_seen *p, enum end end, const struct fd_look *l)
{
	if (p->task[end])
		return;
	p->task[end] = l->task;
	p->fd[end] = l->fd;
}

/* A reader that no writer has come to yet is not told of a hangup. */
static bool awaits(const struct fd_look *l)
{
	struct pollfd p = { .fd = l->copy };

	return (l->info->flags & O_ACCMODE) == O_RDONLY && poll(&p, 1, 0) >= 0 &&
	       !(p.revents & POLLHUP);
}

void pipe_ends_see(struct pipes_save **pipes, const struct fd_look *l, uint32_t *pipe_id)
{
	uint32_t mode = l->info->flags & O_ACCMODE;
	struct pipe_seen *p;

	if (!*pipes) {
		*pipes = xcalloc(1, sizeof(**pipes));
		(*pipes)->mirror[0] = (*pipes)->mirror[1] = -1;
	}
	p = find_or_add(*pipes, l);
	if (mode != O_WRONLY)
		note_end(p, READ_END, l);
	if (mode != O_RDONLY)
		note_end(p, WRITE_END, l);
	if (p->fifo && !p->visited)
		p->visited = !awaits(l);
	*pipe_id = p->pipe_id;
}

/* --- contents -------------------------------------------------------------------------- */

/* tee(2) copies slots, and stops when there are no more: make it as many as @of has. */
static int fit_mirror(struct pipes_save *s, int of, uint32_t *size, struct err *err)
{
	int want = fcntl(of, F_GETPIPE_SZ);

	if (want < 0)
		return err_errno(err, "capacity (F_GETPIPE_SZ)");
	if (s->mirror[0] < 0) {
		if (pipe2(s->mirror, O_CLOEXEC | O_NONBLOCK) < 0)
			return err_errno(err, "pipe");
		s->mirror_size = fcntl(s->mirror[1], F_GETPIPE_SZ);
	}
	if (s->mirror_size < want) {
		if (fcntl(s->mirror[1], F_SETPIPE_SZ, want) < 0)
			return err_errno(err, "a pipe of %d bytes (see /proc/sys/fs/pipe-max-size)",
					 want);
		s->mirror_size = want;
	}
	*size = want;
	return 0;
}

static void drop_mirror(struct pipes_save *s)
{
	mem_close_p(&s->mirror[0]);
	mem_close_p(&s->mirror[1]);
	s->mirror[0] = s->mirror[1] = -1;
}

/* A read ends at the end of a packet (O_DIRECT in pipe(2)); else it takes all there is. */
static int read_packets(struct pipe_seen *p, int fd, size_t len, struct err *err)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = read(fd, p->data + at, len - at);

		if (n < 0)
			return err_errno(err, "read of its copy");
		if (n == 0)
			return err_set(err, -EIO, "its copy is too short");
		ARRAY_PUSH(p->packet, p->n_packets, p->cap_packets, (uint32_t)n);
		at += n;
	}
	return 0;
}

/*
 * poll(2) says POLLHUP when the last writer is gone, but not to a description
 * that was opened after that; an empty pipe tells by tee(2): 0 without writers,
 * EAGAIN with.
 */
static bool has_writers(int reader, const int mirror[2], size_t len)
{
	struct pollfd p = { .fd = reader, .events = POLLIN };
	ssize_t n;
	char byte;

	if (poll(&p, 1, 0) > 0 && p.revents & POLLHUP)
		return false;
	if (len)
		return true;
	n = tee(reader, mirror[1], 1, SPLICE_F_NONBLOCK);
	/* Written just now, and not to be left in there. */
	return n > 0 ? read(mirror[0], &byte, 1) == n : n < 0;
}

static bool has_readers(int writer)
{
	struct pollfd p = { .fd = writer, .events = POLLOUT };

	return poll(&p, 1, 0) <= 0 || !(p.revents & POLLERR);
}

static int copy_data(struct pipe_seen *p, int reader, const int mirror[2], size_t len,
		     struct err *err)
{
	ssize_t n;

	if (!len)
		return 0;
	n = tee(reader, mirror[1], p->size, SPLICE_F_NONBLOCK);
	if (n < 0)
		return err_errno(err, "copy of what is in it (tee)");
	/* A stranger may have written meanwhile. */
	if (p->outside)
		len = n;
	if ((size_t)n != len)
		return err_set(err, -EIO, "%zd of its %zu bytes were copied", n, len);
	p->data = xmalloc(len);
	return read_packets(p, mirror[0], len, err);
}

/* @copy is of one end. A reader is made where the tree has none: a pipe can be opened by /proc. */
static int reader_of(const struct pipe_seen *p, int copy, int *reader, struct err *err)
{
	char path[32];

	if (p->task[READ_END])
		*reader = fcntl(copy, F_DUPFD_CLOEXEC, 0);
	else {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
		*reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
	return *reader < 0 ? err_errno(err, "its read end") : 0;
}

/* One pipe while its contents are looked at. */
struct look_inside {
	int reader, len;
	bool read_outside; /* asked before there was a reader of our own */
};

static int stranger_at(const char *what, const char *end, struct err *err)
{
	return err_set(err, ERR_REFUSED,
		       "%s whose %s end is held outside of the tree is not supported", what, end);
}

/* Others that have both ends, as the tree does, are told by no count. A FIFO stays what it is. */
static int check_outsiders(const struct file_save *s, const struct pipe_seen *p, struct err *err)
{
	pid_t pid = p->fifo ? 0 : file_outsider(s, HELD_PIPE, p->ino);

	if (!pid)
		return 0;
	return err_set(err, ERR_REFUSED,
		       "pipe that task %d outside of the tree has as well is not supported", pid);
}

/* ERR_REFUSED: strangers have it, and it was not said that they may. */
static int check_strangers(struct file_save *files, const struct pipes_save *s, struct pipe_seen *p,
			   const struct look_inside *look, const char *what, struct err *err)
{
	int rc = 0;

	if (!p->task[READ_END] && look->read_outside)
		rc = stranger_at(what, "read", err);
	else if (!p->task[WRITE_END] && has_writers(look->reader, s->mirror, look->len))
		rc = stranger_at(what, "write", err);
	else
		rc = check_outsiders(files, p, err);
	if (rc == ERR_REFUSED && (p->fifo ? files->pipes_outside : outside_pipe(files, p->pipe_id)))
		p->outside = true;
	return p->outside ? 0 : rc;
}

/* Bytes that are for a stranger are not kept: he may have read them by then. */
static bool is_for_tree(const struct file_save *files, const struct pipe_seen *p)
{
	return !p->outside || (p->task[READ_END] && !file_outsider_reads(files, p->ino));
}

static int look_inside(struct file_save *files, struct pipes_save *s, struct pipe_seen *p, int copy,
		       const char *what, struct err *err)
{
	struct look_inside look = { .reader = -1, .read_outside = has_readers(copy) };
	int rc = reader_of(p, copy, &look.reader, err);

	if (!rc)
		rc = fit_mirror(s, look.reader, &p->size, err);
	if (!rc && ioctl(look.reader, FIONREAD, &look.len) < 0)
		rc = err_errno(err, "FIONREAD");
	if (!rc)
		rc = check_strangers(files, s, p, &look, what, err);
	if (!rc && is_for_tree(files, p))
		rc = copy_data(p, look.reader, s->mirror, look.len, err);
	mem_close_p(&look.reader);
	/* What may be left in it must not get into the next. */
	if (rc < 0)
		drop_mirror(s);
	return rc;
}

static int settle_one(struct file_save *files, struct pipes_save *s, struct pipe_seen *p,
		      const char *what, struct err *err)
{
	enum end end = p->task[READ_END] ? READ_END : WRITE_END;
	const struct task *task = p->task[end];
	int fd = p->fd[end], rc;
	scoped_fd copy = file_copy(task, fd, err);
	struct err why = {};

	if (copy < 0)
		return copy;
	rc = look_inside(files, s, p, copy, what, &why);
	if (rc == ERR_REFUSED) {
		refuse(files->refusals, "task %d: fd %d: %s", task->pid, fd, why.text);
		return 0;
	}
	return rc < 0 ? err_set(err, rc, "task %d: fd %d: %s", task->pid, fd, why.text) : 0;
}

int pipe_ends_settle(struct file_save *s, struct pipes_save *pipes, const char *what,
		     struct err *err)
{
	int rc = 0;

	for (size_t i = 0; pipes && !rc && i < pipes->n; i++) {
		const struct pipe_seen *p = pipes->pipe[i];

		rc = settle_one(s, pipes, pipes->pipe[i], what, err);
		if (p->fifo && !p->visited && !p->outside)
			ARRAY_PUSH(s->awaited, s->n_awaited, s->cap_awaited, p->pipe_id);
	}
	return rc;
}

/* --- images ------------------------------------------------------------------------------ */

static int append_data(struct img_writer *w, const struct pipe_seen *p, const char *data,
		       uint32_t len, struct err *err)
{
	PipeDataEntry e = PIPE_DATA_ENTRY__INIT;
	int rc;

	e.pipe_id = p->pipe_id;
	e.bytes = len;
	e.has_size = true;
	e.size = p->size;
	rc = img_append(w, &e, err);
	return rc < 0 || !len ? rc : img_append_raw(w, data, len, err);
}

/* One record a pipe, but where there are packets one a packet. */
static int append_pipe(struct img_writer *w, const struct pipe_seen *p, struct err *err)
{
	const char *data = p->data;
	int rc = 0;

	if (!p->n_packets)
		return append_data(w, p, NULL, 0, err);
	for (size_t i = 0; !rc && i < p->n_packets; data += p->packet[i++])
		rc = append_data(w, p, data, p->packet[i], err);
	return rc;
}

int pipe_ends_write(const struct pipes_save *pipes, int dirfd, const char *image, struct err *err)
{
	scoped_writer w = NULL;
	int rc;

	if (!pipes || !pipes->n)
		return 0;
	rc = img_create(&w, err, dirfd, "%s", image);
	for (size_t i = 0; !rc && i < pipes->n; i++)
		rc = append_pipe(w, pipes->pipe[i], err);
	return rc < 0 ? rc : img_close(&w, err);
}

static void free_nothing(void *p)
{
}

void pipe_ends_save_release(struct pipes_save **pipes)
{
	struct pipes_save *s = *pipes;

	*pipes = NULL;
	if (!s)
		return;
	tdestroy(s->by_inode, free_nothing);
	for (size_t i = 0; i < s->n; i++) {
		free(s->pipe[i]->data);
		free(s->pipe[i]->packet);
		free(s->pipe[i]);
	}
	drop_mirror(s);
	free(s->pipe);
	free(s);
}
