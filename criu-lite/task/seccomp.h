/*
 * seccomp - the pool of filters (seccomp.img) that the kind fills while saving.
 */
#ifndef TASK_SECCOMP_H
#define TASK_SECCOMP_H

#include "criu-lite/task/kind.h"

/* The pool as it will be written, or NULL when no thread has a filter. */
const SeccompEntry *seccomp_pool(const struct saver *s);
/* Write seccomp.img into s->dirfd; no filters, no file. */
int seccomp_write(struct saver *s, struct err *err);
void seccomp_save_release(struct saver *s);

#endif
