/* hold - signals of the tool that wait while somebody's tasks are in its hands. */
#ifndef REMOTE_HOLD_H
#define REMOTE_HOLD_H

#include <signal.h>

/*
 * A keystroke must neither stop us half-way nor end us without the one line that says why.
 * @before: the mask as it was, to be set again by sigprocmask(2).
 */
static inline void hold_keystrokes(sigset_t *before)
{
	static const int held[] = { SIGTSTP, SIGTTIN, SIGTTOU, SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		sigaddset(&set, held[i]);
	sigprocmask(SIG_BLOCK, &set, before);
}

#endif
