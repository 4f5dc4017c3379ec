/* proc_status.c - any bytes as /proc/PID/status. */
#include <stdlib.h>

#include "criu-lite/proc/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	struct proc_status s;

	if (proc_status_parse((const char *)data, size, &s, &err) == 0)
		proc_status_release(&s);
	return 0;
}
