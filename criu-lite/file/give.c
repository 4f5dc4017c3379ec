/* give.c - rows that put descriptors, root and working directory into a newborn. */
#include "base/mem.h"
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One table being filled, lowest number first. */
struct giving {
	struct file_build *b;
	struct batch *batch;
	const struct task *task;
	int tool_pidfd;
	uint32_t gap;  /* the lowest free number in the newborn */
	size_t row;    /* in the task's fdinfo: the next to do */
	size_t closed; /* rows below are done with in the tool as well */
};

/* Rows that were run need their descriptor of the tool no more. */
static void let_go(struct giving *g)
{
	for (; g->closed < g->row; g->closed++) {
		struct file_slot *slot = file_slot(g->b, g->task->fdinfo[g->closed]->id);

		if (!--slot->rows && slot->fd >= 0) {
			close(slot->fd);
			slot->fd = -1;
		}
	}
}

static int make_room(struct giving *g, size_t rows, size_t bytes, struct err *err)
{
	int rc;

	if (plan_fits(&g->batch->plan, rows, bytes))
		return 0;
	rc = batch_flush(g->batch, err);
	if (!rc)
		let_go(g);
	return rc;
}

/* The row that the kernel answers with the number @want. */
static void must_be(struct plan *p, size_t row, int64_t want)
{
	p->note[row].expect = want;
}

/*
 * pidfd_getfd(2) takes the lowest free number, close-on-exec. As numbers are
 * filled in ascending order that is either the right one or the first gap.
 */
static void add_rows(struct giving *g, const FdinfoEntry *row, int fd)
{
	struct plan *p = &g->batch->plan;
	bool keep_on_exec = !(row->flags & FD_CLOEXEC);

	must_be(p,
		plan_add(p, PLAN_IS, "take a descriptor (pidfd_getfd)", SYS_pidfd_getfd,
			 g->tool_pidfd, fd, 0),
		g->gap);
	if (row->fd == g->gap) {
		if (keep_on_exec)
			plan_add(p, PLAN_MUST, "clear close-on-exec", SYS_fcntl, row->fd, F_SETFD,
				 0);
		return;
	}
	must_be(p,
		plan_add(p, PLAN_IS, "move a descriptor (dup3)", SYS_dup3, g->gap, row->fd,
			 keep_on_exec ? 0 : O_CLOEXEC),
		row->fd);
	plan_add(p, PLAN_MUST, "close", SYS_close, g->gap);
}

static int give_one(struct giving *g, const FdinfoEntry *row, struct err *err)
{
	int fd, rc = make_room(g, 3, 0, err);

	if (rc < 0)
		return rc;
	rc = file_open(g->b, row->id, &fd, err);
	if (rc < 0)
		return rc;
	add_rows(g, row, fd);
	if (row->fd == g->gap)
		g->gap++;
	return 0;
}

int files_give(struct file_build *b, struct batch *batch, int busy_fd, struct err *err)
{
	const struct task *task = batch->thread->task;
	struct giving g = { b, batch, task, busy_fd + 1, 0, 0, 0 };
	int rc = 0;

	if (task->n_fdinfo && (int64_t)task->fdinfo[task->n_fdinfo - 1]->fd >= busy_fd)
		return err_set(err, -EMFILE, "task %d: fd %u: no number above it is left for us",
			       task->pid, task->fdinfo[task->n_fdinfo - 1]->fd);
	for (; !rc && g.row < task->n_fdinfo; g.row += !rc) {
		rc = give_one(&g, task->fdinfo[g.row], err);
		if (rc < 0)
			err_add(err, rc, "task %d: fd %u", task->pid, task->fdinfo[g.row]->fd);
	}
	if (!rc)
		rc = batch_flush(batch, err);
	if (!rc)
		let_go(&g);
	return rc;
}

/* --- when all tables are complete ------------------------------------------------------- */

static const struct file_kind *attacher_of(FdTypes type)
{
	for (size_t i = 0; file_kinds[i]; i++)
		if (file_kinds[i]->type == type && file_kinds[i]->attach)
			return file_kinds[i];
	return NULL;
}

static int attach_one(struct file_build *b, struct batch *batch, const FdinfoEntry *row,
		      struct err *err)
{
	const struct task *task = batch->thread->task;
	struct file_slot *slot = file_slot(b, row->id);
	const struct file_kind *kind = attacher_of(row->type);
	int rc = 0;

	if (slot->first == task && slot->first_fd == (int)row->fd &&
	    !(file_entry_flags(slot->e) & O_PATH))
		rc = file_fown_attach(file_entry_fown(slot->e), file_entry_flags(slot->e), row->fd,
				      batch, err);
	/* Once a task, whatever the number of its descriptors. */
	if (!rc && kind && slot->attached != task) {
		slot->attached = task;
		rc = kind->attach(b, slot->e, row->fd, batch, err);
	}
	return rc < 0 ? err_add(err, rc, "task %d: fd %u", task->pid, row->fd) : 0;
}

int files_attach(struct file_build *b, struct batch *batch, struct err *err)
{
	const struct task *task = batch->thread->task;
	int rc = 0;

	for (size_t i = 0; !rc && i < task->n_fdinfo; i++)
		rc = attach_one(b, batch, task->fdinfo[i], err);
	return rc;
}

/* --- root, working directory, umask -------------------------------------------------------- */

/* Rows that make a directory of the tool the newborn's working directory. */
static int go_to(struct file_build *b, struct batch *batch, int tool_pidfd, uint32_t id,
		 bool and_root, struct err *err)
{
	struct plan *p = &batch->plan;
	size_t row;
	int fd, rc = batch_room(batch, 4, 16, err);

	if (!rc)
		rc = file_open(b, id, &fd, err);
	if (rc < 0)
		return rc;
	row = plan_add(p, PLAN_MUST, "take a directory (pidfd_getfd)", SYS_pidfd_getfd, tool_pidfd,
		       fd, 0);
	p->row[row].flags |= ROW_KEEP;
	row = plan_add(p, PLAN_MUST, "fchdir", SYS_fchdir, 0);
	p->row[row].use = 1;
	if (and_root)
		plan_add(p, PLAN_MUST, "chroot", SYS_chroot, plan_put_str(p, "."));
	row = plan_add(p, PLAN_MUST, "close", SYS_close, 0);
	p->row[row].use = 1;
	return 0;
}

/* Paths are seen from the tool's root, so only there a chroot(2) would change nothing. */
static bool is_root(const struct file_build *b, uint32_t id)
{
	const char *name = file_find(b, id)->reg->name;

	return name[0] == '/' && !name[1];
}

int files_fs_rebuild(struct file_build *b, struct batch *batch, int tool_pidfd_fd, struct err *err)
{
	const FsEntry *fs = batch->thread->task->fs;
	int rc = 0;

	if (!is_root(b, fs->root_id))
		rc = go_to(b, batch, tool_pidfd_fd, fs->root_id, true, err);
	if (!rc)
		rc = go_to(b, batch, tool_pidfd_fd, fs->cwd_id, false, err);
	if (!rc)
		rc = batch_room(batch, 1, 0, err);
	if (rc < 0)
		return err_add(err, rc, "task %d: working directory", batch->thread->task->pid);
	if (fs->has_umask)
		plan_add(&batch->plan, PLAN_MUST, "umask", SYS_umask, fs->umask & 0777);
	return 0;
}
