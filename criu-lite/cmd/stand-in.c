/* stand-in.c - waiting for a restored task in its parent's place. */
#include "criu-lite/cmd/stand-in.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int passed_on[] = { SIGTERM, SIGINT,  SIGHUP,   SIGQUIT, SIGUSR1,
				 SIGUSR2, SIGCONT, SIGWINCH, SIGTSTP, SIGALRM };

/* Those who sent it to the whole foreground group have sent it to the task as well. */
static bool had_it_already(const siginfo_t *info, pid_t root)
{
	return info->si_code == SI_KERNEL && getpgid(root) == getpgrp();
}

/* By its own name: what is our standard input may be anything. */
static int open_terminal(void)
{
	return open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static bool in_front(void)
{
	scoped_fd fd = open_terminal();

	return fd >= 0 && tcgetpgrp(fd) == getpgrp();
}

static void set_front(pid_t group)
{
	scoped_fd fd = open_terminal();

	if (fd >= 0)
		tcsetpgrp(fd, group);
}

/* Only from those to whom it was given: a shell that put us into the background keeps it. */
static void take_terminal(struct ward *w)
{
	if (w->terminal_given)
		set_front(getpgrp());
	w->terminal_given = false;
}

static void go_on(struct ward *w)
{
	pid_t group = getpgid(w->root);

	if (group <= 0)
		return;
	if (group == getpgrp()) {
		kill(w->root, SIGCONT);
		return;
	}
	if (in_front()) {
		set_front(group);
		w->terminal_given = true;
	}
	kill(-group, SIGCONT);
}

/* A shell that waits for us wants to see it. What makes us go on has then been passed on. */
static void stop_too(struct ward *w)
{
	const struct timespec now = {};
	sigset_t cont;

	take_terminal(w);
	raise(SIGSTOP);
	go_on(w);
	sigemptyset(&cont);
	sigaddset(&cont, SIGCONT);
	sigtimedwait(&cont, NULL, &now);
}

/* It asked for a terminal that the shell has given to us meanwhile (fg), or has to wait for it. */
static void stopped(struct ward *w, int sig)
{
	if ((sig == SIGTTIN || sig == SIGTTOU) && getpgid(w->root) != getpgrp() && in_front())
		go_on(w);
	else
		stop_too(w);
}

static int end_alike(int status)
{
	struct rlimit no_core = {};
	sigset_t set;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &no_core);
	signal(WTERMSIG(status), SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

/* A thread that was still attached when the restore was done (see restore/gate.h), or not ours. */
static bool let_go(pid_t tid, int status)
{
	int sig = WSTOPSIG(status);
	bool deliver = !(status >> 16) && sig != SIGTRAP && sig != (SIGTRAP | 0x80);

	return ptrace(PTRACE_DETACH, tid, 0, (unsigned long)(deliver ? sig : 0)) == 0;
}

/* What became of it, if anything: true when it has ended. */
static bool look_after(struct ward *w, int *status)
{
	pid_t pid;

	while ((pid = waitpid(-1, status, WNOHANG | WUNTRACED | __WALL)) > 0) {
		if (WIFSTOPPED(*status) && let_go(pid, *status))
			continue;
		if (pid != w->root)
			continue;
		if (!WIFSTOPPED(*status))
			return true;
		if (w->terminal)
			stopped(w, WSTOPSIG(*status));
	}
	return pid < 0 && errno == ECHILD;
}

/* What we were started to ignore (nohup(1)) is not passed on either. */
static bool is_ignored(int sig)
{
	struct sigaction now;

	return sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static sigset_t all_passed_on(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
		if (!is_ignored(passed_on[i]))
			sigaddset(&set, passed_on[i]);
	return set;
}

void stand_in_begin(void)
{
	sigset_t set = all_passed_on();

	sigprocmask(SIG_BLOCK, &set, NULL);
	/* What we say is said even when the terminal is the job's. */
	signal(SIGTTOU, SIG_IGN);
}

int stand_in(struct ward *w)
{
	siginfo_t info;
	sigset_t set = all_passed_on();
	int status = 1 << 8; /* should somebody else have waited for it */

	sigprocmask(SIG_BLOCK, &set, NULL);
	while (!look_after(w, &status)) {
		int sig = sigwaitinfo(&set, &info);

		if (sig > 0 && sig != SIGCHLD && !had_it_already(&info, w->root))
			kill(w->root, sig);
	}
	take_terminal(w);
	return end_alike(status);
}
