/* batch.c - running a plan when it is full or when its results are wanted. */
#include "criu-lite/remote/batch.h"

#include <errno.h>

int batch_run(struct batch *b, struct err *err)
{
	int rc;

	if (!b->plan.n)
		return 0;
	rc = b->run(b, err);
	if (!rc)
		rc = plan_judge(&b->plan, err);
	if (rc < 0)
		return err_add(err, rc, "task %d: thread %d", b->thread->task->pid, b->thread->tid);
	return 0;
}

int batch_flush(struct batch *b, struct err *err)
{
	int rc = batch_run(b, err);

	plan_reset(&b->plan);
	return rc;
}

int batch_room(struct batch *b, size_t rows, size_t bytes, struct err *err)
{
	if (plan_fits(&b->plan, rows, bytes))
		return 0;
	if (rows > b->plan.max_rows || bytes > b->plan.max_data)
		return err_set(err, -E2BIG, "a plan of %zu rows and %zu bytes of data is too large",
			       rows, bytes);
	return batch_flush(b, err);
}
