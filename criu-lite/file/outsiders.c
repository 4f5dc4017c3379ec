/*
 * outsiders.c - who outside of the tree holds a pipe or shared memory that tasks of the
 * tree have. The kernel does not count by tree, so everybody's descriptors and mappings
 * are read. That takes its time, so it is done before the freeze and only if the tree
 * has such things; what is found is looked at again when it matters.
 */
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/file/state.h"
#include "criu-lite/proc/children.h"
#include "criu-lite/proc/maps.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

struct held {
	enum held_kind kind;
	uint64_t ino;
	pid_t pid;
	bool reads;
};

struct outsiders {
	struct held *v;
	size_t n, cap;
	bool insiders; /* in truth: what they can do with it is not asked */
};

/* --- one task ------------------------------------------------------------------------ */

static bool is_shared_memory(const char *path)
{
	return !strncmp(path, "/memfd:", 7) || !strcmp(path, "/dev/zero (deleted)");
}

/* The link has the rights that the descriptor has. */
static bool can_read(const struct proc_dir *dir, const char *name)
{
	struct stat link;

	return fstatat(proc_dirfd(dir), name, &link, AT_SYMLINK_NOFOLLOW) < 0 ||
	       link.st_mode & S_IRUSR;
}

/* A table of descriptors, and which of them are of what we look for. */
struct table {
	const struct proc_dir *dir;
	bool insider;
	int *fd;
	size_t n;
	struct held *held; /* .ino 0: this one is something else */
};

static int read_fd(void *arg, size_t i, struct err *err)
{
	struct table *t = arg;
	struct held *h = &t->held[i];
	scoped char *link = NULL;
	struct proc_link what;
	struct stat st;
	char name[32];

	snprintf(name, sizeof(name), "fd/%d", t->fd[i]);
	if (proc_readlink(t->dir, name, &link, NULL) < 0)
		return 0;
	proc_link_parse(link, &what);
	if (what.kind == PROC_LINK_PIPE)
		*h = (struct held) { HELD_PIPE, what.ino, proc_id(t->dir),
				     t->insider || can_read(t->dir, name) };
	else if (is_shared_memory(link) && fstatat(proc_dirfd(t->dir), name, &st, 0) == 0)
		*h = (struct held) { HELD_MEMORY, st.st_ino, proc_id(t->dir), true };
	return 0;
}

static void note_fds(struct outsiders *o, const struct proc_dir *dir)
{
	struct table t = { .dir = dir, .insider = o->insiders };

	if (proc_list(dir, "fd", &t.fd, &t.n, NULL) < 0)
		return;
	t.held = xcalloc(t.n, sizeof(*t.held));
	parallel(t.n, read_fd, &t, NULL);
	for (size_t i = 0; i < t.n; i++)
		if (t.held[i].ino)
			ARRAY_PUSH(o->v, o->n, o->cap, t.held[i]);
	free(t.held);
	free(t.fd);
}

static void note_mappings(struct outsiders *o, const struct proc_dir *dir)
{
	scoped struct proc_vma *vma = NULL;
	size_t n = 0;

	if (proc_maps_read(dir, &vma, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		struct held h = { HELD_MEMORY, vma[i].ino, proc_id(dir), true };

		if (vma[i].shared && vma[i].path && is_shared_memory(vma[i].path))
			ARRAY_PUSH(o->v, o->n, o->cap, h);
	}
}

static void note_task(struct outsiders *o, pid_t pid, bool fds, bool mappings)
{
	scoped_proc dir = NULL;

	if (proc_open(&dir, NULL, pid, NULL) < 0)
		return;
	if (fds)
		note_fds(o, dir);
	if (mappings)
		note_mappings(o, dir);
}

static void outsiders_release(struct outsiders *o)
{
	free(o->v);
	*o = (struct outsiders) {};
}

/* --- before the freeze ------------------------------------------------------------------ */

struct pids {
	pid_t *v;
	size_t n, cap;
};

struct own {
	struct pids tree;
	atomic_bool pipes, memory;
};

static void add_tree(struct pids *tree, pid_t pid, int depth)
{
	scoped_proc dir = NULL;
	scoped int *child = NULL;
	size_t n = 0;

	ARRAY_PUSH(tree->v, tree->n, tree->cap, pid);
	if (!depth || proc_open(&dir, NULL, pid, NULL) < 0 ||
	    proc_children_read(dir, &child, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		add_tree(tree, child[i], depth - 1);
}

static bool among(const struct pids *p, pid_t pid)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i] == pid)
			return true;
	return false;
}

static bool any(const struct outsiders *o, enum held_kind kind)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->v[i].kind == kind)
			return true;
	return false;
}

static void look_at_all_but(struct outsiders *o, const struct pids *tree, bool fds, bool mappings)
{
	scoped int *pid = NULL;
	size_t n = 0;

	proc_tasks(&pid, &n, NULL);
	for (size_t i = 0; i < n; i++)
		if (pid[i] != getpid() && !among(tree, pid[i]))
			note_task(o, pid[i], fds, mappings);
}

/* Whether the tree has pipes and shared memory at all. */
static int look_at_own(void *arg, size_t i, struct err *err)
{
	struct own *own = arg;
	struct outsiders found = { .insiders = true };

	note_task(&found, own->tree.v[i], true, true);
	if (any(&found, HELD_PIPE))
		own->pipes = true;
	if (any(&found, HELD_MEMORY))
		own->memory = true;
	outsiders_release(&found);
	return 0;
}

void files_early(struct file_save *s, pid_t root)
{
	enum { DEPTH = 64 };
	struct own own = {};

	add_tree(&own.tree, root, DEPTH);
	parallel(own.tree.n, look_at_own, &own, NULL);
	if (own.memory || own.pipes) {
		file_state(s)->outsiders = xcalloc(1, sizeof(*s->state->outsiders));
		look_at_all_but(s->state->outsiders, &own.tree, true, own.memory);
	}
	free(own.tree.v);
}

/* --- when it matters ----------------------------------------------------------------------- */

/* The tree is frozen: who was forked by it meanwhile is known to be of it. */
static bool still_holds(const struct file_save *s, const struct held *h)
{
	struct outsiders now = {};
	bool holds = false;

	if (tree_find(s->tree, h->pid))
		return false;
	note_task(&now, h->pid, true, h->kind == HELD_MEMORY);
	for (size_t i = 0; i < now.n && !holds; i++)
		holds = now.v[i].kind == h->kind && now.v[i].ino == h->ino;
	outsiders_release(&now);
	return holds;
}

static const struct held *find(const struct file_save *s, enum held_kind kind, uint64_t ino,
			       bool reading)
{
	const struct outsiders *o = s->state ? s->state->outsiders : NULL;

	for (size_t i = 0; o && i < o->n; i++)
		if (o->v[i].kind == kind && o->v[i].ino == ino && (o->v[i].reads || !reading) &&
		    still_holds(s, &o->v[i]))
			return &o->v[i];
	return NULL;
}

pid_t file_outsider(const struct file_save *s, enum held_kind kind, uint64_t ino)
{
	const struct held *h = find(s, kind, ino, false);

	return h ? h->pid : 0;
}

bool file_outsider_reads(const struct file_save *s, uint64_t ino)
{
	return find(s, HELD_PIPE, ino, true);
}

void file_outsiders_release(struct file_save *s)
{
	if (s->state->outsiders)
		outsiders_release(s->state->outsiders);
	free(s->state->outsiders);
	s->state->outsiders = NULL;
}
