/*
 * unsupported.c - what a thread can have that no kind can bring back, refused by
 * name: I/O ports, masked pointers, dispatched system calls, a terminal of its own,
 * semaphores to be undone.
 */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/kernel-abi.h" /* after sys/ptrace.h, which has these names as enumerators */

#define NT_386_IOPERM 0x201
enum { IO_BITMAP = 65536 / 8 };

static bool has_io_ports(pid_t tid)
{
	static char bitmap[IO_BITMAP];
	struct iovec v = { bitmap, sizeof(bitmap) };

	return ptrace(PTRACE_GETREGSET, tid, NT_386_IOPERM, &v) == 0 && v.iov_len;
}

static bool dispatches_calls(pid_t tid)
{
	struct {
		uint64_t mode, selector, offset, len;
	} conf = {};

	return ptrace(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, tid, sizeof(conf), &conf) == 0 &&
	       conf.mode;
}

static int unsupported_look(struct saver *s, struct thread *t, struct err *err)
{
	const struct proc_status *st;
	char name[LOOK_NAME];
	int rc = thread_status(t, &st, err);

	if (rc < 0)
		return rc;
	if (st->untag_mask != ~0ull)
		refuse(s->refusals, "%s: linear address masking is not supported",
		       look_name(t, name));
	if (has_io_ports(t->tid))
		refuse(s->refusals, "%s: access to I/O ports (ioperm) is not supported",
		       look_name(t, name));
	/* Without --unprotected it was refused before. */
	if (s->unprotected && dispatches_calls(t->tid))
		refuse(s->refusals, "%s: syscall user dispatch is not supported",
		       look_name(t, name));
	return 0;
}

const struct task_kind kind_unsupported = {
	.name = "unsupported",
	.every_thread = true,
	.look = unsupported_look,
};

/* --- a terminal without a descriptor -------------------------------------------------------- */

/*
 * A session that began outside of the tree has what terminal the one has that it comes
 * back into. One that is begun anew has none, and no descriptor may be there to say so.
 */
static int terminal_look(struct saver *s, struct thread *t, struct err *err)
{
	const struct task *task = t->task;

	if (task->has_terminal && task->sid == task->pid)
		refuse(s->refusals,
		       "task %d: the controlling terminal of the session that it leads is not "
		       "supported",
		       task->pid);
	return 0;
}

const struct task_kind kind_terminal = {
	.name = "terminal",
	.look = terminal_look,
};

/* --- SEM_UNDO ---------------------------------------------------------------------------- */

/*
 * We have no undo list, so whoever compares as different has one. But every
 * task that ever had two threads has an empty one; what is in it the kernel does
 * not tell. It tells, of each semaphore, who operated on it last, and of each set when
 * that was: one that nobody touched since the task began it has not touched either.
 */
static bool has_undo_list(pid_t pid)
{
	return syscall(SYS_kcmp, getpid(), pid, KCMP_SYSVSEM, 0, 0) > 0;
}

union semun {
	int val;
	struct semid_ds *buf;
	struct seminfo *info;
};

static bool last_was(int id, unsigned long n, pid_t pid)
{
	for (unsigned long i = 0; i < n; i++)
		if (semctl(id, (int)i, GETPID) == pid)
			return true;
	return false;
}

/* By the clock that sets have, in seconds: up to four too early, never too late. */
static time_t began(const struct task *task)
{
	struct timespec real, boot;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	return real.tv_sec - boot.tv_sec +
	       (time_t)(task->start_time / (uint64_t)sysconf(_SC_CLK_TCK)) - 2;
}

/* Clocks can be set: it may come last in a set that seems to be older. */
static bool refuse_set(struct saver *s, const struct task *task, int id, const struct semid_ds *ds)
{
	bool own = last_was(id, ds->sem_nsems, task->pid);

	if (!own && ds->sem_otime < began(task))
		return false;
	refuse(s->refusals,
	       "task %d: System V semaphores (set %d%s) that are undone when it ends are not"
	       " supported",
	       task->pid, id, own ? "" : ", perhaps: others operated on it last");
	return true;
}

static int undo_look(struct saver *s, struct thread *t, struct err *err)
{
	struct seminfo info;
	int last;

	if (!has_undo_list(t->task->pid))
		return 0;
	last = semctl(0, 0, SEM_INFO, (union semun) { .info = &info });
	for (int i = 0; i <= last; i++) {
		struct semid_ds ds = {};
		int id = semctl(i, 0, SEM_STAT_ANY, (union semun) { .buf = &ds });

		if (id >= 0 && refuse_set(s, t->task, id, &ds))
			return 0;
	}
	return 0;
}

const struct task_kind kind_sem_undo = {
	.name = "semaphores",
	.look = undo_look,
};
