/*
 * file - open file descriptions: what a descriptor can be, saved and rebuilt.
 *
 * One kind a file (fd_NAME.c), one row in file_kinds[]. A descriptor that no
 * kind claims is refused by name. Ids are counted from 1 over descriptors,
 * mapped files, exe, cwd and root; two descriptors with one id share one open
 * file description, across tasks too (kcmp(2) KCMP_FILE tells).
 */
#ifndef FILE_FILE_H
#define FILE_FILE_H

#include "base/err.h"
#include "criu-lite/proc/fdinfo.h"
#include "criu-lite/remote/batch.h"
#include "criu-lite/remote/tree.h"
#include "proto/files.pb-c.h"

#include <sys/stat.h>

struct img_dir; /* images/img.h or chain.h: where the images of one checkpoint lie */

/* --- saving ---------------------------------------------------------------- */

/* One descriptor as it is found in a frozen task. */
struct fd_look {
	struct task *task;
	int fd;
	const char *link; /* target of /proc/PID/fd/N */
	struct stat st;	  /* of what is open */
	const struct proc_fdinfo *info;
	int copy; /* our own descriptor of the same description (pidfd_getfd) */
};

struct file_save {
	struct tree *tree;
	struct refusals *refusals;
	bool shell_job; /* a terminal may be saved by reference */
	FileEntry **entry;
	size_t n_entries, cap_entries;
	struct file_save_state *state; /* file.c: ids, pipe contents, memfd inodes, ... */
};

/*
 * Look at every descriptor of every live task; fill entries and each task's
 * fdinfo; refuse what no kind claims ("task 99: fd 7: socket ... is not
 * supported"). Contents of pipes are copied here (tee(2)), the task's own
 * data is untouched. All copies of descriptors are closed before it returns.
 */
int files_collect(struct file_save *s, struct err *err);
/* A file known by a link of /proc/PID (exe, cwd, root, map_files/A-B): adds a REG entry or finds
 * the same one again (device, inode, path, flags). @flags: open flags for the entry. */
int file_add_link(struct file_save *s, struct task *task, const char *link, uint32_t flags,
		  uint32_t *id, struct err *err);
/* A shared anonymous mapping or memfd mapping: its MEMFD entry, see memfd.h. */
int file_add_memfd_link(struct file_save *s, struct task *task, const char *link, uint32_t *id,
			struct err *err);
/* fs_entry (cwd, root, umask) of each task is the files' business too. */
int files_write(struct file_save *s, int dirfd, struct err *err);
void files_save_release(struct file_save *s);

/* --- rebuilding -------------------------------------------------------------- */

struct file_build {
	struct tree *tree;
	int dirfd; /* the checkpoint's images */
	bool shell_job;
	FileEntry **entry;
	size_t n_entries;
	struct file_build_state *state;
};

int files_load(struct file_build *b, struct err *err);
/*
 * The open file description @id in the tool itself: opened on first use, shared
 * afterwards. The descriptor stays the table's. An error names the path and what is
 * different (size, mode, gone).
 */
int file_open(struct file_build *b, uint32_t id, int *fd, struct err *err);
const FileEntry *file_find(const struct file_build *b, uint32_t id);
/*
 * Rows that put every descriptor of @batch's task in its place. The newborn has
 * no descriptors but @busy_fd and above, which are ours; @tool_pidfd is a row
 * result: the newborn's pidfd of the tool at descriptor @busy_fd + 1.
 */
int files_give(struct file_build *b, struct batch *batch, int busy_fd, struct err *err);
/* Once every task has its descriptors: epoll items, owners and signals of F_SETOWN. */
int files_attach(struct file_build *b, struct batch *batch, struct err *err);
void files_build_release(struct file_build *b);

/* --- the kinds --------------------------------------------------------------- */

struct file_kind {
	const char *name;
	FdTypes type;
	bool (*match)(const struct fd_look *l);
	/* Fill @e (id, flags, fown are filled in already where the message has them: see file.c). */
	int (*save)(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err);
	/* Open it in the tool: *@fd. */
	int (*build)(struct file_build *b, const FileEntry *e, int *fd, struct err *err);
	/* Optional: rows in the owner once its table is complete. */
	int (*attach)(struct file_build *b, const FileEntry *e, int fd, struct batch *batch,
		      struct err *err);
	/* Optional: write / read this kind's own images (pipes-data, memfd, ...). */
	int (*write)(struct file_save *s, int dirfd, struct err *err);
	int (*load)(struct file_build *b, struct err *err);
};
extern const struct file_kind *const file_kinds[]; /* ends with NULL */

#endif
