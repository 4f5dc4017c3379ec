/* range - which of two places comes first. */
#ifndef BASE_RANGE_H
#define BASE_RANGE_H

#include <stdint.h>

static inline uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t higher(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
