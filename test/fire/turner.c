/*
 * turner.c - a task that turns into something else when it is told to.
 *
 *	turner exit|exec|fork|thread|leader|advise|nothing
 *
 * SIGUSR1: it ends (with 7), becomes itself again as "turner nothing", has a child, loses a
 * thread or its first thread, gives advice for memory. SIGUSR2: it ends with 42, whatever it is
 * by then; with 43 when the kernel does not know of the advice that was given.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile pid_t child;
static char *advisable;
static size_t page;
static volatile bool advised;

static void wait_for(int sig)
{
	sigset_t set;
	int got;

	sigemptyset(&set);
	sigaddset(&set, sig);
	while (sigwait(&set, &got) || got != sig)
		;
}

/* So many mappings that their flags are read before the freeze, one of them to be advised. */
static char *plant(void)
{
	enum { N = 600 };
	char *at = mmap(NULL, N * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		_exit(1);
	for (size_t i = 1; i < N; i += 2)
		if (mprotect(at + i * page, page, PROT_READ | PROT_WRITE))
			_exit(1);
	return at + N / 2 * page;
}

/* MADV_SEQUENTIAL, which nothing else here has. */
static bool kernel_knows(void)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512];
	bool found = false;

	while (f && fgets(line, sizeof(line), f))
		found = found || (!strncmp(line, "VmFlags:", 8) && strstr(line, " sr"));
	if (f)
		fclose(f);
	return found;
}

/* Saved on its way into madvise(2), it has yet to get there. */
static int judge(void)
{
	for (int i = 0; advised && !kernel_knows(); i++) {
		if (i == 1000)
			return 43;
		usleep(10000);
	}
	return 42;
}

static void *end(void *arg)
{
	wait_for(SIGUSR2);
	if (child) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	_exit(judge());
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
	if (!strcmp(kind, "advise")) {
		advised = true;
		if (madvise(advisable, page, MADV_SEQUENTIAL))
			_exit(1);
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
	page = (size_t)sysconf(_SC_PAGESIZE);
	if (!strcmp(argv[1], "advise"))
		advisable = plant();
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
