/* proc_values.c - any bytes as sched, syscall and the files of one number. */
#include <stdlib.h>

#include "criu-lite/proc/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *buf = (const char *)data;
	struct proc_syscall call;
	struct err err;
	int32_t nice;
	uint64_t u;
	int64_t i;

	proc_exec_start_parse(buf, size, &u, &err);
	proc_syscall_parse(buf, size, &call, &err);
	proc_number_parse(buf, size, &i, &err);
	proc_autogroup_parse(buf, size, &nice, &err);
	proc_hex_parse(buf, size, &u, &err);
	return 0;
}
