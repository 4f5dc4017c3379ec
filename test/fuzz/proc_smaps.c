/* proc_smaps.c - any bytes as /proc/PID/smaps. */
#include <stdlib.h>

#include "criu-lite/proc/smaps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	struct proc_smap *v = NULL;
	size_t n;

	if (proc_smaps_parse((const char *)data, size, &v, &n, &err) == 0)
		free(v);
	return 0;
}
