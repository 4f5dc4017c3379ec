/* sharing.c - who shares memory, descriptors, directories or handlers with whom. */
#include "criu-lite/remote/sharing.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/proc/stat.h"

#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct shared_kind {
	int kcmp;
	const char *name;
} kinds[SHARED_KINDS] = {
	{ KCMP_VM, "memory" },
	{ KCMP_FILES, "their descriptor table" },
	{ KCMP_FS, "their working directory" },
	{ KCMP_SIGHAND, "signal handlers" },
};

/* Of two programs: who has the other's handlers has its memory as well. */
enum { OUTSIDE_KINDS = 3 };

int sharing_compare(pid_t a, pid_t b, int what)
{
	return (int)syscall(SYS_kcmp, a, b, what, 0, 0);
}

/* --- the kernel's order ------------------------------------------------------------------ */

/* Where @pid belongs; *twin: one that shares with it. */
static size_t place_for(const struct sharing_order *o, pid_t pid, int kind, pid_t *twin)
{
	size_t lo = 0, hi = o->n;

	*twin = 0;
	while (lo < hi && !*twin) {
		size_t mid = (lo + hi) / 2;
		int order = sharing_compare(pid, o->v[mid], kind);

		if (order == 0)
			*twin = o->v[mid];
		else if (order == 1)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* Returns one that shares with it, or 0. There must be room for it. */
static pid_t put(struct sharing_order *o, pid_t pid, int kind)
{
	pid_t twin = 0;
	size_t at = o->n;

	/* Most come in order. */
	if (o->n && sharing_compare(pid, o->v[o->n - 1], kind) != 2)
		at = place_for(o, pid, kind, &twin);
	memmove(&o->v[at + 1], &o->v[at], (o->n - at) * sizeof(*o->v));
	o->v[at] = pid;
	o->n++;
	return twin;
}

/* --- a set of tasks, by pid -------------------------------------------------------------- */

struct pids {
	pid_t *v;
	size_t n;
};

static int by_pid(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

/* Its number, or .n where there is none. */
static size_t number_of(const struct pids *p, pid_t pid)
{
	const pid_t *at = p->n ? bsearch(&pid, p->v, p->n, sizeof(pid), by_pid) : NULL;

	return at ? (size_t)(at - p->v) : p->n;
}

/* --- before the freeze ------------------------------------------------------------------- */

struct outsiders {
	const struct sharing *sharing;
	int *pid;
	bool *shares;
};

static bool is_kernel_thread(pid_t pid)
{
	scoped_proc dir = NULL;
	struct proc_stat stat;

	return proc_open(&dir, NULL, pid, NULL) == 0 && proc_stat_read(dir, &stat, NULL) == 0 &&
	       proc_stat_kernel_thread(&stat);
}

static int look_at_outsider(void *arg, size_t i, struct err *err)
{
	struct outsiders *o = arg;
	pid_t twin = 0;

	for (size_t k = 0; k < OUTSIDE_KINDS && !twin; k++)
		place_for(&o->sharing->order[k], o->pid[i], kinds[k].kcmp, &twin);
	/* They have the first task's directories, and memory of others for a while. */
	o->shares[i] = twin && !is_kernel_thread(o->pid[i]);
	return 0;
}

static void find_outsiders(struct sharing *s, const struct pids *tree)
{
	struct outsiders o = { .sharing = s };
	size_t n = 0, others = 0;

	if (proc_tasks(&o.pid, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (number_of(tree, o.pid[i]) == tree->n)
			o.pid[others++] = o.pid[i];
	o.shares = xcalloc(others, sizeof(*o.shares));
	parallel(others, look_at_outsider, &o, NULL);
	for (size_t i = 0; i < others; i++)
		if (o.shares[i])
			ARRAY_PUSH(s->outside, s->n_outside, s->cap_outside, o.pid[i]);
	free(o.shares);
	free(o.pid);
}

void sharing_early(struct sharing *s, const struct early *early)
{
	struct pids tree = { .v = xcalloc(early->n_tasks, sizeof(*tree.v)) };

	for (size_t k = 0; k < SHARED_KINDS; k++)
		s->order[k].v = xcalloc(early->n_tasks, sizeof(*s->order[k].v));
	for (size_t i = 0; i < early->n_tasks; i++) {
		pid_t pid = early->task[i].pid;

		tree.v[tree.n++] = pid;
		for (size_t k = 0; k < SHARED_KINDS && !early->task[i].ended; k++)
			put(&s->order[k], pid, kinds[k].kcmp);
	}
	qsort(tree.v, tree.n, sizeof(*tree.v), by_pid);
	find_outsiders(s, &tree);
	free(tree.v);
}

/* --- in the freeze ------------------------------------------------------------------------- */

static void check_insiders(const struct sharing_order *hint, const struct pids *tree,
			   const struct shared_kind *kind, struct sharing_order *o,
			   struct refusals *refusals)
{
	scoped pid_t *in_order = xcalloc(tree->n, sizeof(*in_order));
	scoped bool *placed = xcalloc(tree->n, sizeof(*placed));
	size_t n = 0;

	for (size_t i = 0; i < hint->n; i++) {
		size_t number = number_of(tree, hint->v[i]);

		if (number < tree->n && !placed[number])
			in_order[n++] = hint->v[i];
		if (number < tree->n)
			placed[number] = true;
	}
	for (size_t i = 0; i < tree->n; i++)
		if (!placed[i])
			in_order[n++] = tree->v[i];
	for (size_t i = 0; i < n; i++) {
		pid_t twin = put(o, in_order[i], kind->kcmp);

		if (twin)
			refuse(refusals, "tasks %d and %d share %s", twin, in_order[i], kind->name);
	}
}

static void check_outsiders(const struct sharing *s, const struct pids *tree,
			    const struct shared_kind *kind, const struct sharing_order *o,
			    struct refusals *refusals)
{
	for (size_t i = 0; i < s->n_outside; i++) {
		pid_t pid = s->outside[i], twin;

		if (number_of(tree, pid) < tree->n)
			continue;
		place_for(o, pid, kind->kcmp, &twin);
		if (twin)
			refuse(refusals, "task %d and task %d outside of the tree share %s", twin,
			       pid, kind->name);
	}
}

void sharing_check(const struct sharing *s, const struct tree *tree, struct refusals *refusals)
{
	struct sharing_order o = { .v = xcalloc(tree->n_tasks, sizeof(*o.v)) };
	struct pids live = { .v = xcalloc(tree->n_tasks, sizeof(*live.v)) };
	struct task *task;

	for_each_live_task (task, tree)
		live.v[live.n++] = task->pid;
	qsort(live.v, live.n, sizeof(*live.v), by_pid);
	for (size_t k = 0; k < SHARED_KINDS; k++) {
		o.n = 0;
		check_insiders(&s->order[k], &live, &kinds[k], &o, refusals);
		check_outsiders(s, &live, &kinds[k], &o, refusals);
	}
	free(live.v);
	free(o.v);
}

void sharing_release(struct sharing *s)
{
	for (size_t k = 0; k < SHARED_KINDS; k++)
		free(s->order[k].v);
	free(s->outside);
	*s = (struct sharing) {};
}
