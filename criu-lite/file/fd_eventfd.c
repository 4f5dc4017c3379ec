/* fd_eventfd.c - eventfd(2): the counter, and whether it is a semaphore. */
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static bool eventfd_match(const struct fd_look *l)
{
	return l->info->is_eventfd;
}

static int put(int fd, uint64_t n, struct err *err)
{
	if (n && write(fd, &n, sizeof(n)) != sizeof(n))
		return err_errno(err, "eventfd: write");
	return 0;
}

static int take(int fd, uint64_t *n, struct err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	/* The description may be a blocking one. */
	if (poll(&p, 1, 0) != 1 || read(fd, n, sizeof(*n)) != sizeof(*n))
		return err_errno(err, "eventfd: read");
	return 0;
}

/*
 * Kernels before 6.5 do not show EFD_SEMAPHORE. A read tells: a semaphore gives
 * 1 of the 2 that are in it, a counter gives all. Then everything is put back;
 * the tree is frozen and sees at the most one more edge of readiness.
 */
static int find_semaphore(int fd, uint64_t count, bool *semaphore, struct err *err)
{
	uint64_t extra = count < 2 ? 2 - count : 0, got, rest = count + extra;
	int rc = put(fd, extra, err);

	if (!rc)
		rc = take(fd, &got, err);
	if (rc < 0)
		return rc;
	*semaphore = got == 1;
	rest -= got;
	for (; !rc && rest > count; rest -= got)
		rc = take(fd, &got, err);
	return rc < 0 ? rc : put(fd, count - rest, err);
}

static int eventfd_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
{
	bool semaphore = l->info->eventfd_semaphore == 1;
	int rc = 0;

	e->efd->counter = l->info->eventfd_count;
	if (l->info->eventfd_semaphore < 0)
		rc = find_semaphore(l->copy, e->efd->counter, &semaphore, err);
	/* The same bit as O_WRONLY: such a descriptor is always O_RDWR, so there is no doubt. */
	if (semaphore)
		e->efd->flags |= EFD_SEMAPHORE;
	return rc;
}

static int eventfd_build(struct file_build *b, const FileEntry *e, int *fd, struct err *err)
{
	int rc = 0;

	if (e->efd->counter == UINT64_MAX)
		return err_set(err, -EBADMSG, "eventfd %u: no counter reaches %llu", e->id,
			       (unsigned long long)e->efd->counter);
	*fd = eventfd(0, EFD_CLOEXEC | (e->efd->flags & EFD_SEMAPHORE));
	if (*fd < 0)
		return err_errno(err, "eventfd");
	rc = put(*fd, e->efd->counter, err);
	if (!rc && fcntl(*fd, F_SETFL, e->efd->flags & ~(uint32_t)O_ASYNC) < 0)
		rc = err_errno(err, "eventfd: F_SETFL");
	if (rc < 0) {
		close(*fd);
		*fd = -1;
	}
	return rc;
}

const struct file_kind fd_eventfd = {
	.name = "eventfd",
	.type = FD_TYPES__EVENTFD,
	.match = eventfd_match,
	.save = eventfd_save,
	.build = eventfd_build,
};
