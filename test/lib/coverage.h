/*
 * coverage.h - included before all else in what `make coverage` builds: a process
 * that ends by _exit(2), as forked ones do, leaves its counters, too. Killed ones
 * and those that end by a system call of their own do not.
 */
#if !defined(TEST_LIB_COVERAGE_H) && !defined(__ASSEMBLER__)
#define TEST_LIB_COVERAGE_H

#include <unistd.h>

void __gcov_dump(void); /* libgcov */

__attribute__((noreturn)) static inline void coverage_exit(int status)
{
	__gcov_dump();
	_exit(status);
}
#define _exit(status) coverage_exit(status)

#endif
