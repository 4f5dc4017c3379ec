/*
 * outside - files that lead out of the tree: noted by name when they are saved, given by the caller
 * when they are rebuilt.
 *
 *	pipe:[INODE]		a pipe with an end in a stranger's hands
 *	file[MOUNT:INODE]	a file, whether it has a path or not: mnt_id of fdinfo, inode
 *	tty[RDEV:DEV]		a terminal: st_rdev and st_dev
 *	path/to/file		what files.img knows by this path, a FIFO too
 *
 * INODE of a pipe is decimal, all other numbers are hexadecimal.
 */
#ifndef FILE_OUTSIDE_H
#define FILE_OUTSIDE_H

#include "criu-lite/file/state.h"

/* What a descriptor of the caller's is to be. */
struct file_given {
	int fd;
	char *name; /* as outside_name has it */
	bool used;  /* out: descriptors of the tree are called so */
};

/* The one spelling of a name, from pipe[INODE], /path/to/file and the like. The caller frees. */
char *outside_name(const char *text);

/* Is it among these? */
bool outside_has(const char *const *names, size_t n, const char *name);

/* --- saving: what the caller declares, by name (file_save.external) --- */

/* A declared file: its name in place of a path into @reg. False: it is none. */
bool outside_reg(const struct file_save *s, const struct fd_look *l, RegFileEntry *reg);
bool outside_tty(const struct file_save *s, const struct stat *st);
/* May this pipe have an end outside? Then it is noted in @s->outside. */
bool outside_pipe(struct file_save *s, uint32_t pipe_id);

/* --- rebuilding: what the caller gives (file_build.given) --- */

/* After the kinds have loaded: ERR_REFUSED names all that must be given and is not. */
int outside_load(struct file_build *b, struct err *err);
/*
 * What is given for @e, which tasks have descriptors of; NULL: nothing. Of several by one name
 * the first that can be read and written as @e is.
 */
const struct file_given *outside_given(const struct file_build *b, const FileEntry *e);
/*
 * 1: *@fd is what was given for @e, the same description. 0: nothing was given, or it is another
 * description of it that the kind has to make: of a pipe or a terminal.
 */
int outside_take(const struct file_build *b, const FileEntry *e, int *fd, struct err *err);

#endif
