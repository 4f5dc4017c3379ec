/* file.c - all descriptors of a frozen tree: which are one, what each is, what is refused. */
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/state.h"
#include "criu-lite/proc/status.h"
#include "images/img.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <search.h>
#include <string.h>
#include <sys/syscall.h>

/* The first that matches saves it, so those that look at more than the file's type come first. */
const struct file_kind *const file_kinds[] = {
	&fd_path,     &fd_memfd, &fd_pipe,    &fd_fifo, &fd_eventfd, &fd_epoll, &fd_timerfd,
	&fd_signalfd, &fd_tty,	 &fd_chardev, &fd_dir,	&fd_reg,     NULL,
};

/*
 * A description seen before. kcmp(2) orders all descriptions there are, but
 * costs a system call, so what never changes of a description goes first: device
 * and inode, whether it reads or writes (the two ends of a pipe), and the number
 * of an eventfd, as these all have one inode.
 */
struct open_seen {
	dev_t dev;
	ino_t ino;
	uint32_t access;
	int eventfd;
	pid_t pid;
	int fd;
	int *error;  /* where kcmp's goes, as a comparison cannot fail: in the state */
	uint32_t id; /* 0: no kind claims it */
	FdTypes type;
};

struct file_save_state *file_state(struct file_save *s)
{
	if (!s->state)
		s->state = xcalloc(1, sizeof(*s->state));
	return s->state;
}

uint32_t file_new_id(struct file_save *s)
{
	return ++file_state(s)->last_id;
}

void file_append(struct file_save *s, FileEntry *e)
{
	ARRAY_PUSH(s->entry, s->n_entries, s->cap_entries, e);
}

int file_copy(const struct task *task, int fd, struct err *err)
{
	int copy = syscall(SYS_pidfd_getfd, task->pidfd, fd, 0);

	if (copy < 0)
		return err_errno(err, "task %d: fd %d: copy of it (pidfd_getfd)", task->pid, fd);
	return copy;
}

static int compare_opens(const void *pa, const void *pb)
{
	const struct open_seen *a = pa, *b = pb;
	long rc;

	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->access != b->access)
		return a->access < b->access ? -1 : 1;
	if (a->eventfd != b->eventfd)
		return a->eventfd < b->eventfd ? -1 : 1;
	rc = syscall(SYS_kcmp, a->pid, b->pid, KCMP_FILE, a->fd, b->fd);
	if (rc < 0)
		*a->error = errno;
	/* 0 equal, 1 less, 2 greater */
	return rc == 1 ? -1 : rc == 2 ? 1 : 0;
}

/* *@found is @key or what was there before; in the second case @key is freed. */
static int seen_before(struct file_save_state *state, struct open_seen *key,
		       struct open_seen **found, struct err *err)
{
	struct open_seen **node = tsearch(key, &state->opens, compare_opens);

	if (!node)
		abort();
	*found = *node;
	if (*found != key)
		free(key);
	if (!state->kcmp_error)
		return 0;
	return err_code(err, -state->kcmp_error, "compare descriptors (kcmp)");
}

static struct open_seen *new_open(const struct fd_look *l, int *error)
{
	struct open_seen *o = xcalloc(1, sizeof(*o));

	o->dev = l->st.st_dev;
	o->ino = l->st.st_ino;
	o->access = l->info->flags & (O_ACCMODE | O_PATH);
	o->eventfd = l->info->eventfd_id;
	o->pid = l->task->pid;
	o->fd = l->fd;
	o->error = error;
	return o;
}

/* --- one description -------------------------------------------------------------- */

static const struct file_kind *kind_of(const struct fd_look *l)
{
	for (size_t i = 0; file_kinds[i]; i++)
		if (file_kinds[i]->match && file_kinds[i]->match(l))
			return file_kinds[i];
	return NULL;
}

