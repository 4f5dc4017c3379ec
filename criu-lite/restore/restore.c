/* restore.c - the story of one restore. */
#include "criu-lite/restore/restore.h"
#include "base/fds.h"
#include "base/mem.h"
#include "criu-lite/dump/phases.h"
#include "criu-lite/remote/hold.h"
#include "criu-lite/restore/arm.h"
#include "criu-lite/restore/birth.h"
#include "criu-lite/restore/gate.h"
#include "criu-lite/restore/load.h"
#include "criu-lite/restore/pids.h"
#include "criu-lite/restore/vdso.h"
#include "criu-lite/task/clocks.h"
#include "criu-lite/task/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

struct story {
	const struct restore_options *opt;
	struct loaded loaded;
	struct file_build files;
	struct builder builder;
	struct nursery nursery;
	struct arming arming;
	struct phases phases;
	sigset_t mask; /* the tool's own, as it was */
	bool pidfile_made, terminal_given;
};

/* --- reading ---------------------------------------------------------------------- */

static void set_builder(struct story *s)
{
	s->files = (struct file_build) {
		.tree = &s->loaded.tree,
		.dirfd = s->loaded.dirfd,
		.shell_job = s->opt->shell_job,
		.any_mode = s->opt->any_mode,
		.given = s->opt->given,
		.n_given = s->opt->n_given,
		.outside = s->loaded.info ? (const char *const *)s->loaded.info->outside : NULL,
		.n_outside = s->loaded.info ? s->loaded.info->n_outside : 0,
		.awaited = s->loaded.info ? s->loaded.info->fifos_awaited : NULL,
		.n_awaited = s->loaded.info ? s->loaded.info->n_fifos_awaited : 0,
	};
	s->builder = (struct builder) {
		.tree = &s->loaded.tree,
		.files = &s->files,
		.dirfd = s->loaded.dirfd,
		.chain_dirfd = s->loaded.chain ? chain_dirfd(s->loaded.chain) : -1,
		.seq = s->loaded.seq,
		.seccomp = s->loaded.seccomp,
	};
}

/* Tasks that were stopped leave so; the others shall do as they. */
static void leave_all_stopped(struct tree *tree)
{
	struct task *task;

	for_each_live_task (task, tree)
		if (task->state == TASK_ALIVE) {
			task->state = TASK_STOPPED;
			task->stop_signal = SIGSTOP;
		}
}

static int read_all(struct story *s, struct err *err)
{
	int rc;

	phase(&s->phases, "read");
	rc = load(&s->loaded, s->opt->dir, s->opt->plain, s->opt->seq, err);
	if (rc < 0)
		return rc;
	if (s->opt->stop)
		leave_all_stopped(&s->loaded.tree);
	set_builder(s);
	rc = files_load(&s->files, err);
	if (!rc)
		rc = memory_load(&s->builder, err);
	return rc;
}

/* Detached, its parent would end at once: what it asked to be told then would be a lie. */
static int check_parent(struct story *s, struct err *err)
{
	const struct task *root = s->loaded.tree.task[0];
	struct thread *t;

	for_each_thread (t, root)
		if (s->opt->detach && !s->opt->sibling && t->core->thread_core->has_pdeath_sig &&
		    t->core->thread_core->pdeath_sig)
			return err_set(
				err, ERR_REFUSED,
				"task %d: gets signal %u when its parent ends, so it can only "
				"be restored without --detach",
				root->pid, t->core->thread_core->pdeath_sig);
	return 0;
}

/* --- births ------------------------------------------------------------------------ */

static bool group_lives(pid_t pgid, pid_t sid)
{
	return getpgid(pgid) == pgid && getsid(pgid) == sid;
}

static int plan_births(struct story *s, struct err *err)
{
	struct births_where here = {
		.sid = getsid(0),
		.pgid = getpgrp(),
		.shell_job = s->opt->shell_job,
		.has_group = group_lives,
	};
	int rc;

	s->nursery.tree = &s->loaded.tree;
	s->nursery.sibling = s->opt->sibling;
	rc = births_plan(&s->nursery.births, &s->loaded.tree, &here, err);
	return rc < 0 ? rc : pids_check(&s->nursery.births, &s->loaded.tree, err);
}

static int bear_with_clocks(struct story *s, struct err *err)
{
	int home, rc = clocks_enter(&home, s->loaded.dirfd, s->opt->say, err);

	if (!rc)
		rc = nursery_bear(&s->nursery, err);
	clocks_leave(&home);
	return rc;
}

