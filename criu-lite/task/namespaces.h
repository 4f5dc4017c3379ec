/* namespaces - which ones a thread is in. */
#ifndef TASK_NAMESPACES_H
#define TASK_NAMESPACES_H

#include "criu-lite/task/kind.h"

/* Read before the first look, or else by it. */
int namespaces_read(struct thread *t, struct err *err);

#endif
