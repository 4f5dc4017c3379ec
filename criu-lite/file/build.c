/* build.c - descriptions opened in the tool, handed to newborns, closed again. */
#include "base/mem.h"
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/outside.h"
#include "criu-lite/file/state.h"
#include "images/img.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

/* --- loading ---------------------------------------------------------------------- */

static int read_entries(struct file_build *b, struct err *err)
{
	scoped_reader r = NULL;
	size_t cap = 0;
	FileEntry *e;
	int rc = img_open(&r, err, b->dirfd, "files.img");

	if (rc == -ENOENT)
		return err_add(err, rc, "the checkpoint has no files");
	if (rc < 0)
		return rc;
	while ((rc = img_next(r, &e, err)) > 0) {
		ARRAY_PUSH(b->entry, b->n_entries, cap, e);
		rc = file_entry_check(e, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int compare_slots(const void *pa, const void *pb)
{
	const struct file_slot *a = pa, *b = pb;

	return a->e->id < b->e->id ? -1 : a->e->id > b->e->id;
}

static int index_entries(struct file_build *b, struct err *err)
{
	struct file_slot *slot = xcalloc(b->n_entries + 1, sizeof(*slot));

	b->state->slot = slot;
	for (size_t i = 0; i < b->n_entries; i++)
		slot[i] = (struct file_slot) { .e = b->entry[i], .fd = -1, .first_fd = -1 };
	qsort(slot, b->n_entries, sizeof(*slot), compare_slots);
	for (size_t i = 1; i < b->n_entries; i++)
		if (slot[i].e->id == slot[i - 1].e->id)
			return err_set(err, -EBADMSG, "files.img: two files have the id %u",
				       slot[i].e->id);
	return 0;
}

static int check_owners(const struct file_build *b, struct err *err)
{
	for (size_t i = 0; i < b->n_entries; i++) {
		int rc = file_fown_check(b->tree, b->entry[i], err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

struct file_slot *file_slot(const struct file_build *b, uint32_t id)
{
	size_t lo = 0, hi = b->n_entries;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct file_slot *s = &b->state->slot[mid];

		if (s->e->id == id)
			return s;
		if (s->e->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const FileEntry *file_find(const struct file_build *b, uint32_t id)
{
	struct file_slot *slot = file_slot(b, id);

	return slot ? slot->e : NULL;
}

void file_mapped_for_writing(struct file_build *b, uint32_t id)
{
	struct file_slot *slot = file_slot(b, id);

	if (!slot || slot->first)
		return;
	if (slot->e->type == FD_TYPES__REG && (slot->e->reg->flags & O_ACCMODE) == O_RDONLY)
		slot->e->reg->flags |= O_RDWR;
	if (slot->e->type == FD_TYPES__MEMFD && (slot->e->memfd->flags & O_ACCMODE) == O_RDONLY)
		slot->e->memfd->flags |= O_RDWR;
}

/* --- tables ----------------------------------------------------------------------- */

static int compare_rows(const void *pa, const void *pb)
{
	const FdinfoEntry *a = *(FdinfoEntry *const *)pa, *b = *(FdinfoEntry *const *)pb;

	return a->fd < b->fd ? -1 : a->fd > b->fd;
}

const FdinfoEntry *file_table_row(const struct task *task, uint32_t fd)
{
	FdinfoEntry key = { .fd = fd }, *p = &key, **row;

	if (!task->n_fdinfo)
		return NULL;
	row = bsearch(&p, task->fdinfo, task->n_fdinfo, sizeof(p), compare_rows);
	return row ? *row : NULL;
}

static int check_row(struct file_build *b, struct task *task, const FdinfoEntry *row,
		     struct err *err)
{
	struct file_slot *slot = file_slot(b, row->id);

	if (!slot)
		return err_set(err, -EBADMSG, "task %d: fd %u: there is no file %u", task->pid,
			       row->fd, row->id);
	if (slot->e->type != row->type)
		return err_set(err, -EBADMSG, "task %d: fd %u: type %d, but file %u has %d",
			       task->pid, row->fd, row->type, row->id, slot->e->type);
	if (row->fd >= INT32_MAX || row->flags & ~(uint32_t)FD_CLOEXEC)
		return err_set(err, -EBADMSG, "task %d: fd %u: bad number or flags %#x", task->pid,
			       row->fd, row->flags);
	slot->rows++;
	if (!slot->first) {
		slot->first = task;
		slot->first_fd = row->fd;
	}
	return 0;
}

static int check_fs(struct file_build *b, const struct task *task, struct err *err)
{
	const FileEntry *cwd, *root;

	if (!task->fs)
		return err_set(err, -EBADMSG, "task %d: no fs image", task->pid);
	cwd = file_find(b, task->fs->cwd_id);
	root = file_find(b, task->fs->root_id);
	if (!cwd || cwd->type != FD_TYPES__REG || !root || root->type != FD_TYPES__REG)
		return err_set(err, -EBADMSG, "task %d: cwd or root is not in files.img",
			       task->pid);
	return 0;
}

static int check_rows(struct file_build *b, struct task *task, struct err *err)
{
	if (task->n_fdinfo)
		qsort(task->fdinfo, task->n_fdinfo, sizeof(*task->fdinfo), compare_rows);
	for (size_t i = 0; i < task->n_fdinfo; i++) {
		int rc = check_row(b, task, task->fdinfo[i], err);

		if (rc < 0)
			return rc;
		if (i && task->fdinfo[i]->fd == task->fdinfo[i - 1]->fd)
			return err_set(err, -EBADMSG, "task %d: fd %u is there twice", task->pid,
				       task->fdinfo[i]->fd);
	}
	return 0;
}

static int check_table(struct file_build *b, struct task *task, struct err *err)
{
	int rc = check_fs(b, task, err);

	if (rc < 0)
		return err_add(err, rc, "fs-%d.img", task->pid);
	rc = check_rows(b, task, err);
	return rc < 0 && task->ids ? err_add(err, rc, "fdinfo-%u.img", task->ids->files_id) : rc;
}

static const struct file_kind *builder_of(FdTypes type)
{
	for (size_t i = 0; file_kinds[i]; i++)
		if (file_kinds[i]->type == type && file_kinds[i]->build)
			return file_kinds[i];
	return NULL;
}

/* Another program's checkpoint may hold kinds that we have no row for: all of them are said. */
static int check_kinds(struct file_build *b, struct err *err)
{
	struct refusals no = {};
	const ProtobufCEnumValue *type;
	int rc;

	for (size_t i = 0; i < b->n_entries; i++) {
		const struct file_slot *slot = &b->state->slot[i];

		if (builder_of(slot->e->type))
			continue;
		type = protobuf_c_enum_descriptor_get_value(&fd_types__descriptor, slot->e->type);
		if (slot->first)
			refuse(&no, "task %d: fd %d: a file of type %s is not supported",
			       slot->first->pid, slot->first_fd, type ? type->name : "?");
		else
			refuse(&no, "file %u of type %s is not supported", slot->e->id,
			       type ? type->name : "?");
	}
	rc = refusals_result(&no, err);
	refusals_release(&no);
	return rc;
}

int files_load(struct file_build *b, struct err *err)
{
	struct task *task;
	int rc;

	b->state = xcalloc(1, sizeof(*b->state));
	rc = read_entries(b, err);
	if (!rc)
		rc = index_entries(b, err);
	if (!rc)
		rc = check_owners(b, err);
	for_each_live_task (task, b->tree)
		if (!rc)
			rc = check_table(b, task, err);
	if (!rc)
		rc = check_kinds(b, err);
	for (size_t i = 0; !rc && file_kinds[i]; i++)
		if (file_kinds[i]->load)
			rc = file_kinds[i]->load(b, err);
	return rc < 0 ? rc : outside_load(b, err);
}

int files_top(const struct file_build *b)
{
	const struct task *task;
	int top = 0;

	for_each_live_task (task, b->tree)
		if (task->n_fdinfo && (int)task->fdinfo[task->n_fdinfo - 1]->fd >= top)
			top = task->fdinfo[task->n_fdinfo - 1]->fd + 1;
	return top;
}

/* --- descriptions in the tool --------------------------------------------------------- */

int file_open(struct file_build *b, uint32_t id, int *fd, struct err *err)
{
	struct file_slot *slot = file_slot(b, id);
	const struct file_kind *kind;
	int rc;

	if (!slot)
		return err_set(err, -EBADMSG, "there is no file %u in files.img", id);
	if (slot->fd < 0) {
		kind = builder_of(slot->e->type);
		if (!kind)
			return err_set(err, ERR_REFUSED, "file %u of type %d is not supported", id,
				       slot->e->type);
		rc = outside_take(b, slot->e, &slot->fd, err);
		if (!rc)
			rc = kind->build(b, slot->e, &slot->fd, err);
		if (rc < 0)
			return rc;
	}
	*fd = slot->fd;
	return 0;
}

static void slot_close(struct file_slot *slot)
{
	if (slot->fd >= 0)
		close(slot->fd);
	slot->fd = -1;
}

void files_idle(struct file_build *b)
{
	for (size_t i = 0; i < b->n_entries; i++)
		if (!b->state->slot[i].rows)
			slot_close(&b->state->slot[i]);
}

void files_build_release(struct file_build *b)
{
	for (size_t i = 0; b->state && file_kinds[i]; i++)
		if (file_kinds[i]->build_release)
			file_kinds[i]->build_release(b);
	if (b->state && b->state->slot)
		for (size_t i = 0; i < b->n_entries; i++)
			slot_close(&b->state->slot[i]);
	for (size_t i = 0; i < b->n_entries; i++)
		file_entry__free_unpacked(b->entry[i], NULL);
	free(b->entry);
	if (b->state)
		free(b->state->slot);
	free(b->state);
	b->state = NULL;
	b->entry = NULL;
	b->n_entries = 0;
}
