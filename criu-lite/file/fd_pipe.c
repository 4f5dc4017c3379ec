/* fd_pipe.c - the ends of anonymous pipes. */
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/outside.h"
#include "criu-lite/file/pipe-ends.h"
#include "criu-lite/proc/fdinfo.h"

#include <errno.h>
#include <linux/watch_queue.h>
#include <sys/ioctl.h>

static bool pipe_match(const struct fd_look *l)
{
	struct proc_link link;

	proc_link_parse(l->link, &link);
	return link.kind == PROC_LINK_PIPE && S_ISFIFO(l->st.st_mode);
}

/* A size of nothing is refused as such (EINVAL, EBUSY) only by those that have a queue. */
static bool is_watch_queue(int fd)
{
	return ioctl(fd, IOC_WATCH_QUEUE_SET_SIZE, 0) < 0 && (errno == EINVAL || errno == EBUSY);
}

static int pipe_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
{
	if (is_watch_queue(l->copy))
		return err_set(err, ERR_REFUSED,
			       "a watch queue (O_NOTIFICATION_PIPE) is not supported");
	pipe_ends_see(&s->state->pipes, l, &e->pipe->pipe_id);
	return 0;
}

static int pipe_settle(struct file_save *s, struct err *err)
{
	return pipe_ends_settle(s, s->state->pipes, "pipe", err);
}

static int pipe_write(struct file_save *s, int dirfd, struct err *err)
{
	return pipe_ends_write(s->state->pipes, dirfd, "pipes-data.img", err);
}

static void pipe_save_release(struct file_save *s)
{
	pipe_ends_save_release(&s->state->pipes);
}

static int pipe_load(struct file_build *b, struct err *err)
{
	for (size_t i = 0; i < b->n_entries; i++) {
		const FileEntry *e = b->state->slot[i].e;

		if (e->type == FD_TYPES__PIPE && b->state->slot[i].rows)
			pipe_ends_expect(&b->state->pipes, e->pipe->pipe_id, e->pipe->flags, false);
	}
	return pipe_ends_load(b->state->pipes, b->dirfd, "pipes-data.img", err);
}

static int pipe_build(struct file_build *b, const FileEntry *e, int *fd, struct err *err)
{
	const struct file_given *given = outside_given(b, e);
	struct pipe_from from = { .given = given ? given->fd : -1 };

	return pipe_ends_open(b->state->pipes, e->pipe->pipe_id, &from, e->pipe->flags, fd, err);
}

static void pipe_build_release(struct file_build *b)
{
	pipe_ends_build_release(&b->state->pipes);
}

const struct file_kind fd_pipe = {
	.name = "pipe",
	.type = FD_TYPES__PIPE,
	.match = pipe_match,
	.save = pipe_save,
	.settle = pipe_settle,
	.build = pipe_build,
	.write = pipe_write,
	.load = pipe_load,
	.save_release = pipe_save_release,
	.build_release = pipe_build_release,
};
