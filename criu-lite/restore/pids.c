/* pids.c - who has a pid: as a process, a thread, a group or a session. */
#include "criu-lite/restore/pids.h"
#include "base/mem.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/proc/status.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DYING_MS 2000

static bool stat_of(pid_t pid, struct proc_stat *st)
{
	scoped_proc dir = NULL;

	return !proc_open(&dir, NULL, pid, NULL) && !proc_stat_read(dir, st, NULL);
}

/* Nobody runs under @pid, but a group or session of that number may outlive its leader. */
static int kept_by_members(pid_t pid, struct err *err)
{
	scoped_dir proc = opendir("/proc");
	struct dirent *e;
	struct proc_stat st;

	while (proc && (e = readdir(proc))) {
		pid_t other = atoi(e->d_name);

		if (other <= 0 || !stat_of(other, &st) || (st.pgrp != pid && st.session != pid))
			continue;
		return err_set(err, -EEXIST, "pid %d is in use as the %s of task %d (%s)", pid,
			       st.session == pid ? "session" : "group", other, st.comm);
	}
	return err_set(err, -EEXIST, "pid %d is in use", pid);
}

int pid_taken(pid_t pid, struct err *err)
{
	struct proc_stat st;

	if (!stat_of(pid, &st))
		return kept_by_members(pid, err);
	if (st.state == 'Z')
		return err_set(
			err, -EEXIST,
			"pid %d is taken by %s, a zombie that its parent %d has not waited for",
			pid, st.comm, st.ppid);
	return err_set(err, -EEXIST, "pid %d is taken by %s", pid, st.comm);
}

static bool is_dying(const struct proc_stat *st)
{
	scoped_proc dir = NULL;

	return proc_stat_exiting(st) || proc_open(&dir, NULL, st->pid, NULL) < 0 ||
	       proc_was_killed(dir);
}

/* Much sooner known than whose it is. */
static bool is_there(pid_t pid)
{
	return kill(pid, 0) == 0 || errno != ESRCH;
}

/* One that has just ended is on its way out: its parent gets a moment to wait for it. */
static int check(pid_t pid, struct err *err)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	struct proc_stat st;

	for (int i = 0; is_there(pid) && stat_of(pid, &st); i++) {
		if (i == DYING_MS || !is_dying(&st))
			return pid_taken(pid, err);
		nanosleep(&ms, NULL);
	}
	return 0;
}

static int check_helper(const struct birth *b, struct err *err)
{
	int rc = check(b->pid, err);

	if (rc < 0 && b->setsid)
		return err_add(err, rc,
			       "the tree lived in session %d, which has to be begun again "
			       "(--shell-job puts it into this one instead)",
			       b->pid);
	if (rc < 0)
		return err_add(err, rc, "process group %d has to be begun again", b->pid);
	return 0;
}

int pids_check(const struct births *births, const struct tree *tree, struct err *err)
{
	struct task *t;
	struct thread *th;
	int rc;

	for_each_task (t, tree)
		for_each_thread (th, t) {
			rc = check(th->tid, err);
			if (rc < 0)
				return rc;
		}
	for (size_t i = 0; i < births->n; i++) {
		rc = births->birth[i]->task ? 0 : check_helper(births->birth[i], err);
		if (rc < 0)
			return rc;
	}
	return 0;
}
