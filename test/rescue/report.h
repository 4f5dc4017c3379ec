/*
 * report.h - what a rescue victim says about itself, in a file that it maps.
 */
#ifndef RESCUE_REPORT_H
#define RESCUE_REPORT_H

#include <stdint.h>

#define REPORT_THREADS 1024

struct report {
	volatile uint32_t threads; /* that will count rounds; 0: not ready yet */
	volatile uint32_t damage;  /* things found that nobody should have changed */
	volatile uint32_t eintr;   /* calls that came back with EINTR: only a rescue may do that */
	volatile uint32_t early;   /* sleeps that ended before their time */
	char last[232];		   /* the last damage, in words */
	volatile uint64_t round[REPORT_THREADS];
};

#endif
