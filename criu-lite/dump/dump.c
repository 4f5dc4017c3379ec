/* dump.c - the story of one checkpoint. */
#include "criu-lite/dump/dump.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/arch/x86-64/machine.h"
#include "criu-lite/arch/x86-64/xstate.h"
#include "criu-lite/dump/ask.h"
#include "criu-lite/dump/phases.h"
#include "criu-lite/dump/write.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/proc/status.h"
#include "criu-lite/remote/hold.h"
#include "criu-lite/remote/tracee.h"
#include "criu-lite/task/memory.h"
#include "criu-lite/track/track.h"
#include "images/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define MOST_TRIES 10 /* of a dump that is refused for what passes by itself */

struct story {
	const struct dump_options *opt;
	struct chain *chain;
	struct tree tree;
	struct refusals refusals;
	struct file_save files;
	struct saver saver;
	struct track *track;
	struct phases phases;
	uint64_t begun, froze, frozen_us;
	uint64_t asked_ns; /* when the first thread was asked */
	sigset_t mask;	   /* the tool's own, as it was */
	bool early;	   /* slow reads before the freeze */
	bool holding;
};

static void say(struct story *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct story *d, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (!d->opt->say)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	d->opt->say(line);
}

/* These signals wait until the tree goes on. */
static void hold_signals(struct story *d)
{
	hold_keystrokes(&d->mask);
	d->holding = true;
}

static void release_signals(struct story *d)
{
	if (d->holding)
		sigprocmask(SIG_SETMASK, &d->mask, NULL);
	d->holding = false;
}

/* When memory runs out, the kernel shall take us before it takes the task. */
static void prefer_us_to_the_task(void)
{
	scoped_fd fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "1000", 4);
}

/* --- before the freeze -------------------------------------------------------- */

static int open_chain(struct story *d, struct err *err)
{
	const struct dump_options *opt = d->opt;

	return opt->plain ? chain_open_plain(&d->chain, opt->dir, opt->prev, err)
			  : chain_open(&d->chain, opt->dir, CHAIN_WRITE, err);
}

/* Why an increment would be none, or is not wanted. */
static const char *needs_full(const struct story *d)
{
	if (d->opt->full)
		return "--full was given";
	return chain_prev_spent(d->chain) ? "the parent gave pages back to the disk (dedup)" : NULL;
}

/* In a plain directory the parent, if any, counts as the first and this one as the second. */
static int open_tracker(struct story *d, struct err *err)
{
	struct track_request rq = { .name = d->opt->tracker, .full = needs_full(d) };

	rq.again = !d->early && d->opt->after == THAW_RUN;
	rq.chain_id = chain_id(d->chain);
	rq.newest = d->opt->plain ? d->opt->prev != NULL : chain_newest(d->chain);
	rq.seq = rq.newest + 1;
	rq.chain_dirfd = chain_dirfd(d->chain);
	rq.plain = d->opt->plain;
	rq.parent_id = chain_prev_id(d->chain);
	rq.parent_dirfd = chain_prev_dirfd(d->chain);
	return track_open(&d->track, &rq, err);
}

static int prepare(struct story *d, struct err *err)
{
	int rc;

	phase(&d->phases, "prepare");
	if (d->opt->pid == getpid())
		return err_set(err, -EINVAL, "task %d is this program itself", d->opt->pid);
	if (kill(d->opt->pid, 0) < 0 && errno == ESRCH)
		return err_set(err, -ESRCH, "there is no task %d", d->opt->pid);
	rc = xstate_host_check(err);
	if (!rc)
		rc = open_chain(d, err);
	if (!rc)
		rc = open_tracker(d, err);
	if (rc < 0)
		return rc;
	say(d, "tracker: %s", track_name(d->track));
	prefer_us_to_the_task();
	d->saver.track = d->track;
	d->saver.parent = chain_parent_at(d->chain, track_parent(d->track));
	if (d->early)
		memory_early(&d->saver, d->opt->pid);
	files_early(&d->files, d->opt->pid);
	rc = kinds_early(&d->saver, d->opt->pid, err);
	if (!rc && d->early)
		memory_precopy(&d->saver);
	return rc;
}

/* --- frozen --------------------------------------------------------------------- */

