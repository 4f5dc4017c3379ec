/* fd_fifo.c - the ends of FIFOs, pipes that have a path. */
#include "base/mem.h"
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/outside.h"
#include "criu-lite/file/pipe-ends.h"

#include <errno.h>
#include <fcntl.h>

static bool fifo_match(const struct fd_look *l)
{
	return S_ISFIFO(l->st.st_mode) && l->link[0] == '/';
}

/* Path, flags and owner are in a regular entry of its own. */
static int fifo_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
{
	uint32_t flags = l->info->flags & ~(uint32_t)O_CLOEXEC;
	int rc = file_path_check(l->link, &l->st, (uint64_t)l->info->mnt_id, err);
	FileEntry *reg;

	pipe_ends_see(&s->state->fifos, l, &e->fifo->pipe_id);
	if (rc < 0)
		return rc;
	reg = file_entry_new(FD_TYPES__REG, file_new_id(s), flags);
	file_append(s, reg);
	file_reg_fill(reg->reg, l->link, &l->st, UINT64_MAX);
	e->fifo->has_regf_id = true;
	e->fifo->regf_id = reg->id;
	return file_fown_save(s, l->copy, reg->reg->fown, err);
}

static int fifo_settle(struct file_save *s, struct err *err)
{
	return pipe_ends_settle(s, s->state->fifos, "FIFO", err);
}

static int fifo_write(struct file_save *s, int dirfd, struct err *err)
{
	return pipe_ends_write(s->state->fifos, dirfd, "fifo-data.img", err);
}

static void fifo_save_release(struct file_save *s)
{
	pipe_ends_save_release(&s->state->fifos);
}

static const RegFileEntry *reg_of(const struct file_build *b, const FileEntry *e)
{
	const FileEntry *reg = e->fifo->has_regf_id ? file_find(b, e->fifo->regf_id) : NULL;

	return reg && reg->type == FD_TYPES__REG ? reg->reg : NULL;
}

static bool awaited(const struct file_build *b, uint32_t pipe_id)
{
	for (size_t i = 0; i < b->n_awaited; i++)
		if (b->awaited[i] == pipe_id)
			return true;
	return false;
}

static int fifo_load(struct file_build *b, struct err *err)
{
	for (size_t i = 0; i < b->n_entries; i++) {
		const FileEntry *e = b->state->slot[i].e;

		if (e->type != FD_TYPES__FIFO)
			continue;
		if (!reg_of(b, e))
			return err_set(err, -EBADMSG, "files.img: FIFO %u has no path", e->id);
		if (b->state->slot[i].rows)
			pipe_ends_expect(&b->state->fifos, e->fifo->pipe_id, reg_of(b, e)->flags,
					 awaited(b, e->fifo->pipe_id));
	}
	return pipe_ends_load(b->state->fifos, b->dirfd, "fifo-data.img", err);
}

static int check_path(const RegFileEntry *reg, struct err *err)
{
	struct stat st;
	int rc = file_name_check(reg, err);

	if (rc < 0)
		return rc;
	if (stat(reg->name, &st) < 0)
		return err_errno(err, "%s", reg->name);
	if (!S_ISFIFO(st.st_mode))
		return err_set(err, -ESTALE, "%s: it was a FIFO when saved, but is none any more",
			       reg->name);
	if (reg->has_mode && reg->mode != st.st_mode)
		return err_set(err, -ESTALE, "%s: its mode is %#o, but was %#o when saved",
			       reg->name, st.st_mode, reg->mode);
	return 0;
}

static int fifo_build(struct file_build *b, const FileEntry *e, int *fd, struct err *err)
{
	const RegFileEntry *reg = reg_of(b, e);
	const struct file_given *given = outside_given(b, e);
	struct pipe_from from = { .path = reg->name, .given = given ? given->fd : -1 };
	int rc = given ? 0 : check_path(reg, err);

	if (rc < 0)
		return rc;
	return pipe_ends_open(b->state->fifos, e->fifo->pipe_id, &from, reg->flags, fd, err);
}

static int fifo_attach(struct file_build *b, const FileEntry *e, int fd, struct batch *batch,
		       struct err *err)
{
	const RegFileEntry *reg = reg_of(b, e);
	const struct file_slot *slot = file_slot(b, e->id);

	if (slot->first != batch->thread->task || slot->first_fd != fd)
		return 0;
	return file_fown_attach(reg->fown, reg->flags, fd, batch, err);
}

static void fifo_build_release(struct file_build *b)
{
	pipe_ends_build_release(&b->state->fifos);
}

const struct file_kind fd_fifo = {
	.name = "FIFO",
	.type = FD_TYPES__FIFO,
	.match = fifo_match,
	.save = fifo_save,
	.settle = fifo_settle,
	.build = fifo_build,
	.attach = fifo_attach,
	.write = fifo_write,
	.load = fifo_load,
	.save_release = fifo_save_release,
	.build_release = fifo_build_release,
};
