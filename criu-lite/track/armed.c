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
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* What cannot be told is no other start's either. */
static char *boot_id(void)
{
	char *id;

	return proc_boot_id_read(&id, NULL) < 0 ? xstrdup("unknown") : id;
}

/* --- who armed last: a note of this boot, one a tree -------------------------------- */

/* Its number; 0 when it cannot be told. It never changes. */
static unsigned long pid_namespace(void)
{
	static unsigned long number;
	struct stat ns;

	if (!number && stat("/proc/self/ns/pid", &ns) == 0)
		number = (unsigned long)ns.st_ino;
	return number;
}

/*
 * Two chains of one tree would each believe their own record, and the canary
 * cannot tell them apart: every dump of ours writes to the same pages. So the
 * last one to arm leaves its name.
 */
char *armed_tree_name(const struct task *root)
{
	return xasprintf("%lu-%d-%" PRIu64, pid_namespace(), root->pid, root->start_time);
}

static char *note_path(const struct task *root)
{
	scoped char *name = armed_tree_name(root);

	return xasprintf(KEEPER_DIR "/%s.armed", name);
}

static char *note_text(const SdArmed *a)
{
	return xasprintf("%s %u\n", a->chain_id, a->seq);
}

static bool armed_by(const SdArmed *a, const struct task *root)
{
	scoped char *path = note_path(root), *want = a->note ? xstrdup(a->note) : note_text(a);
	scoped_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[80];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	return n == (ssize_t)strlen(want) && !memcmp(text, want, n);
}

/* Notes of trees that have ended, in this pid namespace, go. */
static void sweep(DIR *dir)
{
	struct dirent *e;

	while ((e = readdir(dir))) {
		scoped_proc task = NULL;
		struct proc_stat st;
		unsigned long in;
		uint64_t start;
		int pid, end = 0;

		if (sscanf(e->d_name, "%lu-%d-%" SCNu64 ".armed%n", &in, &pid, &start, &end) != 3 ||
		    !end || e->d_name[end] || in != pid_namespace())
			continue;
		if (proc_open(&task, NULL, pid, NULL) < 0 || proc_stat_read(task, &st, NULL) < 0 ||
		    st.starttime != start)
			unlinkat(dirfd(dir), e->d_name, 0);
	}
}

/* Before the first page is marked clean: from here no older record holds. */
static int leave_note(const SdArmed *a, const struct task *root, struct err *err)
{
	bool known = pid_namespace();
	scoped char *path = note_path(root), *text = note_text(a);
	scoped_dir dir = NULL;
	scoped_fd fd = -1;

	/* A note under another name would be missed by the next chain that looks for it. */
	if (!known)
		return err_set(err, -EIO, "/proc/self/ns/pid cannot be read");
	if (mkdir(KEEPER_DIR, 0700) < 0 && errno != EEXIST)
		return err_errno(err, "making " KEEPER_DIR);
	dir = opendir(KEEPER_DIR);
	if (dir)
		sweep(dir);
	unlink(path);
	STEP();
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return err_errno(err, "writing %s", path);
	return 0;
}

/* --- the record of the chain ---------------------------------------------------------- */

static SdArmed *new_record(const struct track *t)
{
	SdArmed *a = xmalloc(sizeof(*a));

	sd_armed__init(a);
	a->chain_id = xstrdup(t->rq.chain_id);
	a->seq = t->rq.seq;
	a->boot_id = boot_id();
	a->tracker = xstrdup(t->tracker->name);
	return a;
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

	t->next = new_record(t);
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

/* A note that we have left before the freeze must still be there: nobody came between. */
static void check_root(struct track *t, const struct task *root)
{
	if (armed_task(t->armed, root->pid) && !armed_knows(t->armed, root))
		track_set_full(t, "the pid %d has a new owner", root->pid);
	else if (!armed_knows(t->armed, root))
		track_set_full(t, "the last checkpoint was of another tree");
	else if (!armed_by(t->early_tree ? t->next : t->armed, root))
		track_set_full(t, "the tracker was armed for another chain since");
}

/* The note comes first, as always: no older record holds once something was armed. */
static bool begin_early(struct track *t, const struct task *root)
{
	check_root(t, root);
	if (!t->full_reason && leave_note(t->next, root, NULL) < 0)
		track_set_full(t, "no note can be left in " KEEPER_DIR);
	if (t->full_reason)
		return false;
	t->early_tree = armed_tree_name(root);
	return true;
}

/*
 * The note stays. To put the old one back might overwrite that of another chain, which
 * came meanwhile and armed: it may be why this dump was given up.
 */
void armed_undo_early(struct track *t)
{
	free(t->found->note);
	t->found->note = note_text(t->next);
}

bool armed_early(struct track *t, const struct task *task, uint64_t *canary)
{
	const SdArmedTask *r;

	if (!t->armed || t->full_reason || !t->tracker->arms)
		return false;
	if (!t->early_tree && !begin_early(t, task))
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
	return t->tracker->arms && !task->parent ? leave_note(a, task, err) : 0;
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

int armed_close(struct track *t, bool published, struct err *err)
{
	int before = t->rq.plain ? t->rq.parent_dirfd : t->rq.chain_dirfd;

	/* A plain directory has no record where nothing is armed. */
	if (published && (t->tracker->arms || !t->rq.plain))
		return chain_armed_write(t->rq.chain_dirfd, t->next, err);
	if (!published && t->tracker->arms && !t->scanned && !t->early_tree && t->found)
		return chain_armed_write(before, t->found, err);
	return 0;
}

void armed_release(struct track *t)
{
	if (t->found)
		sd_armed__free_unpacked(t->found, NULL);
	if (t->next)
		sd_armed__free_unpacked(t->next, NULL);
}
