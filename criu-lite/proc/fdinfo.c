/* fdinfo.c - /proc/PID/fdinfo/FD, one row a line that we know; and the names of fd links. */
#include "criu-lite/proc/fdinfo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "criu-lite/proc/text.h"

/* What a parse gathers before it is known to be good. */
struct gather {
	struct proc_fdinfo info;
	size_t cap;
	bool pos, flags, mnt_id;
};

/* Take the rest of a line behind its key. */
typedef bool take_fn(struct text *t, struct gather *g);

static bool take_pos(struct text *t, struct gather *g)
{
	g->pos = true;
	return text_blanks(t) && text_int(t, &g->info.pos) && text_done(t);
}

static bool take_flags(struct text *t, struct gather *g)
{
	g->flags = true;
	return text_blanks(t) && text_oct32(t, &g->info.flags) && text_done(t);
}

static bool take_mnt_id(struct text *t, struct gather *g)
{
	g->mnt_id = true;
	return text_blanks(t) && text_i32(t, &g->info.mnt_id) && text_done(t);
}

static bool take_ino(struct text *t, struct gather *g)
{
	return text_blanks(t) && text_dec(t, &g->info.ino) && text_done(t);
}

static bool take_event_count(struct text *t, struct gather *g)
{
	g->info.is_eventfd = true;
	return text_blanks(t) && text_hex(t, &g->info.eventfd_count) && text_done(t);
}

static bool take_event_id(struct text *t, struct gather *g)
{
	return text_blanks(t) && text_i32(t, &g->info.eventfd_id) && text_done(t);
}

static bool take_event_semaphore(struct text *t, struct gather *g)
{
	return text_blanks(t) && text_i32(t, &g->info.eventfd_semaphore) && text_done(t);
}

static bool take_sigmask(struct text *t, struct gather *g)
{
	g->info.is_signalfd = true;
	return text_blanks(t) && text_hex(t, &g->info.sigmask) && text_done(t);
}

static bool take_clockid(struct text *t, struct gather *g)
{
	g->info.is_timerfd = true;
	return text_blanks(t) && text_i32(t, &g->info.clockid) && text_done(t);
}

static bool take_ticks(struct text *t, struct gather *g)
{
	return text_blanks(t) && text_dec(t, &g->info.ticks) && text_done(t);
}

static bool take_settime(struct text *t, struct gather *g)
{
	return text_blanks(t) && text_oct32(t, &g->info.settime_flags) && text_done(t);
}

/* "(1, 500000000)" */
static bool take_timespec(struct text *t, struct timespec *out)
{
	uint64_t sec, nsec;

	if (!text_blanks(t) || !text_char(t, '(') || !text_dec(t, &sec) || !text_word(t, ", ") ||
	    !text_dec(t, &nsec) || !text_char(t, ')') || !text_done(t))
		return false;
	if (sec > INT64_MAX || nsec > 999999999)
		return false;
	*out = (struct timespec) { .tv_sec = (time_t)sec, .tv_nsec = (long)nsec };
	return true;
}

static bool take_value(struct text *t, struct gather *g)
{
	return take_timespec(t, &g->info.it_value);
}

static bool take_interval(struct text *t, struct gather *g)
{
	return take_timespec(t, &g->info.it_interval);
}

/* "tfd:        5 events:       19 data:                5  pos:0 ino:3 sdev:f"; pos came in 4.7 */
static bool take_tfd(struct text *t, struct gather *g)
{
	struct proc_epoll_item item = {};

	if (!text_blanks(t) || !text_i32(t, &item.tfd) || !text_word(t, " events:") ||
	    !text_blanks(t) || !text_hex32(t, &item.events) || !text_word(t, " data:") ||
	    !text_blanks(t) || !text_hex(t, &item.data))
		return false;
	text_blanks(t);
	if (text_word(t, "pos:") &&
	    (!text_int(t, &item.pos) || !text_word(t, " ino:") || !text_hex(t, &item.ino) ||
	     !text_word(t, " sdev:") || !text_hex32(t, &item.sdev)))
		return false;
	ARRAY_PUSH(g->info.epoll, g->info.n_epoll, g->cap, item);
	return text_done(t);
}

static bool take_pidfd(struct text *t, struct gather *g)
{
	g->info.is_pidfd = true;
	return text_blanks(t) && text_i32(t, &g->info.pidfd_pid) && text_done(t);
}

static bool count_inotify(struct text *t, struct gather *g)
{
	g->info.n_inotify++;
	return true;
}

static bool count_fanotify(struct text *t, struct gather *g)
{
	g->info.n_fanotify++;
	return true;
}

static bool count_lock(struct text *t, struct gather *g)
{
	g->info.n_locks++;
	return true;
}

static const struct {
	const char *key;
	take_fn *take;
} lines[] = {
	{ "pos:", take_pos },
	{ "flags:", take_flags },
	{ "mnt_id:", take_mnt_id },
	{ "ino:", take_ino },
	{ "lock:", count_lock },
	{ "eventfd-count:", take_event_count },
	{ "eventfd-id:", take_event_id },
	{ "eventfd-semaphore:", take_event_semaphore },
	{ "sigmask:", take_sigmask },
	{ "clockid:", take_clockid },
	{ "ticks:", take_ticks },
	{ "settime flags:", take_settime },
	{ "it_value:", take_value },
	{ "it_interval:", take_interval },
	{ "tfd:", take_tfd },
	{ "Pid:", take_pidfd },
	{ "inotify ", count_inotify },
	{ "fanotify ", count_fanotify },
};

