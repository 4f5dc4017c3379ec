/* fds.c - room for descriptors, before there are threads. */
#include "base/fds.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define ENOUGH 4096

/* The table has room for the highest number that was ever in it. */
static void grow(int size)
{
	int one = eventfd(0, EFD_CLOEXEC), highest;

	if (one < 0)
		return;
	highest = fcntl(one, F_DUPFD_CLOEXEC, size - 1);
	if (highest >= 0)
		close(highest);
	close(one);
}

void fds_make_room(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit); /* which cannot fail; what needs more says so */
	grow(limit.rlim_cur < ENOUGH ? (int)limit.rlim_cur : ENOUGH);
}
