/*
 * pipe-ends - what pipes and FIFOs have in common: two ends, a capacity, and
 * bytes in between (pipe(7), fifo(7)).
 *
 * Saving: pipe_ends_see for every description, pipe_ends_settle when all are
 * known. What is in a pipe is copied by tee(2), which takes nothing out. A pipe
 * with one of its ends in a stranger's hands is refused: the stranger would be
 * left with an end that leads nowhere; unless it is declared (outside.h). Then what is
 * in it is kept where the tree alone reads it.
 *
 * Rebuilding: pipe_ends_load, then pipe_ends_open for every description. The
 * pipe is held open at both ends until the last of its descriptions is there,
 * so that none sees an end of file that is not true.
 */
#ifndef FILE_PIPE_ENDS_H
#define FILE_PIPE_ENDS_H

#include "criu-lite/file/state.h"

struct pipes_save;
struct pipes_build;

/* Note an end; @flags are those of the description. *@pipe_id names the pipe. */
void pipe_ends_see(struct pipes_save **pipes, const struct fd_look *l, uint32_t *pipe_id);
/* Contents and capacities; refuses those with a stranger at an end. @what: "pipe" or "FIFO". */
int pipe_ends_settle(struct file_save *s, struct pipes_save *pipes, const char *what,
		     struct err *err);
int pipe_ends_write(const struct pipes_save *pipes, int dirfd, const char *image, struct err *err);
void pipe_ends_save_release(struct pipes_save **pipes);

/*
 * A description of @pipe_id with these open flags that pipe_ends_open will be called for.
 * @awaited: a FIFO that no writer has come to since its readers opened it.
 */
void pipe_ends_expect(struct pipes_build **pipes, uint32_t pipe_id, uint32_t flags, bool awaited);
/* After all expectations: read what was in them. A missing image means: nothing. */
int pipe_ends_load(struct pipes_build *pipes, int dirfd, const char *image, struct err *err);
/*
 * A description of @pipe_id with open flags @flags: *@fd, the caller's. @from->path
 * names a FIFO; NULL: an anonymous pipe. @from->given: a descriptor of the pipe or FIFO
 * that is to be taken instead, with what was in it unless that is there still; -1: none.
 */
struct pipe_from {
	const char *path;
	int given;
};
int pipe_ends_open(struct pipes_build *pipes, uint32_t pipe_id, const struct pipe_from *from,
		   uint32_t flags, int *fd, struct err *err);
void pipe_ends_build_release(struct pipes_build **pipes);

#endif
