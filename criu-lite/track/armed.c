/* armed.c - who armed the tracker, for which checkpoint, and whether nobody did since. */
#include "criu-lite/track/armed.h"
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/proc/values.h"
#include "criu-lite/remote/remote.h"
#include "criu-lite/track/keeper.h"
#include "images/chain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* What cannot be told is no other start's either. */
static char *boot_id(void)
{
	char *id;

	return proc_boot_id_read(&id, NULL) < 0 ? xstrdup("unknown") : id;
}

/* --- who armed last: a note of this boot, one a task -------------------------------- */

/* Its number; 0 when it cannot be told. It never changes. */
static unsigned long pid_namespace(void)
{
	static unsigned long number;
	struct stat ns;

	if (!number && stat("/proc/self/ns/pid", &ns) == 0)
		number = (unsigned long)ns.st_ino;
	return number;
}

static char *task_name(pid_t pid, uint64_t start_time)
{
	return xasprintf("%lu-%d-%" PRIu64, pid_namespace(), pid, start_time);
}

char *armed_tree_name(const struct task *root)
{
	return task_name(root->pid, root->start_time);
}

/*
 * Two chains of one task would each believe their own record, and the canary
 * cannot tell them apart: every dump of ours writes to the same pages. So the
 * last one to arm leaves its name with each task, because trees overlap. It is
 * the target of a symbolic link: what is done in the freeze for each of a
 * thousand tasks should be a call or two.
 */
static char *note_name(pid_t pid, uint64_t start_time)
{
	scoped char *task = task_name(pid, start_time);

	return xasprintf("%s.armed", task);
}

