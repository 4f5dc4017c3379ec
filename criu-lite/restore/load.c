/* load.c - from image files to a tree that has been checked. */
#include "criu-lite/restore/load.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/arch/x86-64/machine.h"
#include "criu-lite/arch/x86-64/xstate.h"
#include "proto/pstree.pb-c.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define MAX_THREADS 1000000 /* in all: more than any pid_max that is met */
#define MAX_SIGNAL  64

void loaded_release(struct loaded *l)
{
	tree_release(&l->tree);
	if (l->seccomp)
		seccomp_entry__free_unpacked(l->seccomp, NULL);
	if (l->inventory)
		inventory_entry__free_unpacked(l->inventory, NULL);
	if (l->info)
		sd_checkpoint__free_unpacked(l->info, NULL);
	if (l->dirfd > 0)
		close(l->dirfd);
	chain_release(&l->chain);
	*l = (struct loaded) {};
}

/* --- the checkpoint as a whole -------------------------------------------------- */

/* Everything but pages, which are checked as they are read. */
static int check_sums(const struct loaded *l, struct err *err)
{
	struct chain_links links = {};
	int rc = chain_follow(&links, chain_dirfd(l->chain), l->seq, err);

	if (!rc)
		rc = chain_check(&links, err);
	chain_links_release(&links);
	return rc;
}

static int open_checkpoint(struct loaded *l, const char *dir, bool plain, uint32_t seq,
			   struct err *err)
{
	int rc = chain_open(&l->chain, dir, plain ? CHAIN_PLAIN : CHAIN_READ, err);

