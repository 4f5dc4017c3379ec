/*
 * step.c - a tool that dies at a numbered step (base/step.h), as if by SIGKILL there.
 *
 * SD_DIE_AT is the number, from 0 on. One that comes to its end writes how many
 * steps it took to the file SD_STEPS names.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void rescue_step(void);

static long steps, die_at = -1;
static pid_t self;

static void __attribute__((constructor)) begin(void)
{
	const char *at = getenv("SD_DIE_AT");

	self = getpid();
	if (at)
		die_at = atol(at);
}

static void __attribute__((destructor)) end(void)
{
	const char *path = getenv("SD_STEPS");
	FILE *f = path && getpid() == self ? fopen(path, "w") : NULL;

	if (f) {
		fprintf(f, "%ld\n", steps);
		fclose(f);
	}
}

/* What it forks takes no steps of its own. */
void rescue_step(void)
{
	if (getpid() == self && __atomic_fetch_add(&steps, 1, __ATOMIC_SEQ_CST) == die_at)
		kill(self, SIGKILL);
}
