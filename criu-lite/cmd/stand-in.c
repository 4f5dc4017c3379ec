/* stand-in.c - waiting for a restored task in its parent's place. */
#include "criu-lite/cmd/stand-in.h"
#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int passed_on[] = { SIGTERM, SIGINT,  SIGHUP,   SIGQUIT, SIGUSR1,
				 SIGUSR2, SIGCONT, SIGWINCH, SIGTSTP, SIGALRM };

/* Those who sent it to the whole foreground group have sent it to the task as well. */
static bool had_it_already(const siginfo_t *info, pid_t root)
{
	return info->si_code == SI_KERNEL && getpgid(root) == getpgrp();
}

static void give_terminal(pid_t root, bool terminal)
{
	pid_t group = getpgid(root);

	if (!terminal || group <= 0 || group == getpgrp() || tcgetpgrp(STDIN_FILENO) != getpgrp())
		return;
	tcsetpgrp(STDIN_FILENO, group);
	kill(-group, SIGCONT);
}

static void take_terminal(bool terminal)
{
	if (terminal && tcgetpgrp(STDIN_FILENO) > 0) /* fails when it is not our own terminal */
		tcsetpgrp(STDIN_FILENO, getpgrp());
}

/* It stopped: a shell that waits for us wants to see that. When we go on, so does it. */
static void stop_too(pid_t root, bool terminal)
{
	take_terminal(terminal);
	raise(SIGSTOP);
	give_terminal(root, terminal);
	kill(root, SIGCONT);
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

/* What became of it, if anything: true when it has ended. */
static bool look_after(pid_t root, bool terminal, int *status)
{
	pid_t pid;

	while ((pid = waitpid(-1, status, WNOHANG | WUNTRACED)) > 0) {
		if (pid != root)
			continue;
		if (!WIFSTOPPED(*status))
			return true;
		if (terminal)
			stop_too(root, terminal);
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
}

int stand_in(pid_t root, bool terminal)
{
	siginfo_t info;
	sigset_t set = all_passed_on();
	int status = 1 << 8; /* should somebody else have waited for it */

	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGTTOU, SIG_IGN);
	give_terminal(root, terminal);
	while (!look_after(root, terminal, &status)) {
		int sig = sigwaitinfo(&set, &info);

		if (sig > 0 && sig != SIGCHLD && !had_it_already(&info, root))
			kill(root, sig);
	}
	take_terminal(terminal);
	return end_alike(status);
}