static int save_entry(struct file_save *s, const struct fd_look *l, FileEntry **out,
		      struct err *err)
{
	const struct file_kind *kind = kind_of(l);
	uint32_t flags = l->info->flags & ~(uint32_t)O_CLOEXEC;
	FownEntry *fown;
	char what[256];
	int saved;

	if (!kind) {
		file_describe(l, what, sizeof(what));
		return err_set(err, ERR_REFUSED, "%s is not supported", what);
	}
	*out = file_entry_new(kind->type, file_new_id(s), flags);
	fown = file_entry_fown(*out);
	/* Whatever comes of the owner, the kind must have seen it: this may be one end of a pipe. */
	saved = kind->save(s, l, *out, err);
	if (!saved && fown && !(flags & O_PATH))
		saved = file_fown_save(s, l->copy, fown, err);
	return saved;
}

/* A description that was not seen before; what no kind claims is remembered as id 0. */
static int save_open(struct file_save *s, struct fd_look *l, struct open_seen *seen,
		     struct err *err)
{
	FileEntry *e = NULL;
	struct err why = {};
	int rc = save_entry(s, l, &e, &why);

	/* Also when it is refused: then nothing is written, but its kind may still refer to it. */
	if (e) {
		seen->id = e->id;
		seen->type = e->type;
		file_append(s, e);
	}
	if (!rc)
		return 0;
	if (rc != ERR_REFUSED)
		return err_set(err, rc, "task %d: fd %d: %s", l->task->pid, l->fd, why.text);
	refuse(s->refusals, "task %d: fd %d: %s", l->task->pid, l->fd, why.text);
	return 0;
}

/* --- one table ---------------------------------------------------------------------- */

static void add_fdinfo(struct task *task, uint32_t id, FdTypes type, int fd, bool cloexec)
{
	FdinfoEntry *row = xmalloc(sizeof(*row));

	fdinfo_entry__init(row);
	row->id = id;
	row->type = type;
	row->fd = fd;
	row->flags = cloexec ? FD_CLOEXEC : 0;
	task->fdinfo[task->n_fdinfo++] = row;
}

/* A child most often has what its parent has, under the same number: one question is enough. */
static const FdinfoEntry *inherited(const struct task *task, int fd)
{
	const struct task *parent = task->parent;
	const FdinfoEntry *row = parent ? file_table_row(parent, fd) : NULL;

	return row && syscall(SYS_kcmp, task->pid, parent->pid, KCMP_FILE, fd, fd) == 0 ? row
											: NULL;
}

/* One that is no inheritance; its id is 0 if no kind claims it. */
static int collect_own(struct file_save *s, struct fd_look *l, uint32_t *id, FdTypes *type,
		       struct err *err)
{
	struct file_save_state *state = file_state(s);
	struct open_seen *key = new_open(l, &state->kcmp_error), *found;
	int rc = seen_before(state, key, &found, err);

	if (!rc && found == key)
		rc = save_open(s, l, key, err);
	if (rc < 0)
		return rc;
	*id = found->id;
	*type = found->type;
	return 0;
}

/* Asked of every descriptor: on a shared description each task can have locks of its own. */
static void refuse_lock(struct file_save *s, const struct task *task, int fd)
{
	scoped char *path = NULL;
	char name[32];

	snprintf(name, sizeof(name), "fd/%d", fd);
	if (proc_readlink(task->proc, name, &path, NULL) < 0)
		path = xstrdup("?");
	refuse(s->refusals, "task %d: fd %d: a file lock or lease (on %s) is not supported",
	       task->pid, fd, path);
}

/* What can be read of a descriptor without knowing the others, by several threads. */
struct fd_read {
	struct task *task;
	int fd;
	const FdinfoEntry *parents; /* it is this one; then nothing below but info is read */
	bool knows_info;
	struct proc_fdinfo info;
	char *link;
	struct stat st;
	int copy;
};

/* So many copies are held at once. */
#define FDS_AT_ONCE 256

