/* kinds.c - the table of what a task is made of, and empty messages to fill. */
#include "criu-lite/task/kinds.h"
#include "base/mem.h"
#include "criu-lite/proc/status.h"
#include "criu-lite/task/landlock.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/namespaces.h"
#include "criu-lite/task/seccomp.h"

#include <signal.h>
#include <string.h>

/*
 * The order is that of rebuilding within a stage. Saving does not depend on it,
 * but for the first row, which makes the messages.
 *
 * Limits come down only after descriptors, pending signals and filters took
 * what they need, and before the right to have had them is gone. Signals are
 * queued before their handlers are known: all are blocked.
 */
const struct task_kind *const task_kinds[] = {
	&kind_core,
	&kind_namespaces,
	&kind_clocks,
	&kind_unsupported,
	&kind_terminal,
	&kind_sem_undo,
	&kind_keyrings,
	&kind_rings,
	&kind_ldt,
	&kind_tracees,
	&kind_protection_keys,
	&kind_landlock,
	/* STAGE_EARLY */
	&kind_limits_room,
	&kind_loginuid,
	&kind_prctl_early,
	&kind_xcomp,
	/* STAGE_STATE */
	&kind_mm,
	&kind_regs,
	&kind_sigmask,
	&kind_sas,
	&kind_comm,
	&kind_robust,
	&kind_subreaper,
	&kind_membarrier,
	&kind_io_prio,
	&kind_io_flusher,
	&kind_mempolicy,
	&kind_autogroup,
	&kind_prctl_thread,
	&kind_coredump_filter,
	&kind_oom,
	&kind_sigaction,
	&kind_pending,
	/* STAGE_TIMERS */
	&kind_posix_timers,
	&kind_itimers,
	/* STAGE_SECCOMP */
	&kind_seccomp,
	/* STAGE_CREDS */
	&kind_rlimits,
	&kind_creds,
	/* STAGE_LAST */
	&kind_dumpable,
	&kind_pdeathsig,
	&kind_personality,
	&kind_prctl_late,
	&kind_sched,
	&kind_rseq,
	NULL,
};

int kinds_early(struct saver *s, pid_t root, struct err *err)
{
	const struct look_self *self;
	int rc = look_self(s, &self, err);

	return rc < 0 ? rc : landlock_early(s, root, err);
}

int kinds_read(struct thread *t, struct err *err)
{
	for (size_t i = 0; t == task_leader(t->task) && task_kinds[i]; i++)
		if (task_kinds[i]->file)
			proc_read_ahead(t->task->proc, task_kinds[i]->file);
	return namespaces_read(t, err);
}

void kinds_forget(struct task *task)
{
	proc_forget(task->proc);
}

void kinds_save_release(struct saver *s)
{
	look_release(s);
	landlock_save_release(s);
	seccomp_save_release(s);
}

void kinds_build_release(struct builder *b)
{
	if (b->self)
		proc_status_release(b->self);
	free(b->self);
	b->self = NULL;
}

/* --- empty messages ---------------------------------------------------------- */

#define NEW(type, init)                                                                            \
	({                                                                                         \
		type *new_ = xmalloc(sizeof(*new_));                                               \
		init(new_);                                                                        \
		new_;                                                                              \
	})

static ThreadInfoX86 *thread_info_new(void)
{
	ThreadInfoX86 *info = NEW(ThreadInfoX86, thread_info_x86__init);

	info->gpregs = NEW(UserX86RegsEntry, user_x86_regs_entry__init);
	info->fpregs = NEW(UserX86FpregsEntry, user_x86_fpregs_entry__init);
	return info;
}

static TaskCoreEntry *task_core_new(void)
{
	TaskCoreEntry *tc = NEW(TaskCoreEntry, task_core_entry__init);

	tc->comm = xstrdup("");
	return tc;
}

