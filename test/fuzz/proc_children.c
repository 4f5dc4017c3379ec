/* proc_children.c - any bytes as /proc/PID/task/TID/children. */
#include <stdlib.h>

#include "criu-lite/proc/children.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	int *v = NULL;
	size_t n;

	if (proc_children_parse((const char *)data, size, &v, &n, &err) == 0)
		free(v);
	return 0;
}
