/* fd_timerfd.c - timerfd_create(2): the time left, and expirations not read yet. */
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif

enum { NS_PER_S = 1000000000 };

static bool timerfd_match(const struct fd_look *l)
{
	return l->info->is_timerfd;
}

static bool zero(const struct timespec *t)
{
	return !t->tv_sec && !t->tv_nsec;
}

/*
 * An interval timer that has expired stands still until somebody reads it or
 * asks for its time, which makes up for the intervals missed. So ask first, and
 * read the number of expirations then.
 */
static int timerfd_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
{
	struct proc_fdinfo info = {};
	struct itimerspec left;
	int rc;

	if (timerfd_gettime(l->copy, &left) < 0)
		return err_errno(err, "timerfd_gettime");
	rc = proc_fdinfo_read(l->task->proc, l->fd, &info, err);
	if (rc < 0)
		return rc;
	/* Due, but its interrupt has not come: a value of zero would disarm it for ever. */
	if (zero(&left.it_value) && !zero(&l->info->it_value) && !info.ticks)
		left.it_value.tv_nsec = 1;
	e->tfd->clockid = info.clockid;
	e->tfd->ticks = info.ticks;
	e->tfd->settime_flags = info.settime_flags;
	e->tfd->vsec = left.it_value.tv_sec;
	e->tfd->vnsec = left.it_value.tv_nsec;
	e->tfd->isec = left.it_interval.tv_sec;
	e->tfd->insec = left.it_interval.tv_nsec;
	proc_fdinfo_release(&info);
	return 0;
}

/* @value was the time left; an absolute timer wants the time itself. */
static int make_absolute(clockid_t clock, struct timespec *value, struct err *err)
{
	struct timespec now;

	if (clock_gettime(clock, &now) < 0)
		return err_errno(err, "timerfd: clock %d", clock);
	value->tv_sec += now.tv_sec;
	value->tv_nsec += now.tv_nsec;
	if (value->tv_nsec >= NS_PER_S) {
		value->tv_nsec -= NS_PER_S;
		value->tv_sec++;
	}
	return 0;
}

static int arm(int fd, const TimerfdEntry *t, struct err *err)
{
	struct itimerspec its = { .it_value = { t->vsec, t->vnsec },
				  .it_interval = { t->isec, t->insec } };
	int rc = 0;

	if (t->vsec > INT64_MAX / 4 || t->isec > INT64_MAX / 4 || t->vnsec >= NS_PER_S ||
	    t->insec >= NS_PER_S)
		return err_set(err, -EBADMSG, "timerfd %u: not a time", t->id);
	/* Expired and not read when criu looked: no time is left, but it was armed, as its ticks tell. */
	if (zero(&its.it_value) && t->ticks)
		its.it_value = its.it_interval;
	if (t->settime_flags & TFD_TIMER_ABSTIME && !zero(&its.it_value))
		rc = make_absolute(t->clockid, &its.it_value, err);
	if (rc < 0)
		return rc;
	if (timerfd_settime(fd, t->settime_flags, &its, NULL) < 0)
		return err_errno(err, "timerfd_settime");
	/* Setting the time forgets them, so they come after it. */
	if (t->ticks && ioctl(fd, TFD_IOC_SET_TICKS, &t->ticks) < 0)
		return err_errno(err, "timerfd: expirations (needs CONFIG_CHECKPOINT_RESTORE)");
	return 0;
}

static int timerfd_build(struct file_build *b, const FileEntry *e, int *fd, struct err *err)
{
	int rc;

	*fd = timerfd_create(e->tfd->clockid, TFD_CLOEXEC);
	if (*fd < 0)
		return err_errno(err, "timerfd_create of clock %u", e->tfd->clockid);
	rc = arm(*fd, e->tfd, err);
	if (!rc && fcntl(*fd, F_SETFL, e->tfd->flags & ~(uint32_t)O_ASYNC) < 0)
		rc = err_errno(err, "timerfd: F_SETFL");
	if (rc < 0) {
		close(*fd);
		*fd = -1;
	}
	return rc;
}

const struct file_kind fd_timerfd = {
	.name = "timerfd",
	.type = FD_TYPES__TIMERFD,
	.match = timerfd_match,
	.save = timerfd_save,
	.build = timerfd_build,
};
