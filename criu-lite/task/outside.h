/* outside - setting what /proc/PID lets a stranger set. */
#ifndef TASK_OUTSIDE_H
#define TASK_OUTSIDE_H

#include "base/err.h"

#include <sys/types.h>

/* Write the text into /proc/@pid/@file; the error names both. */
int outside_write(pid_t pid, const char *file, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
