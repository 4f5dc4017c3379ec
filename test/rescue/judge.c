/*
 * judge.c - has a victim come through unharmed?
 *
 *	judge FILE ready|alive|exact [PID]
 *
 * ready: wait until it has begun. alive: every thread must go through two more
 * rounds, and none may have found damage. exact: besides, no call may have been
 * interrupted and no sleep cut short. Exits 0 when so, else says what is wrong. When
 * process PID is gone nobody is waited for.
 */
#include "test/rescue/report.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 60000

static void nap(void)
{
	const struct timespec t = { .tv_nsec = 2000000 };

	nanosleep(&t, NULL);
}

static int wait_ready(const struct report *r)
{
	for (int ms = 0; ms < LIMIT_MS; ms += 2) {
		if (r->threads)
			return 0;
		nap();
	}
	fprintf(stderr, "the victim has not begun\n");
	return 1;
}

/* @pid 0: nobody in particular. */
static int wait_rounds(const struct report *r, pid_t pid)
{
	static uint64_t before[REPORT_THREADS];
	uint32_t id = 0;

	for (id = 0; id < r->threads; id++)
		before[id] = r->round[id];
	id = 0;
	for (int ms = 0; ms < LIMIT_MS; ms += 2) {
		while (id < r->threads && r->round[id] >= before[id] + 2)
			id++;
		if (id == r->threads)
			return 0;
		if (pid && kill(pid, 0) < 0)
			break;
		nap();
	}
	fprintf(stderr, "thread %u stands still\n", id);
	return 1;
}

int main(int argc, char **argv)
{
	struct report *r;
	int fd;

	if (argc != 3 && argc != 4)
		return 2;
	fd = open(argv[1], O_RDONLY);
	r = mmap(NULL, sizeof(*r), PROT_READ, MAP_SHARED, fd, 0);
	if (fd < 0 || r == MAP_FAILED) {
		perror(argv[1]);
		return 2;
	}
	if (strcmp(argv[2], "ready") == 0)
		return wait_ready(r);
	if (wait_rounds(r, argc > 3 ? atoi(argv[3]) : 0))
		return 1;
	if (r->damage) {
		fprintf(stderr, "%u times damage, the last: %s\n", r->damage, r->last);
		return 1;
	}
	if (strcmp(argv[2], "exact") == 0 && (r->eintr || r->early)) {
		fprintf(stderr, "%u interrupted calls, %u short sleeps\n", r->eintr, r->early);
		return 1;
	}
	return 0;
}
