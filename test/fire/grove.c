/*
 * grove.c - a tree of many tasks, each of which notices what is changed about it.
 *
 *	grove FILE TASKS
 *
 * Every third task has two more threads, every fourth begins a process group, every
 * seventh a session. Each thread counts rounds in FILE (test/rescue/report.h), and
 * compares its ids, signal mask, a vector register and a page of its own with what
 * they were. The pids are in FILE.pids, one a line, the root's first.
 */
#include "test/rescue/report.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MORE_THREADS 2
#define MOST_TASKS   256
#define NAP_NS	     5000000
#define WORDS	     512

static struct report *report;
static volatile pid_t *pids; /* shared: of every task that has begun */
static int tasks, me;

static int threads_of(int task)
{
	return task % 3 == 1 ? 1 + MORE_THREADS : 1;
}

/* The place in FILE of its first thread. */
static int first_place(int task)
{
	int place = 0;

	for (int i = 0; i < task; i++)
		place += threads_of(i);
	return place;
}

static void damage(int place, const char *what)
{
	snprintf(report->last, sizeof(report->last), "task %d, thread %d: %s", me, place, what);
	__atomic_fetch_add(&report->damage, 1, __ATOMIC_SEQ_CST);
}

struct own {
	pid_t pid, tid, pgid, sid, ppid;
};

static struct own look(void)
{
	return (struct own) { getpid(), gettid(), getpgrp(), getsid(0), me ? getppid() : 0 };
}

/* A sleep in which a vector register holds a number; the one that it holds afterwards. */
static double sleep_with(double number)
{
	struct timespec nap = { .tv_nsec = NAP_NS };
	double after;

	__asm__ volatile("movsd %1, %%xmm9\n\tmov $35, %%eax\n\tmov %2, %%rdi\n\t"
			 "xor %%esi, %%esi\n\tsyscall\n\tmovsd %%xmm9, %0"
			 : "=m"(after)
			 : "m"(number), "r"(&nap)
			 : "rax", "rdi", "rsi", "rcx", "r11", "xmm9", "memory");
	return after;
}

static void check_page(int place, unsigned long *page, unsigned long round)
{
	for (int i = 0; i < WORDS; i++) {
		if (round && page[i] != (round ^ (unsigned long)(place * WORDS + i)))
			damage(place, "its page changed");
		page[i] = (round + 1) ^ (unsigned long)(place * WORDS + i);
	}
}

static void live(int place)
{
	unsigned long *page = aligned_alloc(4096, WORDS * sizeof(*page));
	struct own was = look(), is;
	sigset_t mask, now;

	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + place % 20);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	for (unsigned long round = 0;; round++) {
		if (sleep_with(place + 0.25) != place + 0.25)
			damage(place, "a vector register changed");
		is = look();
		if (memcmp(&is, &was, sizeof(is)) != 0)
			damage(place, "its ids changed");
		pthread_sigmask(SIG_SETMASK, NULL, &now);
		if (sigismember(&now, SIGRTMIN + place % 20) != 1 || sigismember(&now, SIGUSR1))
			damage(place, "its signal mask changed");
		check_page(place, page, round);
		report->round[place]++;
	}
}

static void *thread(void *arg)
{
	live((int)(long)arg);
	return NULL;
}

static void begin(int task);

/* Task i is the parent of 2i+1 and 2i+2. */
static void fork_below(int task)
{
	for (int child = 2 * task + 1; child <= 2 * task + 2 && child < tasks; child++)
		if (fork() == 0)
			begin(child);
}

static void begin(int task)
{
	pthread_t t;

	me = task;
	if (task % 7 == 6)
		setsid();
	else if (task % 4 == 3)
		setpgid(0, 0);
	fork_below(task);
	for (long i = 1; i < threads_of(task); i++)
		if (pthread_create(&t, NULL, thread, (void *)(first_place(task) + i)))
			abort();
	pids[task] = getpid();
	if (task)
		live(first_place(task));
}

static bool write_pids(const char *file)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	char path[4096];
	FILE *f;

	for (int i = 0; i < tasks; i++)
		while (!pids[i])
			nanosleep(&nap, NULL);
	snprintf(path, sizeof(path), "%s.pids", file);
	f = fopen(path, "w");
	for (int i = 0; f && i < tasks; i++)
		fprintf(f, "%d\n", pids[i]);
	return f && fclose(f) == 0;
}

int main(int argc, char **argv)
{
	int fd;

	tasks = argc > 2 ? atoi(argv[2]) : 0;
	if (tasks < 1 || tasks > MOST_TASKS)
		return 2;
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*report)) < 0)
		return 1;
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pids = mmap(NULL, sizeof(*pids) * MOST_TASKS, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED || pids == MAP_FAILED)
		return 1;
	close(fd);
	begin(0);
	if (!write_pids(argv[1]))
		return 1;
	report->threads = (uint32_t)first_place(tasks);
	live(0);
}
