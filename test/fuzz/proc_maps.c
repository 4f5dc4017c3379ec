/* proc_maps.c - any bytes as /proc/PID/maps. */
#include <stdlib.h>
#include <string.h>

#include "criu-lite/proc/maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	struct proc_vma *v = NULL;
	size_t n;

	if (proc_maps_parse((const char *)data, size, &v, &n, &err) < 0)
		return 0;
	/* What callers rely on: order, room for every name, and that find finds. */
	for (size_t i = 0; i < n; i++) {
		if (v[i].start >= v[i].end || (i && v[i].start < v[i - 1].end))
			abort();
		if (v[i].path && strlen(v[i].path) > size)
			abort();
		if (proc_vma_find(v, n, v[i].start) != (ssize_t)i)
			abort();
	}
	free(v);
	return 0;
}