static int read_own(struct fd_read *r, struct err *err)
{
	char name[32];

	r->copy = file_copy(r->task, r->fd, err);
	if (r->copy < 0)
		return r->copy;
	if (fstat(r->copy, &r->st) < 0)
		return err_errno(err, "task %d: fd %d: stat", r->task->pid, r->fd);
	snprintf(name, sizeof(name), "fd/%d", r->fd);
	return proc_readlink(r->task->proc, name, &r->link, err);
}

static int read_info(const struct task *task, int fd, struct proc_fdinfo *info, struct err *err)
{
	int rc = proc_fdinfo_read(task->proc, fd, info, err);

	return rc < 0 ? err_add(err, rc, "task %d: fd %d", task->pid, fd) : 0;
}

static int read_fd(void *arg, size_t i, struct err *err)
{
	struct fd_read *r = (struct fd_read *)arg + i;
	int rc = r->knows_info ? 0 : read_info(r->task, r->fd, &r->info, err);

	if (rc < 0)
		return rc;
	r->parents = inherited(r->task, r->fd);
	return r->parents ? 0 : read_own(r, err);
}

static void fd_read_release(struct fd_read *r)
{
	proc_fdinfo_release(&r->info);
	free(r->link);
	mem_close_p(&r->copy);
}

static int collect_fd(struct file_save *s, const struct fd_read *r, struct err *err)
{
	struct fd_look l = { .task = r->task,
			     .fd = r->fd,
			     .link = r->link,
			     .st = r->st,
			     .info = &r->info,
			     .copy = r->copy };
	uint32_t id = r->parents ? r->parents->id : 0;
	FdTypes type = r->parents ? r->parents->type : FD_TYPES__UND;
	int rc = 0;

	if (r->info.n_locks)
		refuse_lock(s, r->task, r->fd);
	if (!r->parents)
		rc = collect_own(s, &l, &id, &type, err);
	if (!rc && id)
		add_fdinfo(r->task, id, type, r->fd, r->info.flags & O_CLOEXEC);
	return rc;
}

/* Descriptors number @from and following; what was read ahead of them is used up. */
static int collect_some(struct file_save *s, struct task *task, size_t from, size_t n,
			struct err *err)
{
	scoped struct fd_read *read = xcalloc(n, sizeof(*read));
	struct task_files *ahead = task->files;
	int rc;

	for (size_t i = 0; i < n; i++) {
		read[i] = (struct fd_read) { .task = task, .fd = ahead->fd[from + i], .copy = -1 };
		if (!ahead->info)
			continue;
		read[i].knows_info = true;
		read[i].info = ahead->info[from + i];
		ahead->info[from + i] = (struct proc_fdinfo) {};
	}
	rc = parallel(n, read_fd, read, err);
	for (size_t i = 0; i < n; i++) {
		if (!rc)
			rc = collect_fd(s, &read[i], err);
		fd_read_release(&read[i]);
	}
	return rc;
}

int files_read(struct task *task, struct err *err)
{
	struct task_files *f = task->files = xcalloc(1, sizeof(*f));
	int rc = proc_list(task->proc, "fd", &f->fd, &f->n, err);

	if (rc < 0)
		return err_add(err, rc, "task %d", task->pid);
	file_links_read(task);
	if (f->n > FDS_AT_ONCE)
		return 0;
	f->info = xcalloc(f->n, sizeof(*f->info));
	for (size_t i = 0; !rc && i < f->n; i++)
		rc = read_info(task, f->fd[i], &f->info[i], err);
	return rc;
}

static void task_files_release(struct task *task)
{
	struct task_files *f = task->files;

	if (!f)
		return;
	for (size_t i = 0; f->info && i < f->n; i++)
		proc_fdinfo_release(&f->info[i]);
	for (size_t i = 0; i < LINKS_AHEAD; i++)
		file_link_release(&f->link[i]);
	free(f->info);
	free(f->fd);
	free(f);
	task->files = NULL;
}

