/* proc_auxv.c - any bytes as /proc/PID/auxv. */
#include <stdlib.h>

#include "criu-lite/proc/auxv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	struct proc_auxv *v = NULL;
	size_t n;

	if (proc_auxv_parse((const char *)data, size, &v, &n, &err) == 0)
		free(v);
	return 0;
}
