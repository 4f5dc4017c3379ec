/*
 * stand-in - be to a restored task what its parent was: pass signals on, wait
 * for it, end as it ended.
 */
#ifndef CMD_STAND_IN_H
#define CMD_STAND_IN_H

#include <stdbool.h>
#include <sys/types.h>

struct ward {
	pid_t root;
	bool terminal;	     /* a job of this terminal: we share it, and stop when it does */
	bool terminal_given; /* a group of it has the terminal that was ours */
};

/* From here on signals that are to be passed on wait for stand_in. */
void stand_in_begin(void);
/*
 * Wait for the child @w->root, passing on the signals that would end or stop this
 * program. Returns its exit status; ends by the same signal where it was killed by
 * one. With a terminal: when the job stops, so does this program; when it goes on,
 * so does the job, with the terminal if we have it, which is ours again in the end.
 */
int stand_in(struct ward *w);

#endif
