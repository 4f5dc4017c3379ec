/* proc_fdinfo.c - any bytes as /proc/PID/fdinfo/FD and as a link in /proc/PID/fd. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "criu-lite/proc/fdinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	scoped char *link = xmalloc(size + 1);
	struct err err;
	struct proc_fdinfo info;
	struct proc_link parsed;

	if (proc_fdinfo_parse((const char *)data, size, &info, &err) == 0)
		proc_fdinfo_release(&info);
	if (size)
		memcpy(link, data, size);
	link[size] = 0;
	proc_link_parse(link, &parsed);
	if (parsed.name < link || parsed.name + parsed.name_len > link + strlen(link))
		abort();
	return 0;
}
