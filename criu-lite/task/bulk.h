/*
 * bulk - an argument of any size for a row: in the plan's own data when it is
 * small, else in a mapping that the newborn makes and gives back.
 *
 *	struct bulk k = {};
 *	rc = bulk_put(&k, batch, rows, bytes, len, err);   room for @rows rows comes with it
 *	plan_add(&batch->plan, ..., k.addr, ...);
 *	rc = bulk_drop(&k, batch, err);
 */
#ifndef TASK_BULK_H
#define TASK_BULK_H

#include "criu-lite/remote/batch.h"

struct bulk {
	uint64_t addr; /* in the newborn */
	size_t mapped; /* 0: it lies in the plan */
};

int bulk_put(struct bulk *k, struct batch *b, size_t rows, const void *bytes, size_t len,
	     struct err *err);
/* After the rows that use it: one more row at the most. */
int bulk_drop(struct bulk *k, struct batch *b, struct err *err);

#endif
