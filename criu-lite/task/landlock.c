/*
 * landlock.c - whether a thread has confined itself by Landlock. The kernel tells
 * nobody; but what is confined may not look at processes outside of its confines,
 * not even at those of its own user.
 *
 * So it is made to look at one: at us, if it has the capabilities for that, else at a
 * decoy, a process of its user and group that has no capabilities and nothing of ours,
 * neither memory nor descriptors, so that nobody can make anything of it.
 */
#include "criu-lite/task/landlock.h"
#include "base/kernel-abi.h"
#include "base/mem.h"
#include "criu-lite/arch/x86-64/decoy.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/kcmp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct decoy {
	uint32_t uid, gid;
	pid_t pid;
};

struct decoys {
	bool needed;	  /* this kernel has Landlock, and it is on */
	uint64_t own_cap; /* our permitted capabilities */
	struct decoy *v;
	size_t n, cap;
};

static int decoys_of(struct saver *s, struct decoys **out, struct err *err)
{
	struct proc_status st;
	scoped_proc me = NULL;
	int rc = 0;

	if (!s->decoys) {
		s->decoys = xcalloc(1, sizeof(*s->decoys));
		s->decoys->needed = syscall(SYS_landlock_create_ruleset, NULL, 0,
					    LANDLOCK_CREATE_RULESET_VERSION) > 0;
		rc = proc_open(&me, NULL, getpid(), err);
		if (!rc)
			rc = proc_status_read(me, &st, err);
		if (rc < 0)
			return rc;
		s->decoys->own_cap = st.cap_prm;
		proc_status_release(&st);
	}
	*out = s->decoys;
	return 0;
}

/* --- decoys ---------------------------------------------------------------------------- */

/*
 * System calls only, as in any child of a program with threads. From the change of the user
 * on nobody else may trace it, until there is nothing left in it that was ours.
 */
static void __attribute__((noreturn)) become(const struct decoy *d, int program, pid_t parent)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {};
	char *const argv[] = { "sd-dump: looked at", NULL };

	syscall(SYS_close_range, 0, ~0U, CLOSE_RANGE_CLOEXEC);
	syscall(SYS_setgroups, 0, NULL); /* who may not has none of root's */
	if (!syscall(SYS_setresgid, d->gid, d->gid, d->gid) &&
	    !syscall(SYS_setresuid, d->uid, d->uid, d->uid) && !syscall(SYS_capset, &head, none) &&
	    !syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	    !syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL) && syscall(SYS_getppid) == parent)
		syscall(SYS_execveat, program, "", argv, argv + 1, AT_EMPTY_PATH);
	for (;;)
		syscall(SYS_exit_group, 1);
}

static int decoy_file(struct err *err)
{
	int fd = memfd_create("decoy", MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0 && errno == EINVAL) /* before 6.3 all can be executed */
		fd = memfd_create("decoy", MFD_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "memfd for a process to be looked at");
	if (write(fd, decoy_program, decoy_size) == (ssize_t)decoy_size)
		return fd;
	close(fd);
	return err_set(err, -EIO, "a program of %zu bytes cannot be written", (size_t)decoy_size);
}

/*
 * CLONE_VFORK: when we go on it has become what it is to be, or has ended. Where no
 * program can be executed that way there is nobody to look at, pid 0.
 */
static int make_decoy(struct decoy *d, struct err *err)
{
	scoped_fd program = decoy_file(err);
	pid_t parent = getpid();

	if (program == -EACCES)
		return 0;
	if (program < 0)
		return program;
	d->pid = (pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (d->pid == 0)
		become(d, program, parent);
	if (d->pid < 0)
		return err_errno(err, "clone of a process to be looked at");
	if (waitpid(d->pid, NULL, WNOHANG) != 0)
		d->pid = 0;
	return 0;
}

static int decoy_for(struct decoys *d, uint32_t uid, uint32_t gid, pid_t *pid, struct err *err)
{
	struct decoy new = { .uid = uid, .gid = gid };
	int rc;

	for (size_t i = 0; i < d->n; i++)
		if (d->v[i].uid == uid && d->v[i].gid == gid) {
			*pid = d->v[i].pid;
			return 0;
		}
	rc = make_decoy(&new, err);
	if (rc < 0)
		return rc;
	ARRAY_PUSH(d->v, d->n, d->cap, new);
	*pid = new.pid;
	return 0;
}

void landlock_save_release(struct saver *s)
{
	if (!s->decoys)
		return;
	for (size_t i = 0; i < s->decoys->n; i++) {
		pid_t pid = s->decoys->v[i].pid;

		/* One that cannot be killed ends with us. */
		if (pid && kill(pid, SIGKILL) == 0)
			waitpid(pid, NULL, 0);
	}
	free(s->decoys->v);
	free(s->decoys);
	s->decoys = NULL;
}

/* --- the kind ---------------------------------------------------------------------------- */

/* Real ids and permitted capabilities are what kcmp(2) goes by; that to trace, by the effective. */
static int whom_to_look_at(struct decoys *d, const struct proc_status *st, pid_t *pid,
			   struct err *err)
{
	*pid = 0;
	if (!d->needed)
		return 0;
	if (!(d->own_cap & ~st->cap_prm) && st->cap_eff >> CAP_SYS_PTRACE & 1) {
		*pid = getpid();
		return 0;
	}
	return decoy_for(d, st->uid[0], st->gid[0], pid, err);
}

int landlock_early(struct saver *s, pid_t root, struct err *err)
{
	struct proc_status st;
	scoped_proc dir = NULL;
	struct decoys *d;
	pid_t unused;
	int rc = decoys_of(s, &d, err);

	/* Whatever is wrong with the task will be found out when it is frozen. */
	if (rc < 0 || proc_open(&dir, NULL, root, NULL) < 0 || proc_status_read(dir, &st, NULL) < 0)
		return rc;
	rc = whom_to_look_at(d, &st, &unused, err);
	proc_status_release(&st);
	return rc;
}

static int landlock_look(struct saver *s, struct thread *t, struct err *err)
{
	const struct proc_status *st;
	struct decoys *d = NULL;
	int rc = thread_status(t, &st, err);

	if (!rc)
		rc = decoys_of(s, &d, err);
	return rc < 0 ? rc : whom_to_look_at(d, st, &t->decoy, err);
}

static uint64_t landlock_ask(struct thread *t, struct plan *p)
{
	if (!t->decoy)
		return UINT64_MAX;
	return plan_add(p, PLAN_MAY, "look at another process", SYS_kcmp, (uint64_t)t->decoy,
			(uint64_t)t->decoy, KCMP_VM, 0, 0);
}

static int landlock_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			 struct err *err)
{
	char name[LOOK_NAME];

	if (asked != UINT64_MAX && plan_ret(p, asked) == -EPERM)
		refuse(s->refusals, "%s: confinement by Landlock is not supported",
		       look_name(t, name));
	return 0;
}

const struct task_kind kind_landlock = {
	.name = "landlock",
	.every_thread = true,
	.look = landlock_look,
	.ask = landlock_ask,
	.save = landlock_save,
};
