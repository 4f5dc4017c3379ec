/* auxv.c - /proc/PID/auxv: pairs of words up to AT_NULL. */
#include "criu-lite/proc/auxv.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

int proc_auxv_parse(const char *buf, size_t len, struct proc_auxv **out, size_t *n, struct err *err)
{
	size_t max = len / sizeof(struct proc_auxv), used = 0;
	struct proc_auxv *v;

	if (len % sizeof(*v))
		return err_set(err, -EINVAL, "auxv: %zu bytes are not whole pairs of words", len);
	v = xmalloc(max * sizeof(*v));
	if (len)
		memcpy(v, buf, len);
	while (used < max && v[used].type != AT_NULL)
		used++;
	if (max && used == max) {
		free(v);
		return err_set(err, -EINVAL, "auxv: no AT_NULL at the end");
	}
	*out = v;
	*n = used;
	return 0;
}

int proc_auxv_read(const struct proc_dir *dir, struct proc_auxv **v, size_t *n, struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	int rc = proc_read(dir, "auxv", &buf, &len, err);

	return rc < 0 ? rc : proc_auxv_parse(buf, len, v, n, err);
}

uint64_t proc_auxv_get(const struct proc_auxv *v, size_t n, uint64_t type, uint64_t missing)
{
	for (size_t i = 0; i < n; i++) {
		if (v[i].type == type)
			return v[i].value;
	}
	return missing;
}
