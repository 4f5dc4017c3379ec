/* proc_limits.c - any bytes as /proc/PID/limits. */
#include <stdlib.h>

#include "criu-lite/proc/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	struct proc_limit v[PROC_N_LIMITS];

	proc_limits_parse((const char *)data, size, v, &err);
	return 0;
}
