/*
 * mover.c - a task that never stays what it is.
 *
 *	mover exit|exec|fork|thread COUNT
 *
 * exit: a child at a time that lives for a moment; exec: becomes itself again,
 * COUNT times; fork: children that fork and end; thread: threads come and go. The
 * first task lives on until it has done so COUNT times, then exits 0; what it
 * counts is checked on the way. COUNT 0: it exits at once.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile unsigned long work;

static void busy(unsigned long n)
{
	while (n--)
		work++;
}

static void *thread(void *arg)
{
	busy((unsigned long)arg);
	return arg;
}

static int child_ends(void (*before)(void))
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return 1;
	if (pid == 0) {
		if (before)
			before();
		busy(20000);
		_exit(7);
	}
	while (waitpid(pid, &status, 0) != pid)
		;
	return !WIFEXITED(status) || WEXITSTATUS(status) != 7;
}

static void grandchild(void)
{
	if (child_ends(NULL))
		_exit(1);
}

static int thread_ends(void)
{
	pthread_t t;
	void *got;

	if (pthread_create(&t, NULL, thread, (void *)20000ul))
		return 1;
	return pthread_join(t, &got) || got != (void *)20000ul;
}

int main(int argc, char **argv)
{
	long count = argc > 2 ? atol(argv[2]) : 0;
	char left[24];
	int bad = 0;

	if (argc < 3)
		return 2;
	if (!strcmp(argv[1], "exec") && count > 0) {
		busy(50000);
		snprintf(left, sizeof(left), "%ld", count - 1);
		execl(argv[0], argv[0], argv[1], left, NULL);
		return 1;
	}
	while (count-- > 0 && !bad) {
		if (!strcmp(argv[1], "exit"))
			bad = child_ends(NULL);
		else if (!strcmp(argv[1], "fork"))
			bad = child_ends(grandchild);
		else if (!strcmp(argv[1], "thread"))
			bad = thread_ends();
	}
	return bad;
}
