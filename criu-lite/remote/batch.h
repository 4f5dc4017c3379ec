/*
 * batch - a plan that runs whenever it is full.
 *
 * Rebuilding adds rows without end (a row a VMA, three a descriptor). Ask for
 * room before each group of rows that belongs together; when it does not fit,
 * what is there is run, judged and forgotten, so results must be fetched before
 * the next call of batch_room.
 */
#ifndef REMOTE_BATCH_H
#define REMOTE_BATCH_H

#include "criu-lite/remote/plan.h"
#include "criu-lite/remote/tree.h"

struct batch {
	struct plan plan;
	struct thread *thread;
	/* Run the plan in @thread, copy results back; set by whoever made the batch. */
	int (*run)(struct batch *b, struct err *err);
	void *arg;
};

int batch_room(struct batch *b, size_t rows, size_t bytes, struct err *err);
/* Run, judge and empty it, whatever is in it (nothing: nothing is run). */
int batch_flush(struct batch *b, struct err *err);
/* Run and judge; the rows stay readable (plan_ret, plan_at) until plan_reset(&b->plan). */
int batch_run(struct batch *b, struct err *err);

#endif
