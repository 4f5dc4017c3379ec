/*
 * phases - where the time of a dump or a restore goes, in microseconds.
 */
#ifndef DUMP_PHASES_H
#define DUMP_PHASES_H

#include "proto/criu-lite.pb-c.h"

#include <stdint.h>

struct phases {
	SdPhase **phase; /* owned until phases_move */
	size_t n, cap;
	uint64_t begun; /* of the running phase; CLOCK_MONOTONIC */
};

uint64_t now_us(void); /* CLOCK_MONOTONIC */
/* The phase before ends here; @name is static text. */
void phase(struct phases *p, const char *name);
/* The same, a moment ago. */
void phase_since(struct phases *p, const char *name, uint64_t at_us);
void phases_end(struct phases *p);
/* Hand the list to a message's repeated field. */
void phases_move(struct phases *p, SdPhase ***to, size_t *n);
void phases_release(struct phases *p);

#endif
