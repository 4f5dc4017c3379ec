/* fd_signalfd.c - signalfd(2): a mask; the signals themselves are the reader's. */
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool signalfd_match(const struct fd_look *l)
{
	return l->info->is_signalfd;
}

static int signalfd_save(struct file_save *s, const struct fd_look *l, FileEntry *e,
			 struct err *err)
{
	e->sgfd->sigmask = l->info->sigmask;
	return 0;
}

static int signalfd_build(struct file_build *b, const FileEntry *e, int *fd, struct err *err)
{
	uint64_t mask = e->sgfd->sigmask;

	/* The system call: the library's mask is longer than the kernel's. */
	*fd = syscall(SYS_signalfd4, -1, &mask, sizeof(mask), SFD_CLOEXEC);
	if (*fd < 0)
		return err_errno(err, "signalfd");
	if (fcntl(*fd, F_SETFL, e->sgfd->flags & ~(uint32_t)O_ASYNC) == 0)
		return 0;
	close(*fd);
	*fd = -1;
	return err_errno(err, "signalfd: F_SETFL");
}

const struct file_kind fd_signalfd = {
	.name = "signalfd",
	.type = FD_TYPES__SIGNALFD,
	.match = signalfd_match,
	.save = signalfd_save,
	.build = signalfd_build,
};
