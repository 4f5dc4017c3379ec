/*
 * stranger.c - somebody who tracks the writes of a task for ends of his own.
 *
 *	stranger wp-async|soft-dirty PID
 *
 * Takes note of all its pages and marks them clean, as a tool like ours would: what
 * was written before is seen by nobody who comes later. Prints how many pages were.
 */
#include "base/kernel-abi.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REGIONS = 512, PAGE = 4096 };

static int open_of(const char *pid, const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
	return open(path, flags | O_CLOEXEC);
}

static int scan_and_arm(int pagemap)
{
	static struct page_region found[REGIONS];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING,
		.end = 0x7ffffffff000,
		.vec = (uintptr_t)found,
		.vec_len = REGIONS,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	long pages = 0, n;

	for (; arg.start < arg.end; arg.start = arg.walk_end) {
		n = ioctl(pagemap, PAGEMAP_SCAN, &arg);
		if (n < 0)
			return -1;
		for (long i = 0; i < n; i++)
			pages += (long)((found[i].end - found[i].start) / PAGE);
	}
	return printf("%ld\n", pages);
}

int main(int argc, char **argv)
{
	int fd, rc;

	if (argc != 3)
		return 2;
	if (!strcmp(argv[1], "wp-async")) {
		fd = open_of(argv[2], "pagemap", O_RDONLY);
		rc = fd < 0 ? -1 : scan_and_arm(fd);
	} else {
		fd = open_of(argv[2], "clear_refs", O_WRONLY);
		rc = fd < 0 ? -1 : (int)write(fd, "4", 1);
	}
	if (rc < 0)
		perror("stranger");
	return rc < 0;
}