/* Lines of kinds that are not in the list (io_uring, bpf, drm, ...) are passed over. */
static bool take_line(struct text *line, struct gather *g)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		if (text_word(line, lines[i].key))
			return lines[i].take(line, g);
	}
	return true;
}

static int take_lines(struct text *t, struct gather *g, struct err *err)
{
	struct text line;

	while (text_line(t, &line)) {
		struct text rest = line;

		if (!take_line(&rest, g))
			return text_bad(err, "fdinfo", &line);
	}
	if (!g->pos || !g->flags || !g->mnt_id)
		return err_set(err, -EINVAL, "fdinfo: no %s line",
			       !g->pos	   ? "pos"
			       : !g->flags ? "flags"
					   : "mnt_id");
	return 0;
}

int proc_fdinfo_parse(const char *buf, size_t len, struct proc_fdinfo *out, struct err *err)
{
	struct gather g = { .info = { .eventfd_id = -1, .eventfd_semaphore = -1 } };
	struct text t = text_of(buf, len);
	int rc = take_lines(&t, &g, err);

	if (rc < 0) {
		proc_fdinfo_release(&g.info);
		return rc;
	}
	*out = g.info;
	return 0;
}

int proc_fdinfo_read(const struct proc_dir *dir, int fd, struct proc_fdinfo *out, struct err *err)
{
	scoped char *name = xasprintf("fdinfo/%d", fd);
	scoped char *buf = NULL;
	size_t len;
	int rc = proc_read(dir, name, &buf, &len, err);

	return rc < 0 ? rc : proc_fdinfo_parse(buf, len, out, err);
}

void proc_fdinfo_release(struct proc_fdinfo *info)
{
	free(info->epoll);
	*info = (struct proc_fdinfo) {};
}

/* "[123]" and nothing behind it */
static bool take_ino_in_brackets(struct text t, uint64_t *ino)
{
	return text_char(&t, '[') && text_dec(&t, ino) && text_char(&t, ']') && t.p == t.end;
}

static bool take_deleted(struct text *t)
{
	static const char mark[] = " (deleted)";
	size_t n = sizeof(mark) - 1;

	if (text_len(t) < n || memcmp(t->end - n, mark, n))
		return false;
	t->end -= n;
	return true;
}

static void set_name(struct proc_link *out, const struct text *t)
{
	out->name = t->p;
	out->name_len = text_len(t);
}

static void path_parse(struct text t, struct proc_link *out)
{
	struct text rest = t;

	if (text_word(&rest, "/memfd:") && take_deleted(&rest)) {
		out->kind = PROC_LINK_MEMFD;
		set_name(out, &rest);
		return;
	}
	rest = t;
	out->kind = text_word(&rest, "/dev/") ? PROC_LINK_DEV : PROC_LINK_PATH;
	out->deleted = take_deleted(&t);
	set_name(out, &t);
}

static void anon_parse(struct text t, struct proc_link *out)
{
	out->kind = PROC_LINK_ANON;
	if (t.p < t.end && *t.p == '[' && t.end[-1] == ']' && text_len(&t) >= 2) {
		t.p++;
		t.end--;
	}
	set_name(out, &t);
}

/* "TYPE:[INO]", where TYPE is one of the names that namespaces have. */
static bool ns_parse(struct text t, struct proc_link *out)
{
	static const char *const types[] = { "cgroup", "ipc",  "mnt",  "net",
					     "pid",    "time", "user", "uts" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct text rest = t;

		if (text_word(&rest, types[i]) && text_char(&rest, ':') &&
		    take_ino_in_brackets(rest, &out->ino)) {
			out->kind = PROC_LINK_NS;
			out->name = t.p;
			out->name_len = strlen(types[i]);
			return true;
		}
	}
	return false;
}

void proc_link_parse(const char *link, struct proc_link *out)
{
	struct text t = text_of(link, strlen(link)), rest = t;

	*out = (struct proc_link) { .kind = PROC_LINK_OTHER };
	set_name(out, &t);
	if (t.p < t.end && *t.p == '/') {
		path_parse(t, out);
	} else if (text_word(&rest, "pipe:") && take_ino_in_brackets(rest, &out->ino)) {
		out->kind = PROC_LINK_PIPE;
	} else if ((rest = t, text_word(&rest, "socket:")) &&
		   take_ino_in_brackets(rest, &out->ino)) {
		out->kind = PROC_LINK_SOCKET;
	} else if ((rest = t, text_word(&rest, "anon_inode:"))) {
		anon_parse(rest, out);
	} else if (!ns_parse(t, out)) {
		out->ino = 0;
	}
}

bool proc_link_is_anon(const struct proc_link *link, const char *name)
{
	return link->kind == PROC_LINK_ANON && strlen(name) == link->name_len &&
	       !memcmp(name, link->name, link->name_len);
}
