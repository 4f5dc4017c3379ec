/* proc_timens.c - any bytes as /proc/PID/timens_offsets. */
#include <stdlib.h>

#include "criu-lite/proc/timens.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	struct proc_timens v;

	proc_timens_parse((const char *)data, size, &v, &err);
	return 0;
}
