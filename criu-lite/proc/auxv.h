/* auxv - /proc/PID/auxv: what the kernel told the program at exec (getauxval(3)). */
#ifndef PROC_AUXV_H
#define PROC_AUXV_H

#include "criu-lite/proc/proc.h"

struct proc_auxv {
	uint64_t type, value; /* AT_* */
};

/* Up to and without AT_NULL; *n is 0 in a zombie. free(*v). */
int proc_auxv_read(const struct proc_dir *dir, struct proc_auxv **v, size_t *n, struct err *err);
int proc_auxv_parse(const char *buf, size_t len, struct proc_auxv **v, size_t *n, struct err *err);

/* The value of the first @type, or @missing. */
uint64_t proc_auxv_get(const struct proc_auxv *v, size_t n, uint64_t type, uint64_t missing);

#endif
