/*
 * fd_tty.c - the terminal of a job that was started from a shell.
 *
 * The terminal itself is the user's, so nothing of it is rebuilt: a restored
 * job gets the terminal of sd-restore, in the modes that the job had set. Any
 * other terminal is refused.
 */
#include "base/mem.h"
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/outside.h"
#include "criu-lite/proc/stat.h"
#include "images/img.h"
#include "proto/tty.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>

enum {
	PTS_MAJOR = 136, /* and seven more: Unix98 pseudo terminals, slaves */
	PTS_MAJORS = 8,
	PTS_PER_MAJOR = 256,
	CTTY_INDEX = 1006,
	EXT_INDEX = 1013, /* and those behind it: declared to lead out of the tree */
	C_CC_WORDS = 19,  /* as many as the format has, of which 32 bytes mean something */
	C_CC_BYTES = 32,
};

#ifndef TIOCGEXCL
#define TIOCGEXCL _IOR('T', 0x40, int)
#endif

struct ttys_save {
	TtyInfoEntry **info;
	size_t n, cap;
};

struct ttys_build {
	TtyInfoEntry **info;
	size_t n, cap;
};

static bool is_pts(dev_t rdev)
{
	return major(rdev) >= PTS_MAJOR && major(rdev) < PTS_MAJOR + PTS_MAJORS;
}

static bool is_ctty(dev_t rdev)
{
	return rdev == makedev(5, 0);
}

static bool tty_match(const struct fd_look *l)
{
	return S_ISCHR(l->st.st_mode) && (is_pts(l->st.st_rdev) || is_ctty(l->st.st_rdev));
}

/* tty_nr of /proc/PID/stat is the kernel's new_encode_dev(). */
static dev_t stat_tty(const struct proc_stat *stat)
{
	uint32_t nr = stat->tty_nr;

	return makedev((nr >> 8) & 0xfff, (nr & 0xff) | ((nr >> 12) & 0xfff00));
}

/* --- saving ---------------------------------------------------------------------------------- */

static TermiosEntry *termios_entry_new(const struct termios *t)
{
	TermiosEntry *e = xmalloc(sizeof(*e));

	termios_entry__init(e);
	e->c_iflag = t->c_iflag;
	e->c_oflag = t->c_oflag;
	e->c_cflag = t->c_cflag;
	e->c_lflag = t->c_lflag;
	e->c_line = t->c_line;
	e->n_c_cc = C_CC_WORDS;
	e->c_cc = xcalloc(C_CC_WORDS, sizeof(*e->c_cc));
	memcpy(e->c_cc, t->c_cc, C_CC_BYTES);
	return e;
}

static WinsizeEntry *winsize_entry_new(int fd)
{
	struct winsize ws = {};
	WinsizeEntry *e = xmalloc(sizeof(*e));

	ioctl(fd, TIOCGWINSZ, &ws);
	winsize_entry__init(e);
	e->ws_row = ws.ws_row;
	e->ws_col = ws.ws_col;
	e->ws_xpixel = ws.ws_xpixel;
	e->ws_ypixel = ws.ws_ypixel;
	return e;
}

static TtyType type_of(dev_t rdev, bool external)
{
	return external ? TTY_TYPE__EXT_TTY : is_ctty(rdev) ? TTY_TYPE__CTTY : TTY_TYPE__PTY;
}

static TtyInfoEntry *info_new(const struct fd_look *l, TtyType type, uint32_t id,
			      const struct proc_stat *stat, const struct termios *modes)
{
	TtyInfoEntry *e = xmalloc(sizeof(*e));
	int exclusive = 0;

	ioctl(l->copy, TIOCGEXCL, &exclusive);
	tty_info_entry__init(e);
	e->id = id;
	e->type = type;
	e->exclusive = exclusive;
	e->sid = stat->session;
	e->pgrp = stat->tpgid > 0 ? stat->tpgid : 0;
	e->rdev = l->st.st_rdev;
	e->termios = termios_entry_new(modes);
	e->winsize = winsize_entry_new(l->copy);
	if (e->type == TTY_TYPE__PTY) {
		e->pty = xmalloc(sizeof(*e->pty));
		tty_pty_entry__init(e->pty);
		e->pty->index = id / 2;
	}
	e->has_dev = e->has_uid = e->has_gid = true;
	e->dev = l->st.st_dev;
	e->uid = l->st.st_uid;
	e->gid = l->st.st_gid;
	return e;
}

