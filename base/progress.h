/*
 * progress - how far long work has come, for somebody who looks at it from
 * another thread. The worker never waits for the onlooker: a terminal that is
 * held must not keep a task frozen.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdatomic.h>
#include <stdint.h>

struct progress {
	_Atomic(const char *) what; /* static text; NULL: nothing begun */
	atomic_uint_least64_t done, of;
};

/* All are nothing when @p is NULL. @of 0: how much there is to do is not known. */
static inline void progress_begin(struct progress *p, const char *what, uint64_t of)
{
	if (!p)
		return;
	atomic_store(&p->done, 0);
	atomic_store(&p->of, of);
	atomic_store(&p->what, what);
}

static inline void progress_add(struct progress *p, uint64_t n)
{
	if (p)
		atomic_fetch_add_explicit(&p->done, n, memory_order_relaxed);
}

#endif