static void task_core_fill(TaskCoreEntry *tc)
{
	tc->timers = NEW(TaskTimersEntry, task_timers_entry__init);
	tc->timers->real = NEW(ItimerEntry, itimer_entry__init);
	tc->timers->virt = NEW(ItimerEntry, itimer_entry__init);
	tc->timers->prof = NEW(ItimerEntry, itimer_entry__init);
	tc->rlimits = NEW(TaskRlimitsEntry, task_rlimits_entry__init);
	tc->signals_s = NEW(SignalQueueEntry, signal_queue_entry__init);
}

static ThreadCoreEntry *thread_core_new(void)
{
	ThreadCoreEntry *th = NEW(ThreadCoreEntry, thread_core_entry__init);

	th->sas = NEW(ThreadSasEntry, thread_sas_entry__init);
	th->signals_p = NEW(SignalQueueEntry, signal_queue_entry__init);
	th->creds = NEW(CredsEntry, creds_entry__init);
	th->comm = xstrdup("");
	return th;
}

CoreEntry *core_new(bool leader)
{
	CoreEntry *core = NEW(CoreEntry, core_entry__init);

	core->mtype = CORE_ENTRY__MARCH__X86_64;
	core->thread_info = thread_info_new();
	core->thread_core = thread_core_new();
	if (leader) {
		core->tc = task_core_new();
		task_core_fill(core->tc);
	}
	return core;
}

/* The root's parent is no part of the tree: what it is told is for the new one to say. */
static void exit_signal_look(const struct saver *s, struct thread *t)
{
	const struct task *task = t->task;

	if (task == s->tree->task[0] || task->exit_signal == SIGCHLD)
		return;
	if (!t->extra)
		t->extra = extra_new(t);
	t->extra->has_exit_signal = true;
	t->extra->exit_signal = (uint32_t)task->exit_signal;
}

int dead_look(struct saver *s, struct task *task, struct err *err)
{
	struct proc_stat stat;
	CoreEntry *core;
	int rc = proc_stat_read(task->proc, &stat, err);

	if (rc < 0)
		return err_add(err, rc, "task %d", task->pid);
	core = NEW(CoreEntry, core_entry__init);
	core->mtype = CORE_ENTRY__MARCH__X86_64;
	core->tc = task_core_new();
	core->tc->task_state = TASK_DEAD;
	core->tc->exit_code = (uint32_t)task->exit_code;
	free(core->tc->comm);
	core->tc->comm = xstrdup(stat.comm);
	task_leader(task)->core = core;
	exit_signal_look(s, task_leader(task));
	return 0;
}

SdTaskExtra *extra_new(const struct thread *t)
{
	SdTaskExtra *extra = NEW(SdTaskExtra, sd_task_extra__init);

	extra->pid = (uint32_t)t->task->pid;
	extra->tid = (uint32_t)t->tid;
	if (t->task->start_time) {
		extra->has_start_time = true;
		extra->start_time = t->task->start_time;
	}
	return extra;
}

/* --- the kind "core": the messages themselves ---------------------------------- */

static int core_look(struct saver *s, struct thread *t, struct err *err)
{
	bool leader = t->tid == t->task->pid;
	const struct proc_stat *stat;
	int rc;

	if (!t->core)
		t->core = core_new(leader);
	if (!t->extra)
		t->extra = extra_new(t);
	if (!leader)
		return 0;
	exit_signal_look(s, t);
	rc = look_stat(s, t, &stat, err);
	if (rc < 0)
		return rc;
	t->core->tc->task_state = t->task->state;
	t->core->tc->exit_code = (uint32_t)t->task->exit_code;
	t->core->tc->flags = stat->flags;
	if (t->task->state == TASK_STOPPED) {
		t->core->tc->has_stop_signo = true;
		t->core->tc->stop_signo = (uint32_t)t->task->stop_signal;
	}
	return 0;
}

const struct task_kind kind_core = {
	.name = "core",
	.every_thread = true,
	.file = "stat",
	.look = core_look,
};