/* Those that were declared are counted: their own numbers may be of another devpts. */
static uint32_t info_id(const struct ttys_save *all, dev_t rdev, TtyType type)
{
	uint32_t index = (major(rdev) - PTS_MAJOR) * PTS_PER_MAJOR + minor(rdev);

	if (type == TTY_TYPE__EXT_TTY)
		return 2 * (EXT_INDEX + (uint32_t)all->n);
	return 2 * (type == TTY_TYPE__CTTY ? CTTY_INDEX : index);
}

static const TtyInfoEntry *known_info(const struct ttys_save *all, const struct stat *st,
				      TtyType type)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->info[i]->type == type && all->info[i]->rdev == st->st_rdev &&
		    all->info[i]->dev == st->st_dev)
			return all->info[i];
	return NULL;
}

static int add_info(struct file_save *s, const struct fd_look *l, TtyType type,
		    const struct proc_stat *stat, uint32_t *id, struct err *err)
{
	struct ttys_save *all = s->state->ttys;
	const TtyInfoEntry *known;
	struct termios modes;
	TtyInfoEntry *info;

	if (!all)
		s->state->ttys = all = xcalloc(1, sizeof(*all));
	known = known_info(all, &l->st, type);
	*id = known ? known->id : info_id(all, l->st.st_rdev, type);
	if (known)
		return 0;
	if (tcgetattr(l->copy, &modes) < 0)
		return err_set(err, ERR_REFUSED, "terminal %s, which is hung up, is not supported",
			       l->link);
	info = info_new(l, type, *id, stat, &modes);
	ARRAY_PUSH(all->info, all->n, all->cap, info);
	return 0;
}

/* A new session has no terminal: what is given to it as a descriptor does not become one. */
static int check_declared(struct file_save *s, const struct fd_look *l,
			  const struct proc_stat *stat, struct err *err)
{
	if (is_ctty(l->st.st_rdev) ||
	    (stat_tty(stat) == l->st.st_rdev && tree_find(s->tree, stat->session)))
		return err_set(err, ERR_REFUSED,
			       "terminal %s, which controls a session that starts in the tree, is "
			       "not supported",
			       l->link);
	return 0;
}

/* The terminal that the job has from its shell, whose session began outside of the tree. */
static int check_job(struct file_save *s, const struct fd_look *l, const struct proc_stat *stat,
		     struct err *err)
{
	if (!s->shell_job)
		return err_set(err, ERR_REFUSED, "terminal %s is not supported without --shell-job",
			       l->link);
	if (!stat->tty_nr || (!is_ctty(l->st.st_rdev) && stat_tty(stat) != l->st.st_rdev))
		return err_set(err, ERR_REFUSED,
			       "terminal %s, which is not that of the job, is not supported",
			       l->link);
	if (tree_find(s->tree, stat->session))
		return err_set(err, ERR_REFUSED,
			       "terminal %s of a session that starts in the tree is not supported",
			       l->link);
	return 0;
}

static int tty_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
{
	bool declared = outside_tty(s, &l->st);
	TtyType type = type_of(l->st.st_rdev, declared);
	const struct task *task = declared ? l->task : s->tree->task[0];
	struct proc_stat stat;
	FileEntry *reg;
	int rc = proc_stat_read(task->proc, &stat, err);

	if (!rc)
		rc = declared ? check_declared(s, l, &stat, err) : check_job(s, l, &stat, err);
	if (!rc && !declared)
		rc = file_path_check(l->link, &l->st, (uint64_t)l->info->mnt_id, err);
	if (!rc)
		rc = add_info(s, l, type, &stat, &e->tty->tty_info_id, err);
	if (rc < 0)
		return rc;
	reg = file_entry_new(FD_TYPES__REG, file_new_id(s), e->tty->flags);
	file_reg_fill(reg->reg, l->link, &l->st, 0);
	file_append(s, reg);
	e->tty->has_regf_id = true;
	e->tty->regf_id = reg->id;
	return 0;
}