static int collect_fds(struct file_save *s, struct task *task, struct err *err)
{
	int rc = task->files ? 0 : files_read(task, err);
	size_t n;

	if (rc < 0)
		return rc;
	n = task->files->n;
	task->fdinfo = xcalloc(n, sizeof(*task->fdinfo));
	for (size_t i = 0; !rc && i < n; i += FDS_AT_ONCE)
		rc = collect_some(s, task, i, n - i < FDS_AT_ONCE ? n - i : FDS_AT_ONCE, err);
	return rc;
}

/* A directory of the task that is refused is no failure of the collecting. */
static int add_dir(struct file_save *s, struct task *task, const char *link, uint32_t *id,
		   struct err *err)
{
	struct err why = {};
	int rc = file_add_link(s, task, link, O_RDONLY | O_DIRECTORY, id, &why);

	if (rc == ERR_REFUSED) {
		refuse(s->refusals, "task %d: %s: %s", task->pid, link, why.text);
		return 0;
	}
	return rc < 0 ? err_set(err, rc, "task %d: %s: %s", task->pid, link, why.text) : 0;
}

static int collect_fs(struct file_save *s, struct task *task, struct err *err)
{
	const struct proc_status *status;
	FsEntry *fs = xmalloc(sizeof(*fs));
	int rc;

	fs_entry__init(fs);
	task->fs = fs;
	rc = add_dir(s, task, "cwd", &fs->cwd_id, err);
	if (!rc)
		rc = add_dir(s, task, "root", &fs->root_id, err);
	if (!rc)
		rc = thread_status(task_leader(task), &status, err);
	if (rc < 0)
		return rc;
	fs->has_umask = true;
	fs->umask = status->umask & 0777;
	return 0;
}

/* That no two tasks share one table has been made sure before: remote/check.c. */
static int collect_task(struct file_save *s, struct task *task, struct err *err)
{
	int rc = collect_fds(s, task, err);

	return rc < 0 ? rc : collect_fs(s, task, err);
}

int files_collect(struct file_save *s, struct err *err)
{
	struct task *task;
	int rc = 0;

	for_each_live_task (task, s->tree)
		if (!rc)
			rc = collect_task(s, task, err);
	for (size_t i = 0; !rc && file_kinds[i]; i++)
		if (file_kinds[i]->settle)
			rc = file_kinds[i]->settle(s, err);
	return rc;
}

/* --- images -------------------------------------------------------------------------- */

static int write_entries(struct file_save *s, int dirfd, struct err *err)
{
	scoped_writer w = NULL;
	int rc = img_create(&w, err, dirfd, "files.img");

	for (size_t i = 0; !rc && i < s->n_entries; i++)
		rc = img_append(w, s->entry[i], err);
	return rc < 0 ? rc : img_close(&w, err);
}

int files_write(struct file_save *s, int dirfd, struct err *err)
{
	int rc = write_entries(s, dirfd, err);

	for (size_t i = 0; !rc && file_kinds[i]; i++)
		if (file_kinds[i]->write)
			rc = file_kinds[i]->write(s, dirfd, err);
	return rc;
}

void files_save_release(struct file_save *s)
{
	struct task *task;

	for_each_task (task, s->tree)
		task_files_release(task);
	for (size_t i = 0; s->state && file_kinds[i]; i++)
		if (file_kinds[i]->save_release)
			file_kinds[i]->save_release(s);
	for (size_t i = 0; i < s->n_entries; i++)
		file_entry__free_unpacked(s->entry[i], NULL);
	free(s->entry);
	for (size_t i = 0; i < s->n_outside; i++)
		free(s->outside[i]);
	free(s->outside);
	free(s->awaited);
	s->awaited = NULL;
	s->n_awaited = s->cap_awaited = 0;
	s->outside = NULL;
	s->n_outside = s->cap_outside = 0;
	if (s->state) {
		tdestroy(s->state->opens, free);
		file_links_release(s);
		file_outsiders_release(s);
	}
	free(s->state);
	s->state = NULL;
	s->entry = NULL;
	s->n_entries = s->cap_entries = 0;
}
