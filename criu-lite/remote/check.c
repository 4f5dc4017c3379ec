/* check.c - what in a frozen tree cannot be held safely, or not be saved at all, by name. */
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/proc/status.h"
#include "criu-lite/remote/inside.h"
#include "criu-lite/remote/seccomp.h"
#include "criu-lite/remote/sharing.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/kcmp.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/kernel-abi.h" /* after sys/ptrace.h, which has these names as enumerators */

#define O_SUSPEND_SECCOMP (1 << 21) /* PTRACE_O_SUSPEND_SECCOMP */

struct check {
	bool unprotected;
	struct refusals *refusals;
};

/* What any thread of ours can see of a thread, besides its status. */
struct seen {
	struct thread *thread;
	bool own_files, own_fs; /* not its leader's */
};

/* --- what threads share -------------------------------------------------------------------- */

static void check_own_tables(const struct seen *s, struct refusals *refusals)
{
	pid_t pid = s->thread->task->pid, tid = s->thread->tid;

	if (s->own_files)
		refuse(refusals, "task %d: thread %d has a descriptor table of its own", pid, tid);
	if (s->own_fs)
		refuse(refusals, "task %d: thread %d has a working directory of its own", pid, tid);
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
	int rc;

	if (t->status->seccomp == SECCOMP_MODE_DISABLED)
		return 0;
	rc = seccomp_read(t->tid, &filters, err);
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

static void check_shadow_stack(const struct thread *t, const struct check *c)
{
	if (t->status->x86_features & PROC_X86_SHSTK)
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

static int check_thread(const struct seen *s, const struct check *c, struct err *err)
{
	const struct thread *t = s->thread;
	int rc = check_seccomp(t, c, err);

	check_shadow_stack(t, c);
	check_dispatch(t, c);
	check_own_tables(s, c->refusals);
	return rc < 0 ? err_add(err, rc, "task %d", t->task->pid) : 0;
}

/* --- all of it ----------------------------------------------------------------------------- */

static int see_thread(void *arg, size_t i, struct err *err)
{
	struct seen *all = arg, *s = &all[i];
	struct thread *t = s->thread;
	const struct proc_status *status;
	pid_t pid = t->task->pid;
	int rc = thread_status(t, &status, err);

	if (rc < 0)
		return err_add(err, rc, "task %d: thread %d", pid, t->tid);
	s->own_files = t->tid != pid && sharing_compare(pid, t->tid, KCMP_FILES) > 0;
	s->own_fs = t->tid != pid && sharing_compare(pid, t->tid, KCMP_FS) > 0;
	return 0;
}

/* free(*all) */
static int see_threads(const struct tree *tree, struct seen **all, size_t *n, struct err *err)
{
	scoped struct thread **thread = NULL;

	tree_threads(tree, &thread, n);
	*all = xcalloc(*n, sizeof(**all));
	for (size_t i = 0; i < *n; i++)
		(*all)[i].thread = thread[i];
	return parallel(*n, see_thread, *all, err);
}

int check_tree(struct tree *tree, const struct sharing *sharing, bool unprotected,
	       struct refusals *refusals, struct err *err)
{
	const struct check c = { .unprotected = unprotected, .refusals = refusals };
	scoped struct seen *all = NULL;
	size_t n;
	int rc = see_threads(tree, &all, &n, err);

	for (size_t i = 0; !rc && i < n; i++)
		rc = check_thread(&all[i], &c, err);
	if (rc < 0)
		return rc;
	sharing_check(sharing, tree, refusals);
	return 0;
}