static int tty_write(struct file_save *s, int dirfd, struct err *err)
{
	struct ttys_save *all = s->state->ttys;
	scoped_writer w = NULL;
	int rc;

	if (!all)
		return 0;
	rc = img_create(&w, err, dirfd, "tty-info.img");
	for (size_t i = 0; !rc && i < all->n; i++)
		rc = img_append(w, all->info[i], err);
	return rc < 0 ? rc : img_close(&w, err);
}

static void free_infos(TtyInfoEntry **info, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tty_info_entry__free_unpacked(info[i], NULL);
	free(info);
}

static void tty_save_release(struct file_save *s)
{
	if (s->state->ttys)
		free_infos(s->state->ttys->info, s->state->ttys->n);
	free(s->state->ttys);
	s->state->ttys = NULL;
}

/* --- rebuilding -------------------------------------------------------------------------------- */

static const TtyInfoEntry *find_info(const struct ttys_build *all, uint32_t id)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->info[i]->id == id)
			return all->info[i];
	return NULL;
}

const TtyInfoEntry *file_tty_info(const struct file_build *b, const FileEntry *e)
{
	return b->state->ttys ? find_info(b->state->ttys, e->tty->tty_info_id) : NULL;
}

static int read_infos(struct ttys_build *all, int dirfd, struct err *err)
{
	scoped_reader r = NULL;
	TtyInfoEntry *info;
	int rc = img_open(&r, err, dirfd, "tty-info.img");

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	while ((rc = img_next(r, &info, err)) > 0) {
		bool twice = find_info(all, info->id);

		ARRAY_PUSH(all->info, all->n, all->cap, info);
		if (twice)
			return img_error(r, err, "terminal %u is there twice", info->id);
	}
	return rc;
}

static int tty_load(struct file_build *b, struct err *err)
{
	struct ttys_build *all = xcalloc(1, sizeof(*all));
	int rc;

	b->state->ttys = all;
	rc = read_infos(all, b->dirfd, err);
	for (size_t i = 0; !rc && i < b->n_entries; i++) {
		const FileEntry *e = b->entry[i];

		if (e->type != FD_TYPES__TTY)
			continue;
		if (!find_info(all, e->tty->tty_info_id))
			return err_set(err, -EBADMSG,
				       "files.img: terminal %u is not in tty-info.img",
				       e->tty->tty_info_id);
		/* outside_load sees to those that must be given. */
		if (!b->shell_job &&
		    find_info(all, e->tty->tty_info_id)->type != TTY_TYPE__EXT_TTY &&
		    !outside_given(b, e))
			return err_set(
				err, ERR_REFUSED,
				"a job that had a terminal is restored with --shell-job only");
	}
	return rc;
}

/* Our own terminal, by whichever of our descriptors leads to it. */
static int open_ours(uint32_t flags, bool ctty)
{
	char path[32];
	int fd = open("/dev/tty", flags);

	if (fd >= 0 && ctty)
		return fd;
	for (int i = 0; i <= 2; i++) {
		if (!isatty(i))
			continue;
		mem_close_p(&fd);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", i);
		return open(path, flags);
	}
	return fd;
}

/* Nothing of it is changed: it is not the terminal of this job. */
static int open_given(const struct file_given *g, uint32_t flags, int *fd, struct err *err)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", g->fd);
	*fd = open(path, flags);
	return *fd < 0 ? err_errno(err, "descriptor %d, given for %s: open", g->fd, g->name) : 0;
}

