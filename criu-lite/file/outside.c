/* outside.c - names of what leads out of the tree, and what the caller gives for them. */
#include "criu-lite/file/outside.h"
#include "base/mem.h"
#include "proto/tty.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- names ----------------------------------------------------------------------------- */

static char *pipe_name(uint64_t ino)
{
	return xasprintf("pipe:[%" PRIu64 "]", ino);
}

static char *pair_name(const char *kind, uint64_t a, uint64_t b)
{
	return xasprintf("%s[%" PRIx64 ":%" PRIx64 "]", kind, a, b);
}

char *outside_name(const char *text)
{
	static const char *const pipes[] = { "pipe:[%" SCNu64 "]%n", "pipe[%" SCNu64 "]%n" };
	static const struct {
		const char *kind, *format;
	} pairs[] = {
		{ "file", "file[%" SCNx64 ":%" SCNx64 "]%n" },
		{ "tty", "tty[%" SCNx64 ":%" SCNx64 "]%n" },
	};
	uint64_t a, b;
	int end;

	text += *text == '/';
	for (size_t i = 0; i < ARRAY_SIZE(pipes); i++) {
		end = 0;
		if (sscanf(text, pipes[i], &a, &end) == 1 && end && !text[end])
			return pipe_name(a);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		end = 0;
		if (sscanf(text, pairs[i].format, &a, &b, &end) == 2 && end && !text[end])
			return pair_name(pairs[i].kind, a, b);
	}
	return xstrdup(text);
}

