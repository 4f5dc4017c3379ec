/* namespaces - what must be known of them of all threads, before one is looked at. */
#ifndef TASK_NAMESPACES_H
#define TASK_NAMESPACES_H

#include "criu-lite/task/kind.h"

int namespaces_read(struct saver *s, struct err *err);

#endif