	if (rc < 0)
		return rc;
	if (seq && !chain_has(l->chain, seq))
		return err_set(err, -ENOENT, "%s: there is no checkpoint %u", dir, seq);
	l->seq = seq ? seq : chain_newest(l->chain);
	if (!l->seq && faccessat(chain_dirfd(l->chain), "inventory.img", F_OK, 0) < 0)
		return err_set(err, -ENOENT, "%s: there is no checkpoint", dir);
	rc = chain_checkpoint(chain_dirfd(l->chain), l->seq, err);
	if (rc < 0)
		return rc;
	l->dirfd = rc;
	rc = chain_info(&l->info, l->dirfd, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	rc = l->info ? machine_check(l->info, err) : xstate_host_check(err);
	return rc < 0 ? rc : check_sums(l, err);
}

static int read_inventory(struct loaded *l, struct err *err)
{
	int rc = img_read_one(&l->inventory, err, l->dirfd, "inventory.img");
	const InventoryEntry *e = l->inventory;

	if (rc < 0)
		return rc;
	if (e->img_version == 0)
		return err_set(
			err, ERR_REFUSED,
			"inventory.img: a pre-dump holds memory only and cannot be restored");
	if (e->img_version > 2)
		return err_set(err, ERR_REFUSED, "inventory.img: images of version %u are unknown",
			       e->img_version);
	if (e->has_fdinfo_per_id && e->fdinfo_per_id && e->root_ids)
		return 0;
	return err_set(err, ERR_REFUSED, "inventory.img: images this old are not read");
}

/* --- the tree --------------------------------------------------------------------- */

static int add_task(struct tree *tree, const PstreeEntry *e, size_t *threads, struct err *err)
{
	struct task *t;

	*threads += e->n_threads;
	if (*threads > MAX_THREADS)
		return err_set(err, -EBADMSG, "pstree.img: more than %d threads", MAX_THREADS);
	t = tree_add_task(tree, (pid_t)e->pid);
	t->ppid = (pid_t)e->ppid;
	t->pgid = (pid_t)e->pgid;
	t->sid = (pid_t)e->sid;
	t->exit_signal = SIGCHLD;
	task_add_thread(t, t->pid);
	for (size_t i = 0; i < e->n_threads; i++)
		if (e->threads[i] != e->pid)
			task_add_thread(t, (pid_t)e->threads[i]);
	return 0;
}

static int read_pstree(struct loaded *l, struct err *err)
{
	scoped_reader r = NULL;
	PstreeEntry *e;
	size_t threads = 0;
	int rc = img_open(&r, err, l->dirfd, "pstree.img");

	if (rc < 0)
		return rc;
	while ((rc = img_next(r, &e, err)) > 0) {
		rc = add_task(&l->tree, e, &threads, err);
		pstree_entry__free_unpacked(e, NULL);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* Parents come first in the file, so every parent is known when its child is met. */
static int link_parents(struct tree *tree, struct err *err)
{
	struct task *t;

	for_each_task (t, tree) {
		if (t == tree->task[0])
			continue;
		for (size_t i = 0; i < t_i && !t->parent; i++)
			if (tree->task[i]->pid == t->ppid)
				t->parent = tree->task[i];
		if (!t->parent)
			return err_set(err, -EBADMSG, "pstree.img: no parent %d before task %d",
				       t->ppid, t->pid);
	}
	return 0;
}

static int read_core(struct loaded *l, struct thread *t, struct err *err)
{
	int rc = img_read_one(&t->core, err, l->dirfd, "core-%u.img", (unsigned int)t->tid);

	if (rc < 0)
		return rc;
	if (t->core->mtype != CORE_ENTRY__MARCH__X86_64)
		return err_set(err, ERR_REFUSED, "core-%d.img: not of an x86-64 program", t->tid);
	return 0;
}

static int read_state(struct task *t, struct err *err)
{
	const TaskCoreEntry *tc = task_leader(t)->core->tc;

	if (!tc)
		return err_set(err, -EBADMSG, "core-%d.img: nothing about the task", t->pid);
	t->state = (enum task_state)tc->task_state;
	t->exit_code = (int)tc->exit_code;
	t->stop_signal = tc->has_stop_signo ? (int)tc->stop_signo : SIGSTOP;
	/* What is listed as the threads of a zombie is not to be relied on. */
	while (t->state == TASK_DEAD && t->n_threads > 1)
		free(t->thread[--t->n_threads]);
	return 0;
}

struct cores {
	struct loaded *l;
	struct thread **thread;
};

static int read_one_core(void *arg, size_t i, struct err *err)
{
	struct cores *c = arg;

	return read_core(c->l, c->thread[i], err);
}

/* Of the leaders, or of all others. */
static int read_cores_of(struct loaded *l, bool leaders, struct err *err)
{
	scoped struct thread **all = NULL;
	struct cores c = { .l = l };
	size_t n = 0, cap = 0;
	struct task *t;
	struct thread *th;

	for_each_task (t, &l->tree)
		for_each_thread (th, t)
			if ((th == task_leader(t)) == leaders)
				ARRAY_PUSH(all, n, cap, th);
	c.thread = all;
	return parallel(n, read_one_core, &c, err);
}

/* The leaders' first: they say whether there are others to speak of. */
static int read_cores(struct loaded *l, struct err *err)
{
	struct task *t;
	int rc = read_cores_of(l, true, err);

	for_each_task (t, &l->tree)
		if (!rc)
			rc = read_state(t, err);
	return rc < 0 ? rc : read_cores_of(l, false, err);
}

static struct thread *thread_of(const struct tree *tree, const SdTaskExtra *e)
{
	struct task *t = tree_find(tree, (pid_t)e->pid);
	struct thread *th;

	if (t)
		for_each_thread (th, t)
			if (th->tid == (pid_t)e->tid)
				return th;
	return NULL;
}

static int read_extras(struct loaded *l, struct err *err)
{
	scoped_reader r = NULL;
	SdTaskExtra *e;
	struct thread *th;
	int rc = img_open(&r, err, l->dirfd, "criu-lite-tasks.img");

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	while ((rc = img_next(r, &e, err)) > 0) {
		th = thread_of(&l->tree, e);
		if (!th || th->extra) {
			rc = img_error(r, err, "no thread %u of task %u, or a second one", e->tid,
				       e->pid);
			sd_task_extra__free_unpacked(e, NULL);
			return rc;
		}
		th->extra = e;
		if (e->has_exit_signal && e->exit_signal > MAX_SIGNAL)
			return img_error(r, err, "task %u ends with signal %u", e->pid,
					 e->exit_signal);
		if (e->has_exit_signal && e->tid == e->pid)
			th->task->exit_signal = (int)e->exit_signal;
	}
	return rc;
}

static int read_filters(struct loaded *l, struct err *err)
{
	int rc = img_read_one(&l->seccomp, err, l->dirfd, "seccomp.img");

	return rc == -ENOENT ? 0 : rc;
}

/* --- namespaces --------------------------------------------------------------------- */

static const struct {
	const char *name;
	size_t has, id;
} namespaces[] = {
#define NS(ns)                                                                                     \
	{                                                                                          \
#ns, offsetof(TaskKobjIdsEntry, has_##ns##_ns_id),                                 \
			offsetof(TaskKobjIdsEntry, ns##_ns_id)                                     \
	}
	NS(pid), NS(net), NS(ipc), NS(uts), NS(mnt), NS(user), NS(cgroup), NS(time),
};

static uint32_t ns_id(const TaskKobjIdsEntry *e, size_t i)
{
	const char *at = (const char *)e;

	if (!*(const protobuf_c_boolean *)(at + namespaces[i].has))
		return 0;
	return *(const uint32_t *)(at + namespaces[i].id);
}

static int check_namespaces(const TaskKobjIdsEntry *outer, const struct task *t, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		if (ns_id(t->ids, i) && ns_id(t->ids, i) != ns_id(outer, i))
			return err_set(err, ERR_REFUSED,
				       "task %d lived in a %s namespace of its own, which is not "
				       "supported",
				       t->pid, namespaces[i].name);
	return 0;
}

static int read_ids(struct loaded *l, struct err *err)
{
	struct task *t;

	for_each_live_task (t, &l->tree) {
		int rc = img_read_one(&t->ids, err, l->dirfd, "ids-%u.img", (unsigned int)t->pid);

		if (!rc)
			rc = check_namespaces(l->inventory->root_ids, t, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- descriptors -------------------------------------------------------------------- */

static int read_fdinfo(struct loaded *l, struct task *t, struct err *err)
{
	scoped_reader r = NULL;
	size_t cap = 0;
	FdinfoEntry *e;
	int rc = img_open(&r, err, l->dirfd, "fdinfo-%u.img", t->ids->files_id);

	if (rc < 0)
		return rc;
	while ((rc = img_next(r, &e, err)) > 0)
		ARRAY_PUSH(t->fdinfo, t->n_fdinfo, cap, e);
	return rc;
}

static int read_tables(struct loaded *l, struct err *err)
{
	struct task *t;

	for_each_live_task (t, &l->tree) {
		int rc = read_fdinfo(l, t, err);

		if (!rc)
			rc = img_read_one(&t->fs, err, l->dirfd, "fs-%u.img", (unsigned int)t->pid);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- is it a tree? -------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int check_unique(const struct tree *tree, struct err *err)
{
	scoped pid_t *all = NULL;
	size_t n = 0, cap = 0;
	struct task *t;
	struct thread *th;

	for_each_task (t, tree)
		for_each_thread (th, t)
			ARRAY_PUSH(all, n, cap, th->tid);
	if (n)
		qsort(all, n, sizeof(*all), by_number);
	for (size_t i = 0; i < n; i++) {
		if (all[i] <= 0)
			return err_set(err, -EBADMSG, "pstree.img: %d is no number of a task",
				       all[i]);
		if (i && all[i] == all[i - 1])
			return err_set(err, -EBADMSG, "pstree.img: two threads have the number %d",
				       all[i]);
	}
	return 0;
}

static int check_dead(const struct task *t, struct err *err)
{
	int sig = WTERMSIG(t->exit_code);

	if (!t->parent)
		return err_set(err, ERR_REFUSED, "task %d, the root, is dead", t->pid);
	if (!WIFEXITED(t->exit_code) && (sig < 1 || sig > MAX_SIGNAL))
		return err_set(err, -EBADMSG, "task %d: %#x is no exit status", t->pid,
			       t->exit_code);
	return 0;
}

static int check_thread(const struct thread *th, struct err *err)
{
	const CoreEntry *c = th->core;

	if (!c->thread_info || !c->thread_info->gpregs || !c->thread_info->fpregs ||
	    !c->thread_core)
		return err_set(err, -EBADMSG, "thread %d: its registers are missing", th->tid);
	if (c->thread_info->gpregs->has_mode &&
	    c->thread_info->gpregs->mode != USER_X86_REGS_MODE__NATIVE)
		return err_set(err, ERR_REFUSED, "thread %d runs 32-bit code", th->tid);
	if (c->thread_info->fpregs->xsave && c->thread_info->fpregs->xsave->cet)
		return err_set(err, ERR_REFUSED, "thread %d has a shadow stack in use", th->tid);
	for (size_t i = 0; i < c->thread_info->n_tls; i++)
		if (!c->thread_info->tls[i]->seg_not_present)
			return err_set(err, ERR_REFUSED, "thread %d uses a GDT slot", th->tid);
	if (th != task_leader(th->task) && (c->tc || c->ids))
		return err_set(err, -EBADMSG, "thread %d is no leader, but says so", th->tid);
	return 0;
}

static int check_task(const struct task *t, struct err *err)
{
	struct thread *th;

	if (t->pgid <= 0 || t->sid <= 0)
		return err_set(err, ERR_REFUSED,
			       "task %d: its session or group belongs to another pid namespace",
			       t->pid);
	if (t->pid == 1)
		return err_set(err, ERR_REFUSED, "task 1 needs a pid namespace of its own");
	if (t->state == TASK_DEAD)
		return check_dead(t, err);
	if (t->state != TASK_ALIVE && t->state != TASK_STOPPED)
		return err_set(err, -EBADMSG, "core-%d.img: task state %d is unknown", t->pid,
			       t->state);
	for_each_thread (th, t) {
		int rc = check_thread(th, err);

		if (rc < 0)
			return err_add(err, rc, "core-%d.img", th->tid);
	}
	return 0;
}

int tree_check(const struct tree *tree, struct err *err)
{
	struct task *t;
	int rc;

	if (!tree->n_tasks)
		return err_set(err, -EBADMSG, "pstree.img: there is no task");
	if (tree->task[0]->ppid)
		return err_set(err, -EBADMSG, "pstree.img: the first task, %d, is not the root",
			       tree->task[0]->pid);
	rc = check_unique(tree, err);
	if (rc < 0)
		return rc;
	for_each_task (t, tree) {
		if (t->parent && t->parent->state == TASK_DEAD)
			return err_set(err, -EBADMSG, "task %d is the child of a dead one", t->pid);
		rc = check_task(t, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int load(struct loaded *out, const char *dir, bool plain, uint32_t seq, struct err *err)
{
	static int (*const steps[])(struct loaded * l, struct err * err) = {
		read_inventory, read_pstree, read_cores, read_extras, read_filters,
	};
	int rc = open_checkpoint(out, dir, plain, seq, err);

	for (size_t i = 0; !rc && i < ARRAY_SIZE(steps); i++)
		rc = steps[i](out, err);
	if (!rc)
		rc = link_parents(&out->tree, err);
	if (!rc)
		rc = tree_check(&out->tree, err);
	if (!rc)
		rc = read_ids(out, err);
	return rc < 0 ? rc : read_tables(out, err);
}