bool outside_has(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

/* --- saving ------------------------------------------------------------------------------ */

static bool is_declared(const struct file_save *s, const char *name)
{
	return outside_has(s->external, s->n_external, name);
}

/* Readers cut the first byte off a name. */
bool outside_reg(const struct file_save *s, const struct fd_look *l, RegFileEntry *reg)
{
	scoped char *name = pair_name("file", (uint64_t)l->info->mnt_id, l->st.st_ino);
	scoped char *in_image = xasprintf("/%s", name);

	if (!is_declared(s, name))
		return false;
	file_reg_fill(reg, in_image, &l->st, l->info->pos);
	reg->has_ext = reg->ext = true;
	return true;
}

bool outside_tty(const struct file_save *s, const struct stat *st)
{
	scoped char *name = pair_name("tty", st->st_rdev, st->st_dev);

	return is_declared(s, name);
}

bool outside_pipe(struct file_save *s, uint32_t pipe_id)
{
	char *name = pipe_name(pipe_id);

	if (!s->pipes_outside && !is_declared(s, name)) {
		free(name);
		return false;
	}
	ARRAY_PUSH(s->outside, s->n_outside, s->cap_outside, name);
	return true;
}

/* --- rebuilding -------------------------------------------------------------------------- */

static const RegFileEntry *reg_of_fifo(const struct file_build *b, const FileEntry *e)
{
	const FileEntry *reg = e->fifo->has_regf_id ? file_find(b, e->fifo->regf_id) : NULL;

	return reg && reg->type == FD_TYPES__REG ? reg->reg : NULL;
}

static char *path_name(const RegFileEntry *reg)
{
	return reg ? xstrdup(reg->name + (reg->name[0] == '/')) : NULL;
}

/* NULL: files of its kind are not given. */
static char *name_of(const struct file_build *b, const FileEntry *e)
{
	const TtyInfoEntry *tty;

	switch (e->type) {
	case FD_TYPES__REG:
		return path_name(e->reg);
	case FD_TYPES__FIFO:
		return path_name(reg_of_fifo(b, e));
	case FD_TYPES__PIPE:
		return pipe_name(e->pipe->pipe_id);
	case FD_TYPES__TTY:
		tty = file_tty_info(b, e);
		return tty ? pair_name("tty", tty->rdev, tty->dev) : NULL;
	default:
		return NULL;
	}
}

static uint32_t flags_of(const struct file_build *b, const FileEntry *e)
{
	const RegFileEntry *fifo = e->type == FD_TYPES__FIFO ? reg_of_fifo(b, e) : NULL;

	return fifo ? fifo->flags : file_entry_flags(e);
}

/* Can @fd do what a description with these flags could? */
static bool can_do(int fd, uint32_t flags)
{
	int has = fcntl(fd, F_GETFL);

	if (has < 0 || flags & O_PATH)
		return has >= 0;
	return !(has & O_PATH) &&
	       ((has & O_ACCMODE) == O_RDWR || (has & O_ACCMODE) == (int)(flags & O_ACCMODE));
}

static struct file_given *find_given(const struct file_build *b, const char *name, uint32_t flags)
{
	struct file_given *found = NULL;

	for (size_t i = 0; i < b->n_given; i++) {
		struct file_given *g = &b->given[i];

		if (strcmp(g->name, name))
			continue;
		if (can_do(g->fd, flags))
			return g;
		found = found ? found : g;
	}
	return found;
}

const struct file_given *outside_given(const struct file_build *b, const FileEntry *e)
{
	const struct file_slot *slot = b->n_given ? file_slot(b, e->id) : NULL;
	scoped char *name = slot && slot->first ? name_of(b, e) : NULL;

	return name ? find_given(b, name, flags_of(b, e)) : NULL;
}

static bool must_be_given(const struct file_build *b, const FileEntry *e, const char *name)
{
	const TtyInfoEntry *tty = e->type == FD_TYPES__TTY ? file_tty_info(b, e) : NULL;

	return (e->type == FD_TYPES__REG && e->reg->has_ext && e->reg->ext) ||
	       (tty && tty->type == TTY_TYPE__EXT_TTY) ||
	       (e->type == FD_TYPES__PIPE && outside_has(b->outside, b->n_outside, name));
}

static void check_slot(struct file_build *b, const struct file_slot *slot, struct refusals *no)
{
	scoped char *name = slot->first ? name_of(b, slot->e) : NULL;
	const struct file_given *given = name ? outside_given(b, slot->e) : NULL;

	for (size_t i = 0; given && i < b->n_given; i++)
		b->given[i].used |= !strcmp(b->given[i].name, name);
	if (name && !given && must_be_given(b, slot->e, name))
		refuse(no,
		       "task %d: fd %d: %s leads out of the tree, and nothing is given for it "
		       "(criu-lite --inherit-fd fd[N]:%s)",
		       slot->first->pid, slot->first_fd, name, name);
}

int outside_load(struct file_build *b, struct err *err)
{
	struct refusals no = {};
	int rc;

	for (size_t i = 0; i < b->n_entries; i++)
		check_slot(b, &b->state->slot[i], &no);
	rc = refusals_result(&no, err);
	refusals_release(&no);
	return rc;
}

/* Pipes and terminals have no place in them: each description can be one of its own. */
static bool kind_makes(const FileEntry *e, int fd, const struct stat *st)
{
	if (e->type == FD_TYPES__TTY)
		return isatty(fd);
	return e->type != FD_TYPES__REG && S_ISFIFO(st->st_mode);
}

int outside_take(const struct file_build *b, const FileEntry *e, int *fd, struct err *err)
{
	const struct file_given *g = outside_given(b, e);
	bool was_dir = e->type == FD_TYPES__REG && e->reg->has_mode && S_ISDIR(e->reg->mode);
	struct stat st;

	if (!g)
		return 0;
	if (fstat(g->fd, &st) < 0)
		return err_errno(err, "descriptor %d, given for %s", g->fd, g->name);
	if (kind_makes(e, g->fd, &st))
		return 0;
	if (S_ISDIR(st.st_mode) != was_dir)
		return err_set(err, -EINVAL, "descriptor %d, given for %s, is %s directory", g->fd,
			       g->name, was_dir ? "no" : "a");
	if (!can_do(g->fd, flags_of(b, e)))
		return err_set(err, -EBADF,
			       "descriptor %d, given for %s, is open another way (flags %#o) than "
			       "what it is for (%#o)",
			       g->fd, g->name, fcntl(g->fd, F_GETFL), flags_of(b, e));
	*fd = fcntl(g->fd, F_DUPFD_CLOEXEC, 0);
	return *fd < 0 ? err_errno(err, "descriptor %d", g->fd) : 1;
}
