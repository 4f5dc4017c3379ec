/*
 * precopy - pages read before the freeze, so that they need not be read in it.
 *
 * The tracker tells what a task has written since the parent, and arms anew; then these
 * pages are read while the task runs. Those that it does not write again until it is
 * frozen (the tracker knows) are saved from here, and are not touched in the window.
 *
 *	precopy_task(p, track, task, most)	before the freeze
 *	precopy_find(p, task)			frozen: what there is of it; NULL: nothing
 *	precopy_at(c, vaddr)			the run that holds vaddr or the first behind it
 *
 * The bytes live as long as the precopy.
 */
#ifndef TASK_PRECOPY_H
#define TASK_PRECOPY_H

#include "criu-lite/track/track.h"

struct precopy;
struct precopied; /* of one task */

/* Everything that was armed is in one: what could not be read is to be read again. */
struct precopy_run {
	uint64_t start, end;
	const char *bytes; /* NULL: read it in the freeze, as if it was written */
	const bool *zero;  /* one a page */
};

struct precopy *precopy_new(void);
/*
 * At most @most bytes of @task (pid, start_time, proc). Returns the bytes read; *@left: bytes that
 * were armed as well, but are to be read in the freeze.
 */
uint64_t precopy_task(struct precopy *p, struct track *t, const struct task *task, uint64_t most,
		      uint64_t *left);
const struct precopied *precopy_find(const struct precopy *p, const struct task *task);
/* NULL, also for @c NULL: none. */
const struct precopy_run *precopy_at(const struct precopied *c, uint64_t vaddr);
void precopy_free(struct precopy *p); /* NULL is fine */

#endif
