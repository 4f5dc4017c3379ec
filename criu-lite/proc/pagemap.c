/* pagemap.c - /proc/PID/pagemap: reading entries, and asking by PAGEMAP_SCAN. */
#include "criu-lite/proc/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/* Regions that one call of the ioctl can return. */
#define SCAN_BATCH 2048

int proc_pagemap_open(const struct proc_dir *dir, struct err *err)
{
	int fd = proc_openat(dir, "pagemap", O_RDONLY);

	return fd < 0 ? err_code(err, fd, "open pagemap") : fd;
}

int proc_pagemap_read(int pagemap_fd, uint64_t start, size_t n_pages, uint64_t *entries,
		      struct err *err)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	off_t at = (off_t)(start / page * sizeof(*entries));
	size_t want = n_pages * sizeof(*entries), done = 0;

	while (done < want) {
		ssize_t n =
			pread(pagemap_fd, (char *)entries + done, want - done, at + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "read pagemap at %" PRIx64, start);
		if (!n)
			break;
		done += (size_t)n;
	}
	memset((char *)entries + done, 0, want - done);
	return 0;
}

void page_regions_release(struct page_regions *regions)
{
	free(regions->v);
	*regions = (struct page_regions) {};
}

/* The kernel joins neighbours within one call only. Returns the bytes. */
static uint64_t add_region(struct page_regions *out, const struct page_region *r)
{
	struct page_region *last = out->n ? &out->v[out->n - 1] : NULL;

	if (last && last->end == r->start && last->categories == r->categories)
		last->end = r->end;
	else
		ARRAY_PUSH(out->v, out->n, out->cap, *r);
	return r->end - r->start;
}

/*
 * The kernel walks in steps of its own and sets walk_end when a step fills up. When the
 * last step does not (seen on 6.18), walk_end is left at the step before, and the regions
 * behind it would come a second time.
 */
static uint64_t walked_to(const struct pm_scan_arg *arg, const struct page_region *batch, int n)
{
	if (n && batch[n - 1].end > arg->walk_end)
		return batch[n - 1].end;
	return arg->walk_end;
}

int pagemap_scan(int pagemap_fd, uint64_t start, uint64_t end, const struct pagemap_query *query,
		 struct page_regions *out, struct err *err)
{
	scoped struct page_region *batch = xmalloc(SCAN_BATCH * sizeof(*batch));
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = query->flags,
		.end = end,
		.vec = (uint64_t)(uintptr_t)batch,
		.vec_len = SCAN_BATCH,
		.category_inverted = query->inverted,
		.category_mask = query->mask,
		.category_anyof_mask = query->anyof,
		.return_mask = query->return_mask,
	};
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t bytes = 0;

	while (start < end && (!query->max_pages || bytes / page < query->max_pages)) {
		uint64_t next;
		int n;

		arg.start = start;
		arg.walk_end = 0;
		arg.max_pages = query->max_pages ? query->max_pages - bytes / page : 0;
		n = ioctl(pagemap_fd, PAGEMAP_SCAN, &arg);
		if (n < 0 && errno == EINTR && arg.walk_end <= start)
			continue;
		if (n < 0)
			return err_errno(err, "PAGEMAP_SCAN of %" PRIx64 "-%" PRIx64, start, end);
		for (int i = 0; i < n; i++)
			bytes += add_region(out, &batch[i]);
		next = walked_to(&arg, batch, n);
		if (next <= start)
			return err_set(err, -EIO, "PAGEMAP_SCAN stands still at %" PRIx64, start);
		start = next;
	}
	return 0;
}