static int open_notes(struct track *t, struct err *err)
{
	/* A note under another name would be missed by the next chain that looks for it. */
	if (!pid_namespace())
		return err_set(err, -EIO, "/proc/self/ns/pid cannot be read");
	if (mkdir(KEEPER_DIR, 0700) < 0 && errno != EEXIST)
		return err_errno(err, "making " KEEPER_DIR);
	t->notes = open(KEEPER_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return t->notes < 0 ? err_errno(err, KEEPER_DIR) : 0;
}

static bool note_says(int notes, const char *name, const char *want)
{
	char text[128];
	ssize_t n = readlinkat(notes, name, text, sizeof(text));

	return want && n == (ssize_t)strlen(want) && !memcmp(text, want, n);
}

/* Before the first page is marked clean: from here no older record holds. */
static int leave_note(const struct track *t, const struct task *task, struct err *err)
{
	scoped char *name = note_name(task->pid, task->start_time);

	for (int tries = 0; symlinkat(t->next->note, t->notes, name) < 0; tries++) {
		if (errno != EEXIST || tries == 9)
			return err_errno(err, "writing " KEEPER_DIR "/%s", name);
		unlinkat(t->notes, name, 0);
		STEP();
	}
	return 0;
}

/*
 * Ours, where the one is that the record knows. That one is taken away before it is believed:
 * of two dumps that come at the same time, with a chain and its copy, only one gets it.
 */
static bool replace_note(const struct track *t, const SdArmedTask *r)
{
	scoped char *name = note_name((pid_t)r->pid, r->start_time);
	scoped char *taken = xasprintf("%s.taken", name);
	bool known = note_says(t->notes, name, t->armed->note) &&
		     renameat(t->notes, name, t->notes, taken) == 0;

	if (!known)
		return false;
	known = note_says(t->notes, taken, t->armed->note);
	unlinkat(t->notes, taken, 0);
	STEP();
	return known && symlinkat(t->next->note, t->notes, name) == 0;
}

static bool has_ended(const SdArmedTask *r)
{
	scoped_proc task = NULL;
	struct proc_stat st = {};
	int rc = proc_open(&task, NULL, (pid_t)r->pid, NULL);

	if (!rc)
		rc = proc_stat_read(task, &st, NULL);
	return rc < 0 ? proc_ended(rc) : st.starttime != r->start_time;
}

/*
 * Of all tasks that the record knows: nobody armed one since, and from here on whoever looks
 * finds that we do. Once that is so, ours must still be there when it is asked again: nobody
 * came between.
 */
static void claim_notes(struct track *t)
{
	for (size_t i = 0; i < t->armed->n_tasks; i++) {
		const SdArmedTask *r = t->armed->tasks[i];
		scoped char *name = note_name((pid_t)r->pid, r->start_time);
		bool ours =
			t->claimed ? note_says(t->notes, name, t->next->note) : replace_note(t, r);

		/* The note of one that has ended may be gone as well. */
		if (ours || has_ended(r))
			continue;
		track_set_full(t, "the tracker was armed for another chain since");
		return;
	}
	t->claimed = true;
}

/*
 * Notes of tasks that have ended, in this pid namespace, go. One whose number
 * somebody has again may stay as long as he does: that is asked by one call.
 */
static void sweep(int notes)
{
	scoped_fd fd = openat(notes, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_dir dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir)
		return;
	fd = -1;
	while ((e = readdir(dir))) {
		unsigned long in;
		uint64_t start;
		int pid, end = 0;

		if (sscanf(e->d_name, "%lu-%d-%" SCNu64 ".armed%n", &in, &pid, &start, &end) == 3 &&
		    end && in == pid_namespace() && pid > 0 && kill(pid, 0) < 0 && errno == ESRCH)
			unlinkat(notes, e->d_name, 0);
	}
}

/* --- the record of the chain ---------------------------------------------------------- */

/* Its note has a number of its own: a copy of the chain has the same id and goes on as this one. */
static int new_record(struct track *t, struct err *err)
{
	SdArmed *a = t->next = xmalloc(sizeof(*a));
	char nonce[33];
	int rc = chain_new_id(nonce, err);

	sd_armed__init(a);
	a->chain_id = xstrdup(t->rq.chain_id);
	a->seq = t->rq.seq;
	a->boot_id = boot_id();
	a->tracker = xstrdup(t->tracker->name);
	if (!rc)
		a->note = xasprintf("%s %u %s", a->chain_id, a->seq, nonce);
	return rc;
}

/* A plain directory is: it would have been no parent else, and its id says the rest. */
static bool is_published(const struct track *t, uint32_t seq)
{
	scoped_fd dir = -1;

	if (t->rq.plain)
		return true;
	dir = chain_checkpoint(t->rq.chain_dirfd, seq, NULL);

	return dir >= 0;
}

/* Why the record cannot vouch for this dump's parent; NULL when it can. */
static char *mistrust(const struct track *t, const SdArmed *a)
{
	if (strcmp(a->chain_id, t->rq.plain ? t->rq.parent_id : t->rq.chain_id))
		return xstrdup("the tracker was armed for another chain");
	if (strcmp(a->boot_id, t->next->boot_id))
		return xstrdup("the machine was restarted since the last checkpoint");
	if (strcmp(a->tracker, t->tracker->name))
		return xasprintf("the last checkpoint used the tracker %s", a->tracker);
	if (t->tracker->arms && !a->note)
		return xstrdup("an older version of this program armed the tracker");
	if (!is_published(t, a->seq) && t->rq.again)
		return xstrdup("mappings changed while they were saved, which was begun anew");
	if (!is_published(t, a->seq))
		return xasprintf("checkpoint %u was begun but never published", a->seq);
	return NULL;
}

static int read_record(const struct track *t, SdArmed **out, struct err *err)
{
	if (t->rq.plain && t->rq.parent_dirfd < 0)
		return -ENOENT;
	return chain_armed_read(out, t->rq.plain ? t->rq.parent_dirfd : t->rq.chain_dirfd, err);
}

static const char *none_armed(const struct track *t)
{
	if (!t->rq.plain)
		return "no tracker is armed for this chain";
	if (t->rq.parent_dirfd < 0)
		return "the parent is not there";
	return *t->rq.parent_id ? "no tracker is armed for the parent"
				: "another program wrote the parent";
}

/*
 * The tracker is about to be armed for the next one: durable, so that nobody
 * takes it for armed for the last one, whatever becomes of us.
 */
static int announce(const struct track *t, struct err *err)
{
	if (!t->rq.plain)
		return chain_armed_write(t->rq.chain_dirfd, t->next, err);
	return t->found ? chain_armed_clear(t->rq.parent_dirfd, err) : 0;
}

int armed_open(struct track *t, struct err *err)
{
	scoped char *why = NULL;
	SdArmed *a = NULL;
	int rc;

	t->notes = -1;
	rc = new_record(t, err);
	if (!rc && t->tracker->arms)
		rc = open_notes(t, err);
	if (rc < 0)
		return rc;
	rc = read_record(t, &a, err);
	if (rc < 0 && rc != -ENOENT && rc != -EBADMSG)
		return rc;
	t->found = a;
	if (rc < 0)
		why = xstrdup(rc == -ENOENT ? none_armed(t)
					    : "the record of the armed tracker is damaged");
	else
		why = mistrust(t, a);
	if (why && t->tracker->arms)
		track_set_full(t, "%s", why);
	else if (!why)
		t->armed = a;
	t->parent = t->armed ? t->armed->seq : t->rq.newest;
	/* A tracker that arms nothing leaves the record to grow old by itself. */
	rc = t->tracker->arms ? announce(t, err) : 0;
	STEP();
	/* Now, because it takes a few calls a task. */
	if (!rc && t->tracker->arms && !t->full_reason)
		claim_notes(t);
	return rc;
}

SdArmedTask *armed_task(const SdArmed *armed, pid_t pid)
{
	for (size_t i = 0; armed && i < armed->n_tasks; i++)
		if (armed->tasks[i]->pid == (uint32_t)pid)
			return armed->tasks[i];
	return NULL;
}

bool armed_knows(const SdArmed *armed, const struct task *task)
{
	const SdArmedTask *r = armed_task(armed, task->pid);

	return r && r->start_time == task->start_time;
}

static int check_canary(struct track *t, const struct task *task, struct err *err)
{
	const SdArmedTask *r = armed_task(t->armed, task->pid);
	int rc;

	if (!r || r->start_time != task->start_time || !r->has_canary)
		return 0;
	rc = t->tracker->canary(t, task, r->canary, err);
	if (rc == 0)
		track_set_full(t,
			       "task %d runs another program now, or somebody else has armed the "
			       "tracker",
			       task->pid);
	return rc < 0 ? rc : 0;
}

static void check_root(struct track *t, const struct task *root)
{
	if (armed_task(t->armed, root->pid) && !armed_knows(t->armed, root))
		track_set_full(t, "the pid %d has a new owner", root->pid);
	else if (!armed_knows(t->armed, root))
		track_set_full(t, "the last checkpoint was of another tree");
	else
		claim_notes(t);
}

/* The keeper has the name of the root, which is the first that was noted; it need not be armed early. */
static bool begin_early(struct track *t)
{
	const SdArmedTask *root = t->armed->n_tasks ? t->armed->tasks[0] : NULL;

	if (!root)
		return false;
	claim_notes(t);
	if (t->full_reason)
		return false;
	t->early_tree = task_name((pid_t)root->pid, root->start_time);
	return true;
}

bool armed_early(struct track *t, const struct task *task, uint64_t *canary)
{
	const SdArmedTask *r;

	if (!t->armed || t->full_reason || !t->tracker->arms)
		return false;
	if (!t->early_tree && !begin_early(t))
		return false;
	if (!armed_knows(t->armed, task) || check_canary(t, task, NULL) < 0)
		return false;
	r = armed_task(t->armed, task->pid);
	*canary = r->has_canary ? r->canary : 0;
	return !t->full_reason;
}

int armed_check(struct track *t, struct tree *tree, struct err *err)
{
	struct task *task;
	int rc = 0;

	if (!t->armed || t->full_reason || !t->tracker->arms)
		return 0;
	check_root(t, tree->task[0]);
	for_each_live_task (task, tree)
		if (!rc && !t->full_reason && t->tracker->canary)
			rc = check_canary(t, task, err);
	return rc;
}

int armed_note(struct track *t, const struct task *task, uint64_t canary, struct err *err)
{
	SdArmedTask *r = xmalloc(sizeof(*r));
	SdArmed *a = t->next;
	uint64_t end = 0;

	sd_armed_task__init(r);
	r->pid = task->pid;
	r->start_time = task->start_time;
	if (!canary && task->remote) {
		remote_frame_pages(task, &canary, &end);
		canary = end > canary ? canary : 0;
	}
	r->has_canary = canary != 0;
	r->canary = canary;
	a->tasks = xreallocarray(a->tasks, a->n_tasks + 1, sizeof(*a->tasks));
	a->tasks[a->n_tasks++] = r;
	if (!t->tracker->arms || (t->claimed && !t->full_reason && armed_knows(t->armed, task)))
		return 0;
	return leave_note(t, task, err);
}

/* What it says stays: writing is what counts. */
static int rewrite(const SdArmedTask *r, struct err *err)
{
	char byte;
	struct iovec here = { &byte, 1 };
	struct iovec there = { (void *)(uintptr_t)r->canary, 1 };

	if (process_vm_readv(r->pid, &here, 1, &there, 1, 0) != 1 ||
	    process_vm_writev(r->pid, &here, 1, &there, 1, 0) != 1)
		return err_errno(err, "task %u: rewriting the tracker's canary", r->pid);
	return 0;
}

int armed_set_canaries(struct track *t, struct tree *tree, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && t->tracker->canary && i < t->next->n_tasks; i++)
		if (t->next->tasks[i]->has_canary)
			rc = rewrite(t->next->tasks[i], err);
	return rc;
}

/*
 * Our notes stay. To put the old ones back might overwrite those of another chain, which
 * came meanwhile and armed: it may be why this dump was given up.
 */
static int put_back(struct track *t, struct err *err)
{
	if (t->claimed) {
		free(t->found->note);
		t->found->note = xstrdup(t->next->note);
	}
	return chain_armed_write(t->rq.plain ? t->rq.parent_dirfd : t->rq.chain_dirfd, t->found,
				 err);
}

int armed_close(struct track *t, bool published, struct err *err)
{
	if (t->tracker->arms)
		sweep(t->notes);
	/* A plain directory has no record where nothing is armed. */
	if (published && (t->tracker->arms || !t->rq.plain))
		return chain_armed_write(t->rq.chain_dirfd, t->next, err);
	if (!published && t->tracker->arms && !t->scanned && !t->early_tree && t->found)
		return put_back(t, err);
	return 0;
}

void armed_release(struct track *t)
{
	if (t->found)
		sd_armed__free_unpacked(t->found, NULL);
	if (t->next)
		sd_armed__free_unpacked(t->next, NULL);
	if (t->notes >= 0)
		close(t->notes);
}
