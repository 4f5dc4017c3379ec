/*
 * row - small habits of the kinds: rows that ask by prctl(2), and where their
 * answers are. A kind's cookie is the index of its first row; the address of an
 * answer is that row's argument.
 */
#ifndef TASK_ROW_H
#define TASK_ROW_H

#include "criu-lite/remote/plan.h"

#include <sys/syscall.h>

/* What the call wrote to its argument @arg. */
static inline void *row_answer(const struct plan *p, size_t row, int arg)
{
	return plan_at(p, p->row[row].arg[arg]);
}

/* prctl(@option, &int): the answer is argument 1. */
static inline size_t row_prctl_int(struct plan *p, enum plan_judge judge, const char *what,
				   int option)
{
	uint64_t at = plan_put(p, NULL, sizeof(int));

	return plan_add(p, judge, what, SYS_prctl, (uint64_t)option, at);
}

#endif