static int bear(struct story *s, struct err *err)
{
	int rc;

	phase(&s->phases, "births");
	rc = plan_births(s, err);
	if (!rc)
		rc = nursery_open(&s->nursery, &s->builder, files_top(&s->files), err);
	if (!rc)
		rc = vdso_check(&s->nursery, &s->loaded, err);
	if (!rc)
		rc = bear_with_clocks(s, err);
	if (!rc)
		rc = nursery_settle(&s->nursery, s->opt->say, err);
	if (!rc)
		rc = vdso_place(&s->nursery, err);
	return rc;
}

/* --- step by step over the whole tree -------------------------------------------------- */

/* Rows of one kind for every live task, then all tasks at once. */
static int each_task(struct story *s,
		     int (*add)(struct story *s, struct batch *batch, struct err *err),
		     struct err *err)
{
	struct nursery *h = &s->nursery;

	for (size_t i = 0; i < h->births.n; i++) {
		int rc = 0;

		if (h->newborn[i].alive)
			rc = add(s, newborn_batch(&h->newborn[i]), err);
		if (rc < 0)
			return err_add(err, rc, "task %d", h->newborn[i].tid);
	}
	return nursery_flush(h, err);
}

static int add_maps(struct story *s, struct batch *batch, struct err *err)
{
	return memory_map(&s->builder, batch, s->nursery.busy_fd + 1, err);
}

static int add_settling(struct story *s, struct batch *batch, struct err *err)
{
	return memory_settle(&s->builder, batch, err);
}

static int add_files(struct story *s, struct batch *batch, struct err *err)
{
	return files_give(&s->files, batch, s->nursery.busy_fd, err);
}

static int add_attachments(struct story *s, struct batch *batch, struct err *err)
{
	return files_attach(&s->files, batch, err);
}

static int add_places(struct story *s, struct batch *batch, struct err *err)
{
	return files_fs_rebuild(&s->files, batch, s->nursery.busy_fd + 1, err);
}

static int build_memory(struct story *s, struct err *err)
{
	int rc;

	phase(&s->phases, "map");
	rc = each_task(s, add_maps, err);
	if (rc < 0)
		return rc;
	phase(&s->phases, "fill");
	s->builder.progress = s->opt->progress;
	progress_begin(s->opt->progress, "filling memory",
		       s->loaded.info ? s->loaded.info->pages_used : 0);
	rc = memory_fill(&s->builder, err);
	return rc < 0 ? rc : each_task(s, add_settling, err);
}

static int build_files(struct story *s, struct err *err)
{
	int rc;

	phase(&s->phases, "files");
	rc = each_task(s, add_files, err);
	if (!rc)
		rc = each_task(s, add_attachments, err);
	if (!rc)
		rc = each_task(s, add_places, err);
	return rc;
}

/* --- the kinds --------------------------------------------------------------------------- */

static bool concerns(const struct task_kind *k, const struct newborn *n)
{
	return n->alive && n->thread && (k->every_thread || n->birth);
}

static int kind_failed(const struct task_kind *k, const struct newborn *n, int rc, struct err *err)
{
	return err_add(err, rc, "task %d: %s", n->thread->task->pid, k->name);
}

static int stage_rows(struct story *s, const struct task_kind *k, struct err *err)
{
	for (size_t i = 0; k->rebuild && i < s->nursery.n; i++) {
		struct newborn *n = &s->nursery.newborn[i];
		int rc;

		if (!concerns(k, n))
			continue;
		rc = k->rebuild(&s->builder, n->thread, newborn_batch(n), err);
		if (rc < 0)
			return kind_failed(k, n, rc, err);
	}
	return 0;
}

static int stage_outside(struct story *s, const struct task_kind *k, struct err *err)
{
	for (size_t i = 0; k->outside && i < s->nursery.n; i++) {
		struct newborn *n = &s->nursery.newborn[i];
		int rc;

		if (!concerns(k, n))
			continue;
		rc = k->outside(&s->builder, n->thread, err);
		if (rc < 0)
			return kind_failed(k, n, rc, err);
	}
	return 0;
}

static int run_stage(struct story *s, enum rebuild_stage stage, struct err *err)
{
	int rc = 0;

	for (const struct task_kind *const *k = task_kinds; !rc && *k; k++)
		if ((*k)->stage == stage)
			rc = stage_rows(s, *k, err);
	if (!rc)
		rc = nursery_flush(&s->nursery, err);
	for (const struct task_kind *const *k = task_kinds; !rc && *k; k++)
		if ((*k)->stage == stage)
			rc = stage_outside(s, *k, err);
	nursery_forget_plans(&s->nursery);
	return rc;
}

static int make_room(struct story *s, struct err *err)
{
	return run_stage(s, STAGE_EARLY, err);
}

static int build_state(struct story *s, struct err *err)
{
	int rc = 0;

	phase(&s->phases, "state");
	for (int stage = STAGE_STATE; !rc && stage < STAGES; stage++) {
		if (stage == STAGE_SECCOMP)
			rc = gate_suspend_filters(&s->nursery, err);
		if (!rc)
			rc = run_stage(s, (enum rebuild_stage)stage, err);
	}
	return rc;
}

