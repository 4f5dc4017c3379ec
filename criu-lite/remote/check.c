/* check.c - what in a frozen tree cannot be held safely, or not be saved at all, by name. */
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/proc/status.h"
#include "criu-lite/remote/inside.h"
#include "criu-lite/remote/seccomp.h"

#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/kernel-abi.h" /* after sys/ptrace.h, which has these names as enumerators */

#define O_SUSPEND_SECCOMP (1 << 21) /* PTRACE_O_SUSPEND_SECCOMP */
#ifndef NT_X86_SHSTK
#define NT_X86_SHSTK 0x204 /* linux/elf.h, since 6.6 */
#endif

struct check {
	bool unprotected;
	struct refusals *refusals;
};

static int compare(pid_t a, pid_t b, int what)
{
	return (int)syscall(SYS_kcmp, a, b, what, 0, 0);
}

/* --- what is shared must be shared in the usual way -------------------------------------- */

static void check_own_tables(const struct thread *t, struct refusals *refusals)
{
	pid_t pid = t->task->pid;

	if (compare(pid, t->tid, KCMP_FILES) > 0)
		refuse(refusals, "task %d: thread %d has a descriptor table of its own", pid,
		       t->tid);
	if (compare(pid, t->tid, KCMP_FS) > 0)
		refuse(refusals, "task %d: thread %d has a working directory of its own", pid,
		       t->tid);
}

static const struct shared_kind {
	int kcmp;
	const char *name;
} shared_kinds[] = {
	{ KCMP_VM, "memory" },
	{ KCMP_FILES, "their descriptor table" },
	{ KCMP_FS, "their working directory" },
	{ KCMP_SIGHAND, "signal handlers" },
};

/* Where @pid belongs among the @n sorted ones, in kcmp's order; *twin: one that shares with it. */
static size_t place_for(const pid_t *sorted, size_t n, pid_t pid, int kind, pid_t *twin)
{
	size_t lo = 0, hi = n;

	*twin = 0;
	while (lo < hi && !*twin) {
		size_t mid = (lo + hi) / 2;
		int order = compare(pid, sorted[mid], kind);

		if (order == 0)
			*twin = sorted[mid];
		else if (order == 1)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static void check_sharing(const struct tree *tree, const struct shared_kind *kind,
			  struct refusals *refusals)
{
	scoped pid_t *sorted = xcalloc(tree->n_tasks, sizeof(*sorted));
	struct task *task;
	size_t n = 0;

	for_each_live_task (task, tree) {
		pid_t twin;
		size_t at = place_for(sorted, n, task->pid, kind->kcmp, &twin);

		if (twin)
			refuse(refusals, "tasks %d and %d share %s", twin, task->pid, kind->name);
		memmove(&sorted[at + 1], &sorted[at], (n - at) * sizeof(*sorted));
		sorted[at] = task->pid;
		n++;
	}
}

/* --- could it let itself go? --------------------------------------------------------------- */

/* What a rescue calls; undo rows close descriptors. */
static const int rescue_calls[] = {
	SYS_rt_sigtimedwait, SYS_munmap, SYS_rt_sigreturn, SYS_futex, SYS_close,
};

static bool rescue_allowed(const struct seccomp_filters *filters)
{
	for (size_t i = 0; i < ARRAY_SIZE(rescue_calls); i++) {
		struct seccomp_data data = {
			.nr = rescue_calls[i],
			.arch = AUDIT_ARCH_X86_64,
		};

		if (!seccomp_allows(filters, &data))
			return false;
	}
	return true;
}

static int suspend_seccomp(struct tracee *t, struct err *err)
{
	if (ptrace(PTRACE_SETOPTIONS, t->tid, NULL, PTRACE_O_TRACESYSGOOD | O_SUSPEND_SECCOMP) < 0)
		return err_errno(err, "thread %d: suspending its seccomp filters", t->tid);
	t->suspends_seccomp = true;
	return 0;
}

static int check_seccomp(const struct thread *t, const struct check *c, struct err *err)
{
	struct seccomp_filters filters = {};
	int rc = seccomp_read(t->tid, &filters, err);

	/* Strict mode ptrace(2) does not show, and filters only to the privileged. */
	if (rc == -EACCES && t->status->seccomp != SECCOMP_MODE_FILTER)
		rc = 0;
	else if (rc == -EACCES)
		err_set(err, rc, "no permission to read the seccomp filters of %d", t->tid);
	if (t->status->seccomp == SECCOMP_MODE_STRICT)
		filters.mode = SECCOMP_MODE_STRICT;
	if (rc == 0 && filters.mode)
		rc = suspend_seccomp(t->tracee, err);
	if (rc == 0 && !c->unprotected && !rescue_allowed(&filters))
		refuse(c->refusals,
		       "task %d: the seccomp filters of thread %d would not let it go on by itself "
		       "if this program died (--unprotected takes that risk)",
		       t->task->pid, t->tid);
	seccomp_release(&filters);
	return rc;
}

/* The regset is there as long as the feature is on. */
static void check_shadow_stack(const struct thread *t, const struct check *c)
{
	uint64_t ssp;
	struct iovec v = { &ssp, sizeof(ssp) };

	if (ptrace(PTRACE_GETREGSET, t->tid, NT_X86_SHSTK, &v) == 0)
		refuse(c->refusals, "task %d: thread %d uses a shadow stack", t->task->pid, t->tid);
}

static void check_dispatch(const struct thread *t, const struct check *c)
{
	struct {
		uint64_t mode, selector, offset, len;
	} conf = {};

	if (ptrace(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, t->tid, sizeof(conf), &conf) < 0)
		return;
	if (conf.mode && !c->unprotected)
		refuse(c->refusals,
		       "task %d: thread %d uses syscall user dispatch and could not go on by "
		       "itself if this program died (--unprotected takes that risk)",
		       t->task->pid, t->tid);
}

static int check_thread(const struct thread *t, const struct check *c, struct err *err)
{
	int rc = check_seccomp(t, c, err);

	check_shadow_stack(t, c);
	check_dispatch(t, c);
	if (t->tid != t->task->pid)
		check_own_tables(t, c->refusals);
	return rc < 0 ? err_add(err, rc, "task %d", t->task->pid) : 0;
}

/* --- all of it ----------------------------------------------------------------------------- */

static int read_status(void *arg, size_t i, struct err *err)
{
	struct thread **all = arg, *t = all[i];
	const struct proc_status *status;
	int rc = thread_status(t, &status, err);

	return rc < 0 ? err_add(err, rc, "task %d: thread %d", t->task->pid, t->tid) : 0;
}

static int read_all_status(const struct tree *tree, struct err *err)
{
	scoped struct thread **all = NULL;
	size_t n;

	tree_threads(tree, &all, &n);
	return parallel(n, read_status, all, err);
}

int check_tree(struct tree *tree, bool unprotected, struct refusals *refusals, struct err *err)
{
	const struct check c = { .unprotected = unprotected, .refusals = refusals };
	struct task *task;
	struct thread *t;
	int rc = read_all_status(tree, err);

	if (rc < 0)
		return rc;
	for_each_live_task (task, tree) {
		for_each_thread (t, task) {
			rc = check_thread(t, &c, err);
			if (rc < 0)
				return rc;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(shared_kinds); i++)
		check_sharing(tree, &shared_kinds[i], refusals);
	return 0;
}
