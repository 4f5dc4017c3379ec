/* fds - this program's own table of descriptors. */
#ifndef BASE_FDS_H
#define BASE_FDS_H

/*
 * May hold as many as the hard limit lets it (setrlimit(2)): every checkpoint of a chain is a
 * folder that is open, and the usual limit is for programs that call select(2). And there is
 * room for some thousands at once: a table that grows while the program has threads makes
 * it wait for all processors each time (expand_fdtable in fs/file.c), ten milliseconds or so. So
 * call this before there are any.
 */
void fds_make_room(void);

#endif
