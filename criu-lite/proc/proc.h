/*
 * proc - one task as /proc/PID shows it, live or recorded.
 *
 * proc_open holds the directory itself, not its number: when the task ends and
 * its pid is used again, reads here fail with -ESRCH instead of answering for
 * the newcomer. The root may be moved to a recorded tree (see
 * scripts/record-proc), which every reader of this room understands.
 *
 * Every file has two functions: proc_X_read(dir, ...) and the pure
 * proc_X_parse(buf, len, ...), which takes any bytes. Both return 0 or a
 * negative errno and fill @err; on failure the results are left alone. -ESRCH
 * or -ENOENT from a read mean that the task went away, which callers should
 * expect; -EINVAL means that the text is not what the kernel writes. Results on
 * the heap belong to the caller and are released by one free() unless a
 * release function is named.
 */
#ifndef PROC_PROC_H
#define PROC_PROC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct proc_dir;

/* The most that is taken in of one file: smaps of a million VMAs fits. */
#define PROC_READ_MAX ((size_t)1 << 30)

/* Of what reading here returned: did it fail because the task, or thread, ended meanwhile? */
static inline bool proc_ended(int rc)
{
	return rc == -ENOENT || rc == -ESRCH;
}

/* Open @root/@pid; @root NULL is /proc. -ESRCH: no such task. */
int proc_open(struct proc_dir **out, const char *root, pid_t pid, struct err *err);
/* Open task/@tid of @task; the files that threads have are read from it in the same way. */
int proc_open_thread(struct proc_dir **out, const struct proc_dir *task, pid_t tid,
		     struct err *err);
/* Safe on NULL. */
void proc_close(struct proc_dir *dir);

/* The number it was opened by: a pid, or a tid after proc_open_thread. */
pid_t proc_id(const struct proc_dir *dir);
/* The O_PATH descriptor of the directory, for fstatat and the like; stays owned by @dir. */
int proc_dirfd(const struct proc_dir *dir);

/* openat(2) below the directory, close-on-exec; a descriptor or a negative errno. */
int proc_openat(const struct proc_dir *dir, const char *name, int flags);

/*
 * The whole of a file, however long (up to PROC_READ_MAX, then -EFBIG). One NUL
 * that @len does not count follows the text. free(*buf).
 */
int proc_read(const struct proc_dir *dir, const char *name, char **buf, size_t *len,
	      struct err *err);

/*
 * Reads @name now; the next proc_read of it finds what was read, and only that one. A file that
 * cannot be read is left to it. proc_forget drops what nobody asked for, before it is old.
 */
void proc_read_ahead(struct proc_dir *dir, const char *name);
void proc_forget(struct proc_dir *dir);

/* Where a link points ("fd/3", "exe", "map_files/..."), of any length. free(*target). */
int proc_readlink(const struct proc_dir *dir, const char *name, char **target, struct err *err);

/*
 * The numbers that a directory ("task", "fd", "map_files" not) is made of, sorted;
 * other names in it are passed over. free(*ids). No entries: *n is 0.
 */
int proc_list(const struct proc_dir *dir, const char *name, int **ids, size_t *n, struct err *err);
/* The same for at most @most of them; when there are more, it stops with -E2BIG. */
int proc_list_few(const struct proc_dir *dir, const char *name, size_t most, int **ids, size_t *n,
		  struct err *err);
/* Every task that /proc shows, sorted. free(*pids). */
int proc_tasks(int **pids, size_t *n, struct err *err);

static inline void proc_close_p(struct proc_dir **dir)
{
	proc_close(*dir);
}
#define scoped_proc __attribute__((cleanup(proc_close_p))) struct proc_dir *

#endif
