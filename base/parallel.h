/*
 * parallel - the same work on many things, by as many threads as there are processors.
 *
 * @work is called for every number below @n, in no order and at the same time: it
 * may change nothing but what belongs to that number alone, and may do nothing that
 * the kernel knows by thread, as ptrace(2). What is returned is what a plain loop
 * would have returned, which is why messages stay the same from one run to the next:
 * the error of the lowest number that has one, with everything before it done and
 * what is behind it done or not. Few things are done by the caller alone, and so is
 * all of it where no thread can be had.
 */
#ifndef BASE_PARALLEL_H
#define BASE_PARALLEL_H

#include "base/err.h"

typedef int parallel_work(void *arg, size_t i, struct err *err);

int parallel(size_t n, parallel_work *work, void *arg, struct err *err);
/* Where each of them is so much that two are worth two threads. */
int parallel_large(size_t n, parallel_work *work, void *arg, struct err *err);

/* How many processors this thread may run on; 1 if nobody knows. */
size_t processors(void);

#endif
