/* births.c - the order of clones, the sessions and groups, and the helpers for dead leaders. */
#include "criu-lite/restore/births.h"
#include "base/mem.h"

#include <errno.h>
#include <signal.h>

struct birth *births_of(const struct births *b, pid_t pid)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->birth[i]->pid == pid)
			return b->birth[i];
	return NULL;
}

void births_release(struct births *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->birth[i]);
	free(b->birth);
	*b = (struct births) {};
}

int birth_exit_signal(const struct birth *n)
{
	return n->task ? n->task->exit_signal : SIGCHLD;
}

static struct birth *add(struct births *b, pid_t pid, struct task *task)
{
	struct birth *n = xcalloc(1, sizeof(*n));

	n->pid = pid;
	n->task = task;
	ARRAY_PUSH(b->birth, b->n, b->cap, n);
	return n;
}

/* Cloned by @by (NULL: the tool, whose session is @tool_sid). */
static void born_by(struct birth *n, struct birth *by, bool early, bool as_sibling, pid_t tool_sid)
{
	n->by = by;
	n->early = early;
	n->as_sibling = as_sibling;
	n->mother = as_sibling ? by->mother : by;
	n->born_sid = !by ? tool_sid : early ? by->born_sid : by->sid;
	n->sid = n->setsid ? n->pid : n->born_sid;
}

static pid_t outer_sid(const struct tree *tree)
{
	const struct task *root = tree->task[0];

	return tree_find(tree, root->sid) ? 0 : root->sid;
}

/* The session to be in: the outer one is the caller's own for a job of this shell. */
static pid_t wanted_sid(const struct tree *tree, const struct births_where *w, const struct task *t)
{
	return w->shell_job && t->sid == outer_sid(tree) ? w->sid : t->sid;
}

static pid_t wanted_pgid(const struct tree *tree, const struct births_where *w,
			 const struct task *t)
{
	const struct task *root = tree->task[0];

	if (w->shell_job && t->sid == outer_sid(tree) && t->pgid == root->pgid &&
	    !tree_find(tree, root->pgid))
		return w->pgid;
	return t->pgid;
}

/* A member of session @sid, or one that was born in it, whose child or sibling would be right. */
static bool find_cloner(const struct births *b, struct birth *mother, pid_t sid, struct birth **by,
			bool *early, bool *sibling)
{
	*sibling = false;
	if (mother && (mother->sid == sid || mother->born_sid == sid)) {
		*by = mother;
		*early = mother->sid != sid;
		return true;
	}
	for (size_t i = 0; i < b->n; i++) {
		struct birth *m = b->birth[i];

		if (m->mother != mother || (m->sid != sid && m->born_sid != sid))
			continue;
		*by = m;
		*early = m->sid != sid;
		*sibling = true;
		return true;
	}
	return false;
}

/* 1: placed; 0: not yet. */
static int place(struct births *b, struct task *t, const struct tree *tree,
		 const struct births_where *w)
{
	struct birth *mother = t->parent ? births_of(b, t->parent->pid) : NULL;
	struct birth *by = mother, *n;
	pid_t sid = wanted_sid(tree, w, t);
	bool early = false, sibling = false;

	if (t->parent && !mother)
		return 0;
	if (sid != t->pid && !(!mother && sid == w->sid) &&
	    !find_cloner(b, mother, sid, &by, &early, &sibling))
		return 0;
	n = add(b, t->pid, t);
	n->setsid = sid == t->pid;
	born_by(n, by, early, sibling, w->sid);
	n->pgid = wanted_pgid(tree, w, t);
	return 1;
}

/* The leader of @t's session is gone: somebody else has to begin it under that number. */
static int add_session_helper(struct births *b, struct task *t, const struct tree *tree,
			      const struct births_where *w, struct err *err)
{
	struct birth *mother = t->parent ? births_of(b, t->parent->pid) : NULL, *n;
	pid_t sid = wanted_sid(tree, w, t);

	if (tree_find(tree, sid) || births_of(b, sid))
		return err_set(err, ERR_REFUSED,
			       "task %d: its session %d is led from another branch of the tree, "
			       "which cannot be rebuilt",
			       t->pid, sid);
	n = add(b, sid, NULL);
	n->setsid = true;
	n->pgid = sid;
	born_by(n, mother, false, false, w->sid);
	return 0;
}

static int place_all(struct births *b, const struct tree *tree, const struct births_where *w,
		     struct err *err)
{
	struct task *t, *stuck;
	size_t placed;

	do {
		placed = 0;
		stuck = NULL;
		for_each_task (t, tree) {
			if (births_of(b, t->pid))
				continue;
			if (place(b, t, tree, w))
				placed++;
			else if (!stuck && (!t->parent || births_of(b, t->parent->pid)))
				stuck = t;
		}
		if (!placed && stuck) {
			int rc = add_session_helper(b, stuck, tree, w, err);

			if (rc < 0)
				return rc;
		}
	} while (placed || stuck);
	return 0;
}

static bool is_outer_group(const struct births_where *w, const struct birth *n)
{
	if (n->sid != w->sid)
		return false;
	return n->pgid == w->pgid || (w->has_group && w->has_group(n->pgid, n->sid));
}

static int add_group_helpers(struct births *b, const struct births_where *w, struct err *err)
{
	for (size_t i = 0; i < b->n; i++) {
		struct birth *n = b->birth[i], *leader = births_of(b, n->pgid), *h;

		if (n->pgid == n->pid || is_outer_group(w, n))
			continue;
		if (n->setsid)
			return err_set(err, ERR_REFUSED,
				       "task %d leads a session, so it cannot be in group %d",
				       n->pid, n->pgid);
		if (leader && leader->sid != n->sid)
			return err_set(
				err, ERR_REFUSED,
				"task %d (session %d) and the leader of its group %d (session "
				"%d) are in different sessions",
				n->pid, n->sid, n->pgid, leader->sid);
		if (leader)
			continue;
		h = add(b, n->pgid, NULL);
		h->pgid = h->pid;
		born_by(h, n, false, false, w->sid);
	}
	return 0;
}

/* A sibling tells their parent of its end as its maker does: CLONE_PARENT leaves no choice. */
static int check_exit_signals(const struct births *b, struct err *err)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct birth *n = b->birth[i];

		if (n->as_sibling && birth_exit_signal(n) != birth_exit_signal(n->by))
			return err_set(err, ERR_REFUSED,
				       "task %d: it ends with signal %d, which cannot be rebuilt"
				       " in a session that it shares with its sibling %d",
				       n->pid, birth_exit_signal(n), n->by->pid);
	}
	return 0;
}

int births_plan(struct births *out, const struct tree *tree, const struct births_where *where,
		struct err *err)
{
	int rc = place_all(out, tree, where, err);

	if (!rc)
		rc = add_group_helpers(out, where, err);
	return rc < 0 ? rc : check_exit_signals(out, err);
}