/* --- the commit ------------------------------------------------------------------------------ */

/* Who sees the file sees the number in it. */
static int write_pidfile(struct story *s, struct err *err)
{
	const char *path = s->opt->pidfile;
	scoped char *made = NULL;
	int fd, rc;

	if (!path)
		return 0;
	made = xasprintf("%s.%d", path, getpid());
	fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_errno(err, "%s", path);
	rc = dprintf(fd, "%d\n", s->loaded.tree.task[0]->pid) < 0 ? -1 : 0;
	if (close(fd) < 0 || rc < 0 || rename(made, path) < 0) {
		rc = err_errno(err, "writing %s", path);
		unlink(made);
		return rc;
	}
	s->pidfile_made = true;
	return 0;
}

static int commit(struct story *s, struct err *err)
{
	int rc;

	phase(&s->phases, "gate");
	rc = gate_frames(&s->nursery, &s->builder, err);
	if (rc < 0)
		return rc;
	phase(&s->phases, "arm");
	arm_tree(&s->arming, &s->loaded, &s->nursery);
	phase(&s->phases, "gate");
	rc = gate_gather(&s->nursery, err);
	if (!rc)
		rc = write_pidfile(s, err);
	if (!rc && s->opt->ready)
		rc = s->opt->ready(s->opt->arg, s->loaded.tree.task[0]->pid, err);
	/* Detached, the job is in the background as soon as we have ended. */
	if (!rc && !s->opt->detach)
		s->terminal_given = files_terminal_give(&s->files);
	if (!rc)
		rc = gate_open(&s->nursery, err);
	if (rc < 0)
		return rc;
	phase(&s->phases, "leave");
	gate_leave(&s->nursery, s->opt->say);
	files_terminal_tell(&s->files);
	arm_close(&s->arming, &s->loaded.tree, true);
	return 0;
}

/* --- the whole ---------------------------------------------------------------------------------- */

/* SIGCHLD is waited for (newborn.c), which takes that it is blocked. */
static void hold_signals(struct story *s)
{
	sigset_t child;

	hold_keystrokes(&s->mask);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
}

static bool is_ignored(int sig)
{
	struct sigaction now;

	return sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static int interrupted(struct err *err)
{
	static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t set;

	sigpending(&set);
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		if (sigismember(&set, ending[i]) == 1 && !is_ignored(ending[i]))
			return err_set(err, -EINTR, "interrupted by signal %d, no task is left",
				       ending[i]);
	return 0;
}

static void report(struct story *s, struct restored *out, uint64_t begun)
{
	struct task *t;

	*out = (struct restored) {
		.root = s->loaded.tree.task[0]->pid,
		.seq = s->loaded.seq,
		.tasks = s->loaded.tree.n_tasks,
		.terminal_given = s->terminal_given,
		.total_us = now_us() - begun,
	};
	for_each_task (t, &s->loaded.tree)
		out->threads += t->state == TASK_DEAD ? 0 : t->n_threads;
	out->pages = s->loaded.info ? s->loaded.info->pages_used : s->builder.pages;
	phases_move(&s->phases, &out->phases, &out->n_phases);
}

static void release(struct story *s, int rc)
{
	nursery_close(&s->nursery);
	arm_close(&s->arming, &s->loaded.tree, false);
	if (rc < 0 && s->pidfile_made)
		unlink(s->opt->pidfile);
	if (rc < 0 && s->terminal_given)
		files_terminal_take();
	if (s->builder.tree) {
		kinds_build_release(&s->builder);
		memory_build_release(&s->builder);
		files_build_release(&s->files);
	}
	loaded_release(&s->loaded);
	phases_release(&s->phases);
	sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

int restore(const struct restore_options *opt, struct restored *out, struct err *err)
{
	static int (*const steps[])(struct story * s, struct err * err) = {
		read_all,     check_parent, bear,	 make_room,
		build_memory, build_files,  build_state, commit,
	};
	struct story s = { .opt = opt, .arming = { .say = opt->say } };
	uint64_t begun = now_us();
	int rc = 0;

	fds_make_room();
	hold_signals(&s);
	for (size_t i = 0; !rc && i < ARRAY_SIZE(steps); i++)
		rc = interrupted(err) < 0 ? -EINTR : steps[i](&s, err);
	phases_end(&s.phases);
	if (!rc)
		report(&s, out, begun);
	release(&s, rc);
	return rc;
}

void restored_release(struct restored *r)
{
	for (size_t i = 0; i < r->n_phases; i++)
		sd_phase__free_unpacked(r->phases[i], NULL);
	free(r->phases);
	*r = (struct restored) {};
}
