/* landlock - the processes that tell who is confined live as long as the saver. */
#ifndef TASK_LANDLOCK_H
#define TASK_LANDLOCK_H

#include "criu-lite/task/kind.h"

/* Before the freeze, as it takes time: one that @root can look at. */
int landlock_early(struct saver *s, pid_t root, struct err *err);
void landlock_save_release(struct saver *s);

#endif
