/* uffd.c - userfaultfd(2) from outside of the task whose memory it is about. */
#include "criu-lite/track/uffd.h"
#include "base/kernel-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>
#include <unistd.h>

int uffd_open_in(struct batch *b, int pidfd, struct err *err)
{
	size_t row;
	int64_t fd;
	int ours, rc;

	row = plan_add(&b->plan, PLAN_MAY, "userfaultfd", SYS_userfaultfd,
		       O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	b->plan.row[row].undo = SYS_close;
	rc = batch_run(b, err);
	fd = rc < 0 ? rc : plan_ret(&b->plan, row);
	plan_reset(&b->plan);
	if (fd < 0)
		return fd;
	ours = syscall(SYS_pidfd_getfd, pidfd, (int)fd, 0);
	plan_add(&b->plan, PLAN_MUST, "closing the userfaultfd", SYS_close, fd);
	rc = batch_flush(b, err);
	if (rc < 0 && ours >= 0)
		close(ours);
	return rc < 0 ? rc : ours;
}

int uffd_init(int uffd, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	return ioctl(uffd, UFFDIO_API, &api) < 0 ? -errno : 0;
}

static int register_for(int uffd, uint64_t start, uint64_t end, uint64_t mode)
{
	struct uffdio_register r = { .range = { start, end - start }, .mode = mode };

	return ioctl(uffd, UFFDIO_REGISTER, &r) < 0 ? -errno : 0;
}

int uffd_register(int uffd, uint64_t start, uint64_t end)
{
	return register_for(uffd, start, end, UFFDIO_REGISTER_MODE_WP);
}

int uffd_register_empty(int uffd, uint64_t start, uint64_t end)
{
	return register_for(uffd, start, end, UFFDIO_REGISTER_MODE_MISSING);
}

int uffd_unregister(int uffd, uint64_t start, uint64_t end)
{
	struct uffdio_range r = { start, end - start };

	return ioctl(uffd, UFFDIO_UNREGISTER, &r) < 0 ? -errno : 0;
}

int uffd_unprotect(int uffd, uint64_t start, uint64_t end)
{
	struct uffdio_writeprotect w = { .range = { start, end - start },
					 .mode = UFFDIO_WRITEPROTECT_MODE_DONTWAKE };

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &w) < 0 ? -errno : 0;
}

uint64_t uffd_copy(int uffd, uint64_t to, const void *from, uint64_t len)
{
	struct uffdio_copy c = {
		.dst = to, .src = (uintptr_t)from, .len = len, .mode = UFFDIO_COPY_MODE_DONTWAKE
	};

	/* Broken off half-way it fails, and says in .copy how far it came. */
	return ioctl(uffd, UFFDIO_COPY, &c) == 0 ? len : c.copy > 0 ? (uint64_t)c.copy : 0;
}
