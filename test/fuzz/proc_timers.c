/* proc_timers.c - any bytes as /proc/PID/timers. */
#include <stdlib.h>

#include "criu-lite/proc/timers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	struct proc_timer *v = NULL;
	size_t n;

	if (proc_timers_parse((const char *)data, size, &v, &n, &err) == 0)
		free(v);
	return 0;
}
