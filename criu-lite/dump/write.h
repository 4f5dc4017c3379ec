/*
 * write - the saved tree's messages into the files of one checkpoint.
 */
#ifndef DUMP_WRITE_H
#define DUMP_WRITE_H

#include "criu-lite/task/kind.h"

/*
 * inventory, pstree, and per task core, ids, mm, fs, fdinfo; files.img and the
 * kinds' own; seccomp.img; criu-lite-tasks.img. Pages are written already.
 * The tree may run again while this works: only messages are read.
 */
int write_images(struct saver *s, struct err *err);
/* Of a pre-dump: an inventory that says that there is nothing but pages. */
int write_memory_only(struct saver *s, struct err *err);

#endif
