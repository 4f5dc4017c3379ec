/*
 * stand-in - be to a restored task what its parent was: pass signals on, wait
 * for it, end as it ended.
 */
#ifndef CMD_STAND_IN_H
#define CMD_STAND_IN_H

#include <stdbool.h>
#include <sys/types.h>

/* From here on signals that are to be passed on wait for stand_in. */
void stand_in_begin(void);
/*
 * Wait for the child @root, passing on the signals that would end or stop this
 * program. Returns its exit status; ends by the same signal where it was killed by
 * one. @terminal: when it leads a group of its own, that group is given the terminal
 * meanwhile, and when it stops, so does this program.
 */
int stand_in(pid_t root, bool terminal);

#endif
