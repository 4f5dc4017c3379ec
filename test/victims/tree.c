/* tree.c - victims: how tasks hang together. */
#include "victim.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

extern char **environ;

struct ids {
	pid_t pid, ppid, pgid, sid;
};

static struct ids own_ids(void)
{
	return (struct ids) { getpid(), getppid(), getpgrp(), getsid(0) };
}

static void check_ids(struct ids before)
{
	struct ids after = own_ids();

	CHECK(after.pid == before.pid, "pid is %d, was %d", after.pid, before.pid);
	CHECK(after.ppid == before.ppid, "parent is %d, was %d", after.ppid, before.ppid);
	CHECK(after.pgid == before.pgid, "process group is %d, was %d", after.pgid, before.pgid);
	CHECK(after.sid == before.sid, "session is %d, was %d", after.sid, before.sid);
}

/* The root's parent is whoever restored it. */
static void check_root_ids(struct ids before)
{
	before.ppid = getppid();
	check_ids(before);
}

static void wait_and_check_ids(void *unused)
{
	struct ids before = own_ids();

	child_ready();
	wait_go();
	check_ids(before);
}

VICTIM(single)
{
	struct ids before = own_ids();

	ready();
	check_root_ids(before);
	CHECK(gettid() == before.pid, "thread id is %d", gettid());
}

/* For tests of how sd-restore, as the parent, hears of the end. */
VICTIM(fails)
{
	ready();
	_exit(42);
}

VICTIM(sleeps)
{
	maps_may_change();
	announce();
	for (;;)
		nap();
}

static void generation(void *depth)
{
	struct ids before = own_ids();
	long more = (long)depth;
	pid_t kid = 0;

	if (more > 0)
		kid = child(generation, (void *)(more - 1));
	child_ready();
	wait_go();
	check_ids(before);
	if (kid)
		join(kid);
}

/* Two lines of descent, each depth tasks long. */
VICTIM(generations)
{
	struct ids before = own_ids();
	long depth = param("depth", 4);
	pid_t a = child(generation, (void *)depth), b = child(generation, (void *)(depth / 2));

	ready();
	check_root_ids(before);
	join(a);
	join(b);
}

VICTIM(children)
{
	long n = param("count", 40);
	pid_t *kids = calloc(n, sizeof(*kids));

	CHECK(kids, "calloc");
	for (long i = 0; i < n; i++)
		kids[i] = child(wait_and_check_ids, NULL);
	ready();
	for (long i = 0; i < n; i++)
		join(kids[i]);
}

static void own_group(void *unused)
{
	SYS(setpgid(0, 0));
	wait_and_check_ids(NULL);
}

static void join_group(void *leader)
{
	SYS(setpgid(0, *(pid_t *)leader));
	wait_and_check_ids(NULL);
}

static void group_then_end(void *unused)
{
	SYS(setpgid(0, 0));
	child_ready();
	wait_mark("group-may-end");
}

/* A group with its leader, and one whose leader is gone. */
VICTIM(groups)
{
	pid_t leader = child(own_group, NULL);
	pid_t member = child(join_group, &leader);
	pid_t gone = child(group_then_end, NULL);
	pid_t orphan = child(join_group, &gone);

	mark("group-may-end");
	join(gone);
	ready();
	join(leader);
	join(member);
	join(orphan);
	CHECK(getpgid(gone) < 0 && errno == ESRCH, "the group's dead leader %d lives", gone);
}

static void own_session(void *unused)
{
	pid_t same, grouped, nested;

	SYS(setsid());
	same = child(wait_and_check_ids, NULL);
	grouped = child(own_group, NULL);
	nested = param("depth", 2) > 1 ? fork() : 0;
	if (!nested && param("depth", 2) > 1) {
		SYS(setsid());
		wait_and_check_ids(NULL);
		_exit(0);
	}
	if (nested > 0)
		wait_mark("child.%d", nested);
	child_ready();
	wait_go();
	CHECK(getsid(0) == getpid() && getpgrp() == getpid(), "no longer a session leader");
	join(same);
	join(grouped);
	if (nested > 0)
		join(nested);
}

VICTIM(sessions)
{
	pid_t a = child(own_session, NULL), b = child(own_session, NULL);

	ready();
	join(a);
	join(b);
}

static void left_in_session(void *unused)
{
	SYS(setsid());
	if (SYS(fork()) == 0) {
		wait_mark("orphaned");
		wait_and_check_ids(NULL);
		_exit(0);
	}
	child_ready();
}

