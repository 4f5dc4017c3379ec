/*
 * plan - a list of system calls for a tracee to make.
 *
 * The tool thinks, a few instructions inside the tracee (the runner, see
 * arch/.../runner.h) walk the rows and write each result back. A plan is built
 * in the tool's own memory and knows the address at which its data will lie in
 * the tracee, so it can be printed and tested without running it.
 *
 *	plan_init(&p, addr, PLAN_ROWS, PLAN_DATA);
 *	at = plan_put(&p, NULL, sizeof(struct itimerval));
 *	plan_add(&p, PLAN_MUST, "getitimer", SYS_getitimer, ITIMER_REAL, at);
 *	... remote_run(thread, &p, err) ...
 *	struct itimerval *v = plan_at(&p, at);
 */
#ifndef REMOTE_PLAN_H
#define REMOTE_PLAN_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What one thread's slice of scratch holds at the most. */
#define PLAN_ROWS 128
#define PLAN_DATA 16384

enum plan_flags {
	ROW_STOP = 1 << 0, /* an errno ends the walk here */
	ROW_KEEP = 1 << 1, /* the result is kept for rows with .use */
};

/* Shared with the runner: 80 bytes, every field a word. */
struct plan_row {
	uint64_t nr; /* system call number */
	uint64_t arg[6];
	int64_t ret; /* written by the runner; PLAN_UNRUN before */
	uint64_t
		undo; /* when the tool dies, or leaves: undo(ret), if ret >= 0; 0 = nothing to undo */
	uint32_t flags; /* enum plan_flags */
	uint32_t use;	/* 1..6: that argument is the last kept result; 0 = none */
};
_Static_assert(sizeof(struct plan_row) == 80, "rows are shared with the runner");

#define PLAN_UNRUN (-4095 - 1000) /* no errno: the row was not reached */

enum plan_judge {
	PLAN_MUST, /* an errno fails the plan; rows behind it are not walked */
	PLAN_MAY,  /* any result is good: the caller looks */
	PLAN_IS,   /* as PLAN_MUST, and the result must equal .expect */
};

struct plan_note {
	enum plan_judge judge;
	int64_t expect;
	const char *what; /* static text or one that outlives the plan */
};

struct plan {
	struct plan_row *row;
	struct plan_note *note;
	size_t n, cap_rows, max_rows;
	char *data;
	size_t len, cap_data, max_data;
	uint64_t addr; /* of data[0] in the tracee */
};

void plan_init(struct plan *p, uint64_t addr, size_t max_rows, size_t max_data);
void plan_release(struct plan *p);
/* Empty it for the next use; results and data are gone. */
void plan_reset(struct plan *p);

/* Is there room for @rows more rows and @bytes more data (alignment included)? */
bool plan_fits(const struct plan *p, size_t rows, size_t bytes);

/*
 * Append a row: system call number and up to six arguments. Returns its index.
 * Running out of room is a caller's mistake (ask plan_fits first): asserted.
 */
#define plan_add(p, judge, what, ...)                                                              \
	plan_add_row((p), (judge), (what), (const uint64_t[7]) { __VA_ARGS__ })
size_t plan_add_row(struct plan *p, enum plan_judge judge, const char *what,
		    const uint64_t nr_args[7]);

/* Copy @len bytes (NULL: zeros, room for an answer) into the data, 16-byte aligned; returns the
 * tracee's address of it. */
uint64_t plan_put(struct plan *p, const void *bytes, size_t len);
uint64_t plan_put_str(struct plan *p, const char *s);
/* The tool's copy of what lies at the tracee's address @addr, until more is put. */
void *plan_at(const struct plan *p, uint64_t addr);

/* After the run: 0, or the first row's errno with "what: text" in @err. */
int plan_judge(const struct plan *p, struct err *err);
/* Result of row @i. */
static inline int64_t plan_ret(const struct plan *p, size_t i)
{
	return p->row[i].ret;
}

/* One line a row: name or number of the call, arguments, result. */
void plan_print(const struct plan *p, FILE *f);

#endif
