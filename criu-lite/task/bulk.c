/* bulk.c - arguments that may not fit into a plan. */
#include "criu-lite/task/bulk.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { SMALL = 4096, PAGE = 4096 };

static int map_room(struct batch *b, size_t len, uint64_t *addr, struct err *err)
{
	int rc = batch_flush(b, err);

	if (rc < 0)
		return rc;
	plan_add(&b->plan, PLAN_MUST, "map room for an argument", SYS_mmap, 0, len,
		 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0);
	rc = batch_run(b, err);
	*addr = (uint64_t)plan_ret(&b->plan, 0);
	plan_reset(&b->plan);
	return rc;
}

int bulk_put(struct bulk *k, struct batch *b, size_t rows, const void *bytes, size_t len,
	     struct err *err)
{
	struct iovec from = { (void *)bytes, len }, to;
	ssize_t n;
	int rc;

	*k = (struct bulk) {};
	if (len <= SMALL) {
		rc = batch_room(b, rows, len, err);
		if (!rc)
			k->addr = plan_put(&b->plan, bytes, len);
		return rc;
	}
	k->mapped = (len + PAGE - 1) & ~(size_t)(PAGE - 1);
	rc = map_room(b, k->mapped, &k->addr, err);
	if (rc < 0)
		return rc;
	to = (struct iovec) { (void *)k->addr, len };
	n = process_vm_writev(b->thread->tid, &from, 1, &to, 1, 0);
	if (n < 0)
		return err_errno(err, "thread %d: write an argument of %zu bytes", b->thread->tid,
				 len);
	if ((size_t)n != len)
		return err_set(err, -EIO, "thread %d: %zd of %zu bytes of an argument written",
			       b->thread->tid, n, len);
	return batch_room(b, rows, 0, err);
}

int bulk_drop(struct bulk *k, struct batch *b, struct err *err)
{
	int rc;

	if (!k->mapped)
		return 0;
	rc = batch_room(b, 1, 0, err);
	if (rc < 0)
		return rc;
	plan_add(&b->plan, PLAN_MUST, "unmap an argument", SYS_munmap, k->addr, k->mapped);
	k->mapped = 0;
	return 0;
}
