/*
 * ask - walk the table of task kinds over a frozen tree.
 */
#ifndef DUMP_ASK_H
#define DUMP_ASK_H

#include "criu-lite/task/kind.h"

/* Every kind looks at every thread it is for, from outside; refusals gather in @s. */
int kinds_look(struct saver *s, struct err *err);
/* Leaders answer together, then the other threads in groups; every kind saves. */
int kinds_ask(struct saver *s, struct err *err);
/* After remote_leave: what has changed since is put right. @asked_ns: when they were asked. */
int kinds_recheck(struct saver *s, uint64_t asked_ns, struct err *err);

#endif
