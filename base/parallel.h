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

#include <pthread.h>

#include "base/err.h"

typedef int parallel_work(void *arg, size_t i, struct err *err);

int parallel(size_t n, parallel_work *work, void *arg, struct err *err);
/* Where some of them are tasks, of which two dozen files are read. */
int parallel_some(size_t n, parallel_work *work, void *arg, struct err *err);
/* Where each of them is so much that two are worth two threads. */
int parallel_large(size_t n, parallel_work *work, void *arg, struct err *err);

/* How many processors this thread may run on; 1 if nobody knows. */
size_t processors(void);

/* A thread that no signal reaches: they are for the one that knows what to do then. */
bool thread_start(pthread_t *thread, void *(*run)(void *), void *arg);

/*
 * What is not urgent is to have only what processors nobody else wants (SCHED_IDLE, see
 * sched(7)). That takes a second one, and permission to end it when it becomes urgent.
 */
bool may_be_idle(void);
/* From now on, or no longer. */
void be_idle(pthread_t thread, bool idle);

/*
 * One piece of work while the caller does something else, in idle time until aside_end waits for
 * it; where that is not to be had, aside_end does it. The rules are those for @work above, and
 * what it needs must stay until then.
 */
struct aside;
struct aside *aside_begin(int (*work)(void *arg, struct err *err), void *arg);
/* The same, but it is urgent as well: as any other thread. */
struct aside *aside_begin_urgent(int (*work)(void *arg, struct err *err), void *arg);
/* What @work returned, with its message; *a is NULL then. 0 if it was NULL already. */
int aside_end(struct aside **a, struct err *err);

#endif
