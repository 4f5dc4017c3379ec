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
	/* What leads out of the tree and may, because a restore will be given it: outside.h. */
	const char *const *external;
	size_t n_external;
	bool pipes_outside; /* all pipes, declared or not */
	char **outside;	    /* out: names of those pipes */
	size_t n_outside, cap_outside;
	uint32_t *awaited; /* out: pipe_id of FIFOs whose readers have not seen a writer yet */
	size_t n_awaited, cap_awaited;
	FileEntry **entry;
	size_t n_entries, cap_entries;
	struct file_save_state *state; /* state.h; made on first use */
};

/* Before the freeze: who else has the pipes and the shared memory of @root's tree. */
void files_early(struct file_save *s, pid_t root);
/*
 * What is read of one task without knowing the others, for several at once: its table and
 * where exe, cwd and root lead. Optional, but then before anything else of it is looked at.
 */
int files_read(struct task *task, struct err *err);
/*
 * Look at every descriptor of every live task; fill entries and each task's
 * fdinfo; refuse what no kind claims ("task 99: fd 7: socket ... is not
 * supported"). Contents of pipes are copied here (tee(2)), the task's own
 * data is untouched. All copies of descriptors are closed before it returns.
 */
int files_collect(struct file_save *s, struct err *err);
/* A file known by a link of /proc/PID (exe, cwd, root, map_files/A-B): adds a REG entry or finds
 * the same one again (device, inode, path, flags). @flags: open flags for the entry. ERR_REFUSED
 * with a text that does not name the task: "deleted file X is not supported". */
int file_add_link(struct file_save *s, struct task *task, const char *link, uint32_t flags,
		  uint32_t *id, struct err *err);
/* The same for a link whose target has been looked at already. */
struct file_target {
	const char *link, *path; /* of /proc/PID; where it leads */
	const struct stat *st;
};
int file_add_target(struct file_save *s, struct task *task, const struct file_target *target,
		    uint32_t flags, uint32_t *id, struct err *err);
/*
 * A shared anonymous mapping or memfd mapping: its MEMFD entry, see memfd.h. @flags: O_RDWR only
 * where the mapping may be made writable, since it then forbids F_SEAL_WRITE.
 */
int file_add_memfd_link(struct file_save *s, struct task *task, const char *link, uint32_t flags,
			uint32_t *id, struct err *err);
/*
 * files.img and what the kinds write themselves. fs_entry (cwd, root, umask) and
 * fdinfo were put into the tasks by files_collect: the caller writes those.
 */
int files_write(struct file_save *s, int dirfd, struct err *err);
void files_save_release(struct file_save *s);

/* --- rebuilding -------------------------------------------------------------- */

struct file_given;

struct file_build {
	struct tree *tree;
	int dirfd; /* the checkpoint's images */
	bool shell_job;
	bool any_mode; /* permissions of files need not be what they were */
	/* Descriptors of the caller's in place of files, and which must be among them: outside.h */
	struct file_given *given;
	size_t n_given;
	const char *const *outside;
	size_t n_outside;
	const uint32_t *awaited; /* as in struct file_save */
	size_t n_awaited;
	FileEntry **entry;
	size_t n_entries;
	struct file_build_state *state;
};

/*
 * Reads files.img and the kinds' own images and checks them against each other and
 * against the tasks' fdinfo and fs, which the caller has read before.
 */
int files_load(struct file_build *b, struct err *err);
/* One more than the highest descriptor of any task: @busy_fd must not be lower. */
int files_top(const struct file_build *b);
/*
 * The open file description @id in the tool itself: opened on first use, shared
 * afterwards. The descriptor stays the table's. An error names the path and what is
 * different (size, mode, gone).
 */
int file_open(struct file_build *b, uint32_t id, int *fd, struct err *err);
/*
 * Shared mappings of @id want to write. Other writers of images leave the access mode of what
 * is only mapped at 0 and say it with the mapping; what a descriptor names is left as it is.
 */
void file_mapped_for_writing(struct file_build *b, uint32_t id);
const FileEntry *file_find(const struct file_build *b, uint32_t id);
/*
 * Close what was opened for mappings, exe and the like and is no longer wanted by a descriptor
 * table. Call it when no row that names a descriptor of file_open is waiting in a batch.
 */
void files_idle(struct file_build *b);
/*
 * Rows that put every descriptor of @batch's task in its place. The newborn has
 * no descriptors but @busy_fd and above, which are ours; @tool_pidfd is a row
 * result: the newborn's pidfd of the tool at descriptor @busy_fd + 1.
 */
int files_give(struct file_build *b, struct batch *batch, int busy_fd, struct err *err);
/* Once every task has its descriptors: epoll items, owners and signals of F_SETOWN. */
int files_attach(struct file_build *b, struct batch *batch, struct err *err);
/* Rows: root directory, working directory and umask of @batch's task; @tool_pidfd_fd is the
 * newborn's descriptor of the tool's pidfd. It must still be allowed to chroot(2). */
int files_fs_rebuild(struct file_build *b, struct batch *batch, int tool_pidfd_fd, struct err *err);
/*
 * With --shell-job, right before the tree runs, if we are in the foreground of our terminal: its
 * modes become those that the job had set, and the group of the tree that had it, or else the
 * root's, gets it. True when that is another group than ours. SIGTTOU must be blocked. What cannot
 * be done is left: the job runs without.
 */
bool files_terminal_give(struct file_build *b);
/* The tree runs: should the terminal have another size than it knew, it is told (SIGWINCH). */
void files_terminal_tell(struct file_build *b);
/* There is no tree after all: the terminal that was given is ours again. */
void files_terminal_take(void);
void files_build_release(struct file_build *b);

/* --- the kinds --------------------------------------------------------------- */

struct file_kind {
	const char *name;
	FdTypes type;
	bool (*match)(const struct fd_look *l);
	/*
	 * Fill @e: type, ids, flags (without O_CLOEXEC) and owner are there already, where its
	 * message has them. ERR_REFUSED with a text like "socket (tcp) is not supported" refuses
	 * this descriptor and goes on with the next.
	 */
	int (*save)(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err);
	/* Optional, once the descriptors of the whole tree are known; refuses in s->refusals. */
	int (*settle)(struct file_save *s, struct err *err);
	/* Open it in the tool: *@fd, close-on-exec. Of the rows of one type just one has this. */
	int (*build)(struct file_build *b, const FileEntry *e, int *fd, struct err *err);
	/*
	 * Optional: rows for @fd in @batch's task, once all tables are complete. Called once for
	 * every task that has the description.
	 */
	int (*attach)(struct file_build *b, const FileEntry *e, int fd, struct batch *batch,
		      struct err *err);
	/* Optional: write / read this kind's own images (pipes-data, memfd, ...). */
	int (*write)(struct file_save *s, int dirfd, struct err *err);
	int (*load)(struct file_build *b, struct err *err);
	/* Optional: free what it keeps in the state. Called once, whatever happened. */
	void (*save_release)(struct file_save *s);
	void (*build_release)(struct file_build *b);
};
extern const struct file_kind *const file_kinds[]; /* ends with NULL */

#endif
