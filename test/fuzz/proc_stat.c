/* proc_stat.c - any bytes as /proc/PID/stat. */
#include <stdlib.h>

#include "criu-lite/proc/stat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	struct proc_stat s;

	proc_stat_parse((const char *)data, size, &s, &err);
	return 0;
}