static int freeze(struct story *d, struct err *err)
{
	struct freeze_options fo = { .timeout_ms = d->opt->timeout_ms,
				     .unprotected = d->opt->unprotected };
	int rc;

	hold_signals(d);
	/* What tree_freeze looks up before the first interrupt is no part of the window. */
	phase(&d->phases, "find");
	rc = tree_freeze(&d->tree, d->opt->pid, &fo, &d->refusals, err);
	d->froze = tree_frozen_since(&d->tree) / 1000;
	if (d->froze)
		phase_since(&d->phases, "freeze", d->froze);
	return rc;
}

/* What can be read of a thread, and with the leader of its task, without knowing the others. */
struct reading {
	struct story *story;
	struct thread **thread;
};

static int read_one(void *arg, size_t i, struct err *err)
{
	const struct reading *r = arg;
	struct thread *t = r->thread[i];
	int rc = kinds_read(t, err);

	if (rc < 0)
		return err_add(err, rc, "task %d: thread %d", t->task->pid, t->tid);
	if (t != task_leader(t->task))
		return 0;
	rc = memory_read(&r->story->saver, t->task, err);
	return rc < 0 ? rc : files_read(t->task, err);
}

static int read_tree(struct story *d, struct err *err)
{
	struct reading r = { .story = d };
	size_t n;
	int rc;

	tree_threads(&d->tree, &r.thread, &n);
	rc = parallel_some(n, read_one, &r, err);
	free(r.thread);
	return rc;
}

/* Everything that is refused is refused here, before anything is written. */
static int look(struct story *d, struct err *err)
{
	struct task *task;
	int rc;

	phase(&d->phases, "look");
	rc = read_tree(d, err);
	if (!rc)
		rc = kinds_look(&d->saver, err);
	for_each_live_task (task, &d->tree)
		if (!rc)
			rc = memory_look(&d->saver, task, err);
	if (!rc)
		rc = files_collect(&d->files, err);
	if (!rc)
		rc = refusals_result(&d->refusals, err);
	return rc;
}

static int enter(struct story *d, struct err *err)
{
	struct freeze_options fo = { .timeout_ms = d->opt->timeout_ms,
				     .unprotected = d->opt->unprotected };
	int rc;

	phase(&d->phases, "track");
	rc = track_begin(d->track, &d->tree, err);
	phase(&d->phases, "enter");
	if (!rc)
		rc = remote_enter_all(&d->tree, &fo, err);
	if (rc < 0)
		return rc;
	phase(&d->phases, "ask");
	d->asked_ns = now_ns();
	rc = d->opt->memory_only ? 0 : kinds_ask(&d->saver, err);
	/* What only the tasks themselves can tell; still nothing is written. */
	return rc < 0 ? rc : refusals_result(&d->refusals, err);
}

static int copy_pages(struct story *d, struct err *err)
{
	int rc;

	rc = chain_begin(d->chain, track_parent(d->track), err);
	if (rc < 0)
		return rc;
	d->saver.dirfd = chain_fd(d->chain);
	d->saver.parent = chain_parent_at(d->chain, track_parent(d->track));
	phase(&d->phases, "pages");
	d->saver.progress = d->opt->progress;
	progress_begin(d->opt->progress, "pages looked at", 0);
	return memory_save(&d->saver, err);
}

static int leave(struct story *d, struct err *err)
{
	int rc;

	phase(&d->phases, "leave");
	rc = remote_leave_all(&d->tree, err);
	if (!rc && !d->opt->memory_only)
		rc = kinds_recheck(&d->saver, d->asked_ns, err);
	if (!rc)
		rc = track_end(d->track, &d->tree, err);
	return rc;
}

/* @how is what was asked for after success; after a failure the tree always goes on. */
static int thaw(struct story *d, enum thaw how, struct err *err)
{
	int rc;

	phase(&d->phases, "thaw");
	rc = tree_thaw(&d->tree, how, err);
	if (d->froze)
		d->frozen_us = now_us() - d->froze;
	d->froze = 0;
	release_signals(d);
	return rc;
}

static int while_frozen(struct story *d, struct err *err)
{
	int rc = freeze(d, err);

	if (!rc)
		rc = look(d, err);
	if (!rc)
		rc = enter(d, err);
	if (!rc)
		rc = copy_pages(d, err);
	if (!rc)
		rc = leave(d, err);
	return rc;
}