/* A session whose leader has exited; its member has come to the root. */
VICTIM(orphan_session)
{
	pid_t leader, member;
	char path[64];

	SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
	leader = child(left_in_session, NULL);
	join(leader);
	mark("orphaned");
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	member = atoi(file_text(TEXT_B, path));
	wait_mark("child.%d", member);
	ready();
	CHECK(getsid(member) == leader, "session is %d, was %d", getsid(member), leader);
	CHECK(getsid(leader) < 0, "the session's dead leader %d lives", leader);
	join(member);
}

static void end_with(void *how)
{
	long code = (long)how;

	child_ready();
	if (code < 0)
		kill(getpid(), -code);
	_exit(code);
}

/* Ended, and nobody has asked yet: what wait will say is part of the state. */
VICTIM(zombies)
{
	pid_t exited, killed;
	siginfo_t info;
	int status;

	exited = child(end_with, (void *)42L);
	killed = child(end_with, (void *)(long)-SIGKILL);
	SYS(waitid(P_PID, exited, &info, WEXITED | WNOWAIT));
	SYS(waitid(P_PID, killed, &info, WEXITED | WNOWAIT));
	ready();
	CHECK(waitpid(exited, &status, WNOHANG) == exited, "zombie %d is gone", exited);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42, "wait status %#x", status);
	CHECK(waitpid(killed, &status, WNOHANG) == killed, "zombie %d is gone", killed);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "wait status %#x", status);
}

static void zombie_parent(void *unused)
{
	pid_t kid = child(end_with, (void *)7L);
	siginfo_t info;
	int status;

	SYS(setpgid(0, 0));
	SYS(waitid(P_PID, kid, &info, WEXITED | WNOWAIT));
	child_ready();
	wait_go();
	CHECK(waitpid(kid, &status, WNOHANG) == kid && WEXITSTATUS(status) == 7,
	      "zombie grandchild changed");
}

VICTIM(zombie_below)
{
	pid_t kid = child(zombie_parent, NULL);

	ready();
	join(kid);
}

static char state_of(pid_t pid)
{
	char path[64], *text;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	text = strrchr(file_text(TEXT_B, path), ')');
	return text && text[1] == ' ' ? text[2] : '?';
}

static void be_stopped(void *unused)
{
	child_ready();
	raise(SIGSTOP);
	CHECK(told_to_go(), "went on while it should be stopped");
}

VICTIM(stopped)
{
	pid_t kid = child(be_stopped, NULL);

	WAIT_FOR(state_of(kid) == 'T', "child does not stop");
	ready();
	CHECK(state_of(kid) == 'T', "stopped child is in state %c", state_of(kid));
	SYS(kill(kid, SIGCONT));
	join(kid);
}

/* Stopped by one signal, with another one waiting until it goes on. */
static int term_seen;

static void on_term(int sig)
{
	term_seen = told_to_go() ? 1 : -1;
}

static void be_stopped_and_called(void *unused)
{
	signal(SIGTERM, on_term);
	child_ready();
	raise(SIGSTOP);
	CHECK(term_seen == 1, "SIGTERM came %s", term_seen ? "early" : "never");
}

VICTIM(stopped_pending)
{
	pid_t kid;

	kid = child(be_stopped_and_called, NULL);
	WAIT_FOR(state_of(kid) == 'T', "child does not stop");
	SYS(kill(kid, SIGTERM));
	ready();
	CHECK(state_of(kid) == 'T', "stopped child is in state %c", state_of(kid));
	SYS(kill(kid, SIGCONT));
	join(kid);
}

/* The tree changes while it is being frozen. */
static void fork_without_end(void *unused)
{
	child_ready();
	while (!told_to_go()) {
		pid_t kid = SYS(fork());

		if (kid == 0)
			_exit(0);
		join(kid);
	}
}

VICTIM(fork_churn)
{
	pid_t a, b;

	maps_may_change();
	a = child(fork_without_end, NULL);
	b = child(fork_without_end, NULL);
	ready();
	join(a);
	join(b);
}

static void vfork_without_end(void *unused)
{
	child_ready();
	while (!told_to_go()) {
		pid_t kid = vfork();

		if (kid == 0) {
			char *args[] = { "true", NULL };

			execve("/bin/true", args, environ);
			_exit(127);
		}
		join(kid);
	}
}

VICTIM(vfork_churn)
{
	pid_t kid;

	maps_may_change();
	kid = child(vfork_without_end, NULL);
	ready();
	join(kid);
}
