/*
 * state - what the files of this room share while they save or rebuild.
 *
 * Each kind that keeps something of its own has a pointer here, which only its
 * file looks behind; it is NULL until the kind sets it and freed by the kind's
 * save_release or build_release.
 */
#ifndef FILE_STATE_H
#define FILE_STATE_H

#include "criu-lite/file/file.h"
#include "proto/tty.pb-c.h"

/* Where a link of /proc/PID leads. */
struct link_at {
	char *path; /* owned; NULL: not known */
	struct stat st;
	uint64_t mount; /* of a directory; else 0 */
};

enum { LINKS_AHEAD = 3 };

struct task_files {
	int *fd;
	size_t n;
	struct proc_fdinfo *info;	  /* of each; NULL: they are too many to be read ahead */
	struct link_at link[LINKS_AHEAD]; /* link.c */
};

struct file_save_state {
	uint32_t last_id;
	void *opens; /* descriptions seen, ordered: file.c */
	void *links; /* files known by a link: link.c */
	int kcmp_error;

	struct pipes_save *pipes, *fifos;
	struct epolls_save *epolls;
	struct ttys_save *ttys;
	struct memfds_save *memfds;
	struct outsiders *outsiders;
};

/* outsiders.c: a task outside of the tree that has this pipe or shared memory, too; 0: none. */
enum held_kind { HELD_PIPE, HELD_MEMORY };
pid_t file_outsider(const struct file_save *s, enum held_kind kind, uint64_t ino);
/* Is what is in this pipe for somebody outside as well? */
bool file_outsider_reads(const struct file_save *s, uint64_t ino);
void file_outsiders_release(struct file_save *s);

/* s->state, made when it is not there yet. */
struct file_save_state *file_state(struct file_save *s);

/* The next unused id. */
uint32_t file_new_id(struct file_save *s);

/*
 * A new entry of @type with its nested message. The nested message's id, flags and (if it has
 * one, all zeros) fown are filled in; everything else is as protobuf's init leaves it. Owned by
 * the caller until file_append.
 */
FileEntry *file_entry_new(FdTypes type, uint32_t id, uint32_t flags);
/* The nested message that belongs to the type; NULL if it is not there. */
ProtobufCMessage *file_entry_nested(const FileEntry *e);
/* Its owner of F_SETOWN (NULL: the type has none) and flags (0: the same). */
FownEntry *file_entry_fown(const FileEntry *e);
uint32_t file_entry_flags(const FileEntry *e);
/* Exactly the nested message of its type is there, and their ids agree; else says what is wrong. */
int file_entry_check(const FileEntry *e, struct err *err);
/* @e goes into files.img; @s owns it from here. */
void file_append(struct file_save *s, FileEntry *e);

/* Into @task->files: failing is left to file_add_link. */
void file_links_read(struct task *task);
void file_link_release(struct link_at *at);
void file_links_release(struct file_save *s);

/* Our own copy of a descriptor of a frozen task, close-on-exec: pidfd_getfd(2). Negative errno. */
int file_copy(const struct task *task, int fd, struct err *err);

/*
 * A path that a link of /proc/PID names: is it still the way to what is open? ERR_REFUSED with
 * "deleted file X is not supported" and the like if not. @st, @mount (0: not known): of what is
 * open.
 */
int file_path_check(const char *path, const struct stat *st, uint64_t mount, struct err *err);
/* Fill in name, size, mode (and pos) of a REG message. */
/* Of an image: absolute, and the way that the kernel tells it: no ".", no "..". */
int file_name_check(const RegFileEntry *reg, struct err *err);
void file_reg_fill(RegFileEntry *reg, const char *path, const struct stat *st, uint64_t pos);

/* A character device that can simply be opened again. */
bool file_chardev_known(const struct stat *st);
/* Names like "/secretmem" that the kernel gives to what never had a path, or NULL. */
const char *file_nameless(const char *path);
/* Open what a REG message names, checked to be what was saved: *@fd. */
int file_reg_open(const struct file_build *b, const RegFileEntry *reg, int *fd, struct err *err);

/* Into an entry's fown; 0, or refuses an owner outside of the tree. */
int file_fown_save(struct file_save *s, int copy, FownEntry *fown, struct err *err);
/* An owner that was read: in the tree, or it is refused: the number may be anybody's by now. */
int file_fown_check(const struct tree *tree, const FileEntry *e, struct err *err);
/* Rows that set it for @fd in @batch's task, which must be the first owner. */
int file_fown_attach(const FownEntry *fown, uint32_t flags, int fd, struct batch *batch,
		     struct err *err);

/* What tty-info.img has about a terminal; NULL: nothing. */
const TtyInfoEntry *file_tty_info(const struct file_build *b, const FileEntry *e);

/* A message queue looks like a regular file, even with a path where its file system is mounted. */
bool file_is_mqueue(const struct fd_look *l);
/* What a descriptor that no kind claims is called: "socket (unix stream)". Of any length. */
void file_describe(const struct fd_look *l, char *buf, size_t size);

/* --- rebuilding --- */

struct file_slot {
	const FileEntry *e;
	int fd;		    /* in the tool; -1: not open */
	uint32_t rows;	    /* of tables that still wait for it */
	struct task *first; /* in tree order, of those that have a descriptor of it */
	int first_fd;
	const struct task *attached; /* files_attach has been here */
};

struct file_build_state {
	struct file_slot *slot; /* one an entry, ascending ids */

	struct pipes_build *pipes, *fifos;
	struct ttys_build *ttys;
	struct memfds_build *memfds;
};

struct file_slot *file_slot(const struct file_build *b, uint32_t id);
/* The row of @task's table for number @fd, or NULL. */
const FdinfoEntry *file_table_row(const struct task *task, uint32_t fd);

#endif
