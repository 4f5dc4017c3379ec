/*
 * birth - the whole tree, alive and empty: every task under its pid, in its
 * session and group, every thread; no descriptors, no memory.
 */
#ifndef RESTORE_BIRTH_H
#define RESTORE_BIRTH_H

#include "criu-lite/restore/newborn.h"
#include "criu-lite/task/kind.h"

/*
 * Scratch and gate, for a tree whose births are planned (h->births). @top: one
 * more than the highest descriptor of any task. Close it in any case; that kills
 * what is still held.
 */
int nursery_open(struct nursery *h, struct builder *b, int top, struct err *err);
void nursery_close(struct nursery *h);

/* Every task and thread, each with nothing but scratch, gate, and the tool's pidfd. */
int nursery_bear(struct nursery *h, struct err *err);
/* Groups; then the helpers go and the dead die, each with the status that its parent may ask for. */
int nursery_settle(struct nursery *h, void (*say)(const char *line), struct err *err);

#endif
