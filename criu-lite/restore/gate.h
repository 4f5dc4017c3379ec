/*
 * gate - from "built" to "running": all threads of all tasks, or none.
 *
 * Every thread gets one signal frame that makes it what it was. Other threads'
 * frames lie in scratch; a leader's lies in unused pages of its stack, behind
 * the one that unmaps scratch. Then all are held in front of the gate, no longer
 * bound to the tool's life: one byte into the pipe is the commit. Should the
 * tool die before it, the pipe closes and all of them exit; behind it, all go
 * on by themselves.
 */
#ifndef RESTORE_GATE_H
#define RESTORE_GATE_H

#include "criu-lite/restore/newborn.h"
#include "criu-lite/task/kind.h"

/* Before filters are installed: they must not judge our calls. */
int gate_suspend_filters(struct nursery *h, struct err *err);
/* Build all frames. ERR_REFUSED: a stack has no room. */
int gate_frames(struct nursery *h, struct builder *b, struct err *err);
/* Close what only the newborn knew, hold everybody before the gate. */
int gate_gather(struct nursery *h, struct err *err);
/* The commit; 0 means that the tree lives, whatever becomes of it afterwards. */
int gate_open(struct nursery *h, struct err *err);
/*
 * Help everybody out, put the stacks' pages back to zero, detach. Who cannot be helped
 * goes on by himself, as if the tool had died; he may stay attached, and then
 * stops once more: whoever waits for the root detaches him (see cmd/stand-in.c).
 */
void gate_leave(struct nursery *h, void (*say)(const char *line));

#endif
