/* plan.c - building, judging and printing lists of system calls. */
#include "criu-lite/remote/plan.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define PLAN_ALIGN 16

/* There is one a thread, and most have a few rows: what is never used should cost nothing. */
enum { FIRST_ROWS = 16, FIRST_DATA = 256 };

static void grow_rows(struct plan *p, size_t cap)
{
	p->row = xreallocarray(p->row, cap, sizeof(*p->row));
	p->note = xreallocarray(p->note, cap, sizeof(*p->note));
	p->cap_rows = cap;
}

static void grow_data(struct plan *p, size_t cap)
{
	p->data = xreallocarray(p->data, cap, 1);
	p->cap_data = cap;
}

void plan_init(struct plan *p, uint64_t addr, size_t max_rows, size_t max_data)
{
	*p = (struct plan) { .max_rows = max_rows, .max_data = max_data, .addr = addr };
	grow_rows(p, FIRST_ROWS);
	grow_data(p, FIRST_DATA);
}

void plan_release(struct plan *p)
{
	free(p->row);
	free(p->note);
	free(p->data);
	*p = (struct plan) {};
}

void plan_reset(struct plan *p)
{
	p->n = 0;
	p->len = 0;
}

static size_t rounded(size_t n)
{
	return (n + PLAN_ALIGN - 1) & ~(size_t)(PLAN_ALIGN - 1);
}

bool plan_fits(const struct plan *p, size_t rows, size_t bytes)
{
	return p->n + rows <= p->max_rows && p->len + rounded(bytes) <= p->max_data;
}

size_t plan_add_row(struct plan *p, enum plan_judge judge, const char *what,
		    const uint64_t nr_args[7])
{
	struct plan_row *row;

	assert(p->n < p->max_rows);
	if (p->n == p->cap_rows)
		grow_rows(p, 2 * p->cap_rows);
	row = &p->row[p->n];
	*row = (struct plan_row) { .nr = nr_args[0], .ret = PLAN_UNRUN };
	memcpy(row->arg, nr_args + 1, sizeof(row->arg));
	if (judge != PLAN_MAY)
		row->flags = ROW_STOP;
	p->note[p->n] = (struct plan_note) { .judge = judge, .what = what };
	return p->n++;
}

uint64_t plan_put(struct plan *p, const void *bytes, size_t len)
{
	uint64_t at = p->addr + p->len;

	assert(plan_fits(p, 0, len));
	if (p->len + rounded(len) > p->cap_data)
		grow_data(p, 2 * (p->len + rounded(len)));
	memset(p->data + p->len, 0, rounded(len));
	if (bytes)
		memcpy(p->data + p->len, bytes, len);
	p->len += rounded(len);
	return at;
}

uint64_t plan_put_str(struct plan *p, const char *s)
{
	return plan_put(p, s, strlen(s) + 1);
}

void *plan_at(const struct plan *p, uint64_t addr)
{
	assert(addr >= p->addr && addr - p->addr < p->len);
	return p->data + (addr - p->addr);
}

static bool is_errno(int64_t ret)
{
	return ret < 0 && ret >= -4095;
}

int plan_judge(const struct plan *p, struct err *err)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_note *note = &p->note[i];
		int64_t ret = p->row[i].ret;

		if (note->judge == PLAN_MAY)
			continue;
		if (ret == PLAN_UNRUN)
			return err_set(err, -EIO, "%s: the call was not reached", note->what);
		if (is_errno(ret))
			return err_code(err, (int)ret, "%s", note->what);
		if (note->judge == PLAN_IS && ret != note->expect)
			return err_set(err, -EIO, "%s: gave %" PRId64 ", not %" PRId64, note->what,
				       ret, note->expect);
	}
	return 0;
}

void plan_print(const struct plan *p, FILE *f)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_row *r = &p->row[i];

		fprintf(f, "%3zu %s: call %" PRIu64 "(", i, p->note[i].what, r->nr);
		for (int a = 0; a < 6; a++)
			fprintf(f, "%s%#" PRIx64, a ? ", " : "", r->arg[a]);
		if (r->ret == PLAN_UNRUN)
			fprintf(f, ")\n");
		else
			fprintf(f, ") = %" PRId64 "\n", r->ret);
	}
}