static int tty_build(struct file_build *b, const FileEntry *e, int *fd, struct err *err)
{
	const TtyInfoEntry *info = find_info(b->state->ttys, e->tty->tty_info_id);
	uint32_t flags = e->tty->flags & (O_ACCMODE | O_NONBLOCK | O_APPEND | 0100000);
	const struct file_given *given = outside_given(b, e);

	if (given)
		return open_given(given, flags | O_NOCTTY | O_CLOEXEC, fd, err);
	if (info->pty && e->tty->tty_info_id & 1)
		return err_set(err, ERR_REFUSED, "pseudo terminal master %u is not supported",
			       info->pty->index);
	*fd = open_ours(flags | O_NOCTTY | O_CLOEXEC, info->type == TTY_TYPE__CTTY);
	if (*fd < 0)
		return err_errno(err, "no terminal for the job (--shell-job): open of ours");
	return 0;
}

static void set_modes(int fd, const TermiosEntry *e)
{
	struct termios t;

	/* What the format does not have, speeds among it, stays the terminal's own. */
	if (e->n_c_cc * sizeof(*e->c_cc) < C_CC_BYTES || tcgetattr(fd, &t) < 0)
		return;
	t.c_iflag = e->c_iflag;
	t.c_oflag = e->c_oflag;
	t.c_cflag = (e->c_cflag & ~(tcflag_t)(CBAUD | CBAUDEX)) | (t.c_cflag & (CBAUD | CBAUDEX));
	t.c_lflag = e->c_lflag;
	memcpy(t.c_cc, e->c_cc, sizeof(t.c_cc) < C_CC_BYTES ? sizeof(t.c_cc) : C_CC_BYTES);
	tcsetattr(fd, TCSANOW, &t);
}

/* Groups are as the newborns have them: that of a shell outside of the tree has become ours. */
static pid_t group_in_front(const struct file_build *b, const TtyInfoEntry *info)
{
	const struct task *t;

	for_each_task (t, b->tree)
		if (info && t->pgid == (pid_t)info->pgrp)
			return getpgid(t->pid);
	return getpgid(b->tree->task[0]->pid);
}

static const TtyInfoEntry *info_of_job(const struct file_build *b)
{
	const struct ttys_build *all = b->state ? b->state->ttys : NULL;

	for (size_t i = 0; all && i < all->n; i++)
		if (all->info[i]->type != TTY_TYPE__EXT_TTY)
			return all->info[i];
	return NULL;
}

static int open_to_control(void)
{
	return open_ours(O_RDWR | O_NOCTTY | O_CLOEXEC, true);
}

bool files_terminal_give(struct file_build *b)
{
	const TtyInfoEntry *info = info_of_job(b);
	scoped_fd fd = -1;
	pid_t group;

	if (!b->shell_job)
		return false;
	fd = open_to_control();
	/* A job in the background leaves the terminal as it is. */
	if (fd < 0 || tcgetpgrp(fd) != getpgrp())
		return false;
	if (info && info->termios)
		set_modes(fd, info->termios);
	group = group_in_front(b, info);
	return group > 0 && group != getpgrp() && tcsetpgrp(fd, group) == 0;
}

void files_terminal_tell(struct file_build *b)
{
	const TtyInfoEntry *info = info_of_job(b);
	scoped_fd fd = -1;
	struct winsize now;
	pid_t group;

	if (!b->shell_job || !info || !info->winsize)
		return;
	fd = open_to_control();
	if (fd < 0 || ioctl(fd, TIOCGWINSZ, &now) < 0)
		return;
	group = group_in_front(b, info);
	if (group > 1 &&
	    (now.ws_row != info->winsize->ws_row || now.ws_col != info->winsize->ws_col))
		kill(-group, SIGWINCH);
}

void files_terminal_take(void)
{
	scoped_fd fd = open_to_control();

	if (fd >= 0)
		tcsetpgrp(fd, getpgrp());
}

static void tty_build_release(struct file_build *b)
{
	if (b->state->ttys)
		free_infos(b->state->ttys->info, b->state->ttys->n);
	free(b->state->ttys);
	b->state->ttys = NULL;
}

const struct file_kind fd_tty = {
	.name = "terminal",
	.type = FD_TYPES__TTY,
	.match = tty_match,
	.save = tty_save,
	.build = tty_build,
	.write = tty_write,
	.load = tty_load,
	.save_release = tty_save_release,
	.build_release = tty_build_release,
};
