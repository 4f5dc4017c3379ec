/*
 * turner.c - a task that turns into something else when it is told to.
 *
 *	turner exit|exec|fork|thread|leader|nothing
 *
 * SIGUSR1: it ends (with 7), becomes itself again as "turner nothing", has a child, loses a
 * thread or its first thread. SIGUSR2: it ends with 42, whatever it is by then.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile pid_t child;

static void wait_for(int sig)
{
	sigset_t set;
	int got;

	sigemptyset(&set);
	sigaddset(&set, sig);
	while (sigwait(&set, &got) || got != sig)
		;
}

static void *end(void *arg)
{
	wait_for(SIGUSR2);
	if (child) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	_exit(42);
}

static void *expendable(void *arg)
{
	wait_for(SIGRTMIN);
	return NULL;
}

static void turn(const char *kind, const char *self, pthread_t other)
{
	if (!strcmp(kind, "exit"))
		_exit(7);
	if (!strcmp(kind, "exec"))
		execl(self, self, "nothing", NULL);
	if (!strcmp(kind, "fork")) {
		pid_t pid = fork();

		while (pid == 0)
			pause();
		child = pid;
	}
	if (!strcmp(kind, "thread")) {
		kill(getpid(), SIGRTMIN);
		pthread_join(other, NULL);
	}
	if (!strcmp(kind, "leader"))
		pthread_exit(NULL);
}

int main(int argc, char **argv)
{
	pthread_t ender, other;
	sigset_t all;

	if (argc != 2)
		return 2;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	if (pthread_create(&ender, NULL, end, NULL) ||
	    pthread_create(&other, NULL, expendable, NULL))
		return 1;
	for (;;) {
		wait_for(SIGUSR1);
		turn(argv[1], argv[0], other);
	}
}