/* --- after the thaw --------------------------------------------------------------- */

static void count_tree(const struct story *d, SdCheckpoint *c)
{
	struct task *task;

	c->tasks = d->tree.n_tasks;
	c->n_task_ids = 0;
	c->task_ids = xcalloc(d->tree.n_tasks, sizeof(*c->task_ids));
	for_each_task (task, &d->tree) {
		SdTaskId *id = xmalloc(sizeof(*id));

		sd_task_id__init(id);
		id->pid = task->pid;
		id->start_time = task->start_time;
		c->task_ids[c->n_task_ids++] = id;
		c->threads += task->state == TASK_DEAD ? 0 : task->n_threads;
	}
	c->has_root_pid = true;
	c->root_pid = d->opt->pid;
}

static int describe(struct story *d, SdCheckpoint *c, struct err *err)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	c->time_sec = now.tv_sec;
	c->time_nsec = now.tv_nsec;
	c->tracker = xstrdup(track_name(d->track));
	if (track_full_reason(d->track))
		c->full_reason = xstrdup(track_full_reason(d->track));
	c->n_untracked = track_take_untracked(d->track, &c->untracked);
	c->pages_used = d->saver.pages_used;
	c->pages_written = d->saver.pages_written;
	c->pages_parent = d->saver.pages_parent;
	c->pages_zero = d->saver.pages_zero;
	c->has_shared_used = c->has_shared_written = c->has_shared_parent = true;
	c->shared_used = d->saver.shared.used;
	c->shared_written = d->saver.shared.written;
	c->shared_parent = d->saver.shared.parent;
	c->outside = d->files.outside;
	c->n_outside = d->files.n_outside;
	c->fifos_awaited = d->files.awaited;
	c->n_fifos_awaited = d->files.n_awaited;
	d->files.awaited = NULL;
	d->files.n_awaited = d->files.cap_awaited = 0;
	d->files.outside = NULL;
	d->files.n_outside = d->files.cap_outside = 0;
	count_tree(d, c);
	return machine_describe(c, err);
}

static int publish(struct story *d, SdCheckpoint *c, struct err *err)
{
	int rc;

	phase(&d->phases, "write");
	rc = memory_write(&d->saver, d->chain, err);
	if (!rc)
		rc = d->opt->memory_only ? write_memory_only(&d->saver, err)
					 : write_images(&d->saver, err);
	if (!rc)
		rc = memory_late(&d->saver, err);
	if (!rc)
		rc = track_write(d->track, d->saver.dirfd, err);
	if (!rc && d->opt->more)
		rc = d->opt->more(d->opt->arg, d->saver.dirfd, err);
	if (!rc)
		rc = describe(d, c, err);
	if (rc < 0)
		return rc;
	phase(&d->phases, "sync");
	progress_begin(d->opt->progress, "checksums and syncing, pages written", 0);
	progress_add(d->opt->progress, c->pages_written);
	rc = chain_seal(d->chain, &c->bytes_written, err);
	if (rc < 0)
		return rc;
	phases_move(&d->phases, &c->phases, &c->n_phases);
	c->frozen_us = d->froze ? now_us() - d->froze : d->frozen_us;
	c->total_us = now_us() - d->begun;
	rc = chain_commit(d->chain, c, err);
	c->total_us = now_us() - d->begun;
	return rc;
}

static int tell_published(struct story *d, struct err *err)
{
	int rc = d->opt->published(d->opt->arg, err);

	if (rc < 0)
		chain_withdraw(d->chain);
	return rc;
}

static int tell_story(struct story *d, SdCheckpoint *c, struct err *err)
{
	/* A tree that is to be ended or stopped waits, still held, until its checkpoint is safe. */
	bool hold = d->opt->after != THAW_RUN || d->opt->published;
	int rc = prepare(d, err);

	if (rc < 0)
		return rc;
	rc = while_frozen(d, err);
	if (rc < 0) {
		thaw(d, THAW_RUN, NULL);
		return rc;
	}
	if (!hold)
		rc = thaw(d, d->opt->after, err);
	if (!rc)
		rc = publish(d, c, err);
	if (!rc && d->opt->published)
		rc = tell_published(d, err);
	if (hold) {
		int thawed = thaw(d, rc < 0 ? THAW_RUN : d->opt->after, rc < 0 ? NULL : err);

		rc = rc < 0 ? rc : thawed;
	}
	return rc;
}

