/*
 * parents - what the checkpoint has that this one is an increment on.
 *
 * What is published does not change, so it may be read before the freeze, where nobody waits:
 * the links of a long chain take milliseconds, as do the pagemaps of large tasks.
 *
 *	parents_open -> parents_expect, for tasks that are likely to be saved -> parents_of
 */
#ifndef TASK_PARENTS_H
#define TASK_PARENTS_H

#include "images/chain.h"

struct parents;

/* Of the checkpoint @at and all before it. On failure there is nothing to be freed. */
int parents_open(struct parents **out, const struct chain_at *at, struct err *err);
/* NULL is fine, and is not opened on anything. */
bool parents_are_of(const struct parents *p, const struct chain_at *at);
const struct chain_links *parents_links(const struct parents *p);
/* Reads the pagemap of the task @pid; what cannot be read is told by parents_of. */
void parents_expect(struct parents *p, pid_t pid);
/* *@out, @p's own, is NULL when the parent did not have this task. */
int parents_of(struct parents *p, pid_t pid, const struct pagemap **out, struct err *err);
/* NULL is fine. */
void parents_free(struct parents *p);

#endif
