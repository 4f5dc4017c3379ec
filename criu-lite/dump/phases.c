/* phases.c - a stopwatch with names. */
#include "criu-lite/dump/phases.h"
#include "base/mem.h"
#include "base/step.h"

#include <time.h>

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void phases_end(struct phases *p)
{
	if (p->n && p->begun)
		p->phase[p->n - 1]->us = now_us() - p->begun;
	p->begun = 0;
}

void phase_since(struct phases *p, const char *name, uint64_t at_us)
{
	SdPhase *next = xmalloc(sizeof(*next));

	if (p->n && p->begun)
		p->phase[p->n - 1]->us = at_us > p->begun ? at_us - p->begun : 0;
	sd_phase__init(next);
	next->name = xstrdup(name);
	ARRAY_PUSH(p->phase, p->n, p->cap, next);
	p->begun = at_us;
}

void phase(struct phases *p, const char *name)
{
	STEP();
	phase_since(p, name, now_us());
}

void phases_move(struct phases *p, SdPhase ***to, size_t *n)
{
	phases_end(p);
	*to = p->phase;
	*n = p->n;
	*p = (struct phases) {};
}

void phases_release(struct phases *p)
{
	for (size_t i = 0; i < p->n; i++)
		sd_phase__free_unpacked(p->phase[i], NULL);
	free(p->phase);
	*p = (struct phases) {};
}