/* @leader: also of its other threads, where they are not known one by one. */
static bool lives(pid_t pid, bool leader)
{
	scoped_proc dir = NULL;
	struct proc_stat stat = {};
	int rc = proc_open(&dir, NULL, pid, NULL);

	if (!rc)
		rc = proc_stat_read(dir, &stat, NULL);
	if (rc)
		return !proc_ended(rc);
	if (proc_was_killed(dir))
		return false;
	return !proc_stat_exiting(&stat) || (leader && stat.num_threads > 1);
}

/* It may have ended by itself meanwhile, or somebody has killed it. */
static const char *fate(const struct story *d)
{
	bool goes_on = false;
	struct thread *t;

	if (!d->tree.n_tasks)
		goes_on = lives(d->opt->pid, true);
	else
		for_each_thread (t, d->tree.task[0])
			goes_on = goes_on || lives(t->tid, false);
	return goes_on ? "the task goes on" : "the task has ended";
}

/* What has become of the tree, and what is there now. */
static int failed(const struct story *d, int rc, struct err *err)
{
	const char *task = fate(d);

	if (rc == ERR_REFUSED)
		return err_add(err, rc, "refused, nothing was written, %s", task);
	if (!d->chain || !chain_published(d->chain))
		return err_add(err, rc, "%s, the last checkpoint stands", task);
	if (d->opt->plain)
		return err_add(err, rc,
			       "%s, the checkpoint is there, but might not outlive a power cut",
			       task);
	return err_add(err, rc, "%s, checkpoint %u is there, but might not outlive a power cut",
		       task, chain_newest(d->chain));
}

static void clean_up(struct story *d)
{
	release_signals(d);
	files_save_release(&d->files);
	memory_save_release(&d->saver);
	kinds_save_release(&d->saver);
	refusals_release(&d->refusals);
	phases_release(&d->phases);
	tree_release(&d->tree);
	chain_release(&d->chain);
}

/* @passes: it is refused, but only for what is over in a moment. */
static int dump_once(const struct dump_options *opt, bool early, SdCheckpoint **made, bool *passes,
		     struct err *err)
{
	struct story d = { .opt = opt, .begun = now_us(), .early = early };
	SdCheckpoint *c = xmalloc(sizeof(*c));
	struct err closing = {};
	int rc;

	sd_checkpoint__init(c);
	d.files = (struct file_save) { .tree = &d.tree,
				       .refusals = &d.refusals,
				       .shell_job = opt->shell_job,
				       .external = opt->external,
				       .n_external = opt->n_external,
				       .pipes_outside = opt->pipes_outside };
	d.saver = (struct saver) { .tree = &d.tree,
				   .refusals = &d.refusals,
				   .files = &d.files,
				   .unprotected = opt->unprotected,
				   .dirfd = -1,
				   .parent = { .dirfd = -1 } };
	rc = tell_story(&d, c, err);
	/* What is published stays published; without a tracker the next dump is full, and says so. */
	if (d.track &&
	    track_close(d.track, &d.tree, d.chain && chain_published(d.chain), &closing) < 0)
		say(&d, "the tracker could not be kept: %s", closing.text);
	if (rc < 0)
		rc = failed(&d, rc, err);
	*passes = rc == ERR_REFUSED && refusals_pass(&d.refusals);
	clean_up(&d);
	if (rc < 0)
		sd_checkpoint__free_unpacked(c, NULL);
	else
		*made = c;
	return rc;
}

/*
 * What was read before the freeze is not always still true in it. Then all is read
 * in the freeze, which takes longer; where the tree does not go on anyway, that
 * costs nothing and is done at once.
 */
int dump(const struct dump_options *opt, SdCheckpoint **made, struct err *err)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	bool early = opt->after == THAW_RUN, passes;
	int rc;

	fds_make_room();
	rc = dump_once(opt, early, made, &passes, err);
	if (rc == -EAGAIN && early)
		rc = dump_once(opt, false, made, &passes, err);
	/* The tree goes on in between, and does what it was about to do. */
	for (int tries = 1; rc < 0 && passes && tries < MOST_TRIES; tries++) {
		nanosleep(&moment, NULL);
		rc = dump_once(opt, false, made, &passes, err);
	}
	return rc;
}
