/*
 * all-or-none.c - kill a restore at every step, and at random moments: the whole
 * tree must run afterwards, or nothing of it.
 *
 *	all-or-none TREE SD-DUMP FOLDER RANDOM
 *
 * Runs in a pid namespace whose first process reaps. Prints counts; exits 1 on
 * any harm.
 */
#include "base/step.h"
#include "criu-lite/restore/restore.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 10000

static struct tree_file *file;
static pid_t pids[] = { 0, 0, 0, 0 }; /* of tasks that live */
static long steps, die_at = -1;
static unsigned long still; /* the beats of the stopped task, when there was none */

void rescue_step(void);
void rescue_step(void)
{
	if (steps++ == die_at)
		kill(getpid(), SIGKILL);
}

static void nap_ms(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };

	nanosleep(&t, NULL);
}

static void __attribute__((noreturn)) give_up(const char *what)
{
	printf("all-or-none: %s\n", what);
	exit(1);
}

/* 'R', 'S', 'T', 'Z' ... as /proc says; '-': no such task. */
static char state_of(pid_t pid)
{
	char path[64], text[512] = "", *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return '-';
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	fclose(f);
	end = strrchr(text, ')');
	return end ? end[2] : '-';
}

static int living(void)
{
	int n = 0;

	for (size_t i = 0; i < 4; i++)
		n += !strchr("-ZX", state_of(pids[i]));
	return n;
}

static int all_gone(void)
{
	for (size_t i = 0; i < 4; i++)
		if (state_of(pids[i]) != '-')
			return 0;
	return state_of(file->zombie) == '-';
}

static void end_tree(void)
{
	for (size_t i = 0; i < 4; i++)
		kill(pids[i], SIGKILL);
	for (int ms = 0; !all_gone(); ms++) {
		nap_ms(1);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (ms > PATIENCE_MS)
			give_up("the tree does not go away");
	}
	for (int i = 0; i < TREE_THREADS; i++)
		file->thread[i].wrong = 0; /* a child sees its parent go */
	still = file->thread[STOPPED].beats;
}

/* Nobody is waited for when a task of the tree goes. */
static int beats(int i, unsigned long more)
{
	unsigned long from = file->thread[i].beats;
	int n = living();

	for (int ms = 0; ms < PATIENCE_MS && file->thread[i].beats < from + more; ms++) {
		if (living() != n)
			break;
		nap_ms(1);
	}
	return file->thread[i].beats >= from + more;
}

/* NULL: as it should be. */
static const char *judge_tree(void)
{
	pid_t stopped = file->thread[STOPPED].pid;

	for (int ms = 0; ms < PATIENCE_MS && living() == 4 && state_of(stopped) != 'T'; ms++)
		nap_ms(1);
	if (state_of(stopped) != 'T' || file->thread[STOPPED].beats != still)
		return "the stopped task is not stopped";
	if (state_of(file->zombie) != 'Z')
		return "the zombie is none";
	for (int i = 0; i < STOPPED; i++)
		if (!beats(i, 3))
			return "a thread stands still";
	kill(stopped, SIGCONT);
	if (!beats(STOPPED, 3))
		return "the stopped task does not go on";
	for (int i = 0; i < TREE_THREADS; i++)
		if (file->thread[i].wrong)
			return "a thread is not what it was";
	return NULL;
}

static void run(char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execv(argv[0], argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		give_up("sd-dump failed");
}

static void make_tree(const char *tree, const char *path)
{
	pid_t pid = fork();

	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		for (int i = 0; i < 3; i++)
			dup2(null, i);
		close_range(3, ~0u, 0);
		execl(tree, tree, path, NULL);
		_exit(127);
	}
	for (int i = 0; i < TREE_THREADS; i++)
		if (!beats(i, 3))
			give_up("the tree does not start");
	pids[0] = file->thread[ROOT].pid;
	pids[1] = file->thread[CHILD].pid;
	pids[2] = file->thread[GRANDCHILD].pid;
	pids[3] = file->thread[STOPPED].pid;
	kill(pids[3], SIGSTOP);
	for (int ms = 0; state_of(pids[3]) != 'T'; ms++) {
		nap_ms(1);
		if (ms > PATIENCE_MS)
			give_up("the child does not stop");
	}
}

static pid_t start_restore(const char *dir, long kill_at, int out)
{
	struct restore_options opt = { .dir = dir };
	struct restored done = {};
	struct err err = {};
	pid_t pid = fork();
	int rc;

	if (pid)
		return pid;
	die_at = kill_at;
	rc = restore(&opt, &done, &err);
	if (rc < 0)
		fprintf(stderr, "restore: %s\n", err.text);
	if (write(out, &steps, sizeof(steps)) != sizeof(steps))
		rc = -1;
	_exit(rc < 0);
}

/* What keeps a survivor: its lines of /proc that tell. */
static void describe(pid_t pid)
{
	static const char *const files[] = { "wchan", "syscall", "status" };
	char path[64], line[256];

	for (size_t i = 0; i < 3; i++) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/%s", pid, files[i]);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f))
			if (i < 2 ||
			    strstr("State PPid TracerPid Threads SigPnd ShdPnd", strtok(line, ":")))
				printf("  %d %s: %s %s\n", pid, files[i], line,
				       i < 2 ? "" : strtok(NULL, "\n"));
		if (f)
			fclose(f);
	}
}

struct counts {
	int all, none, bad;
};

/*
 * Who was killed, or runs into the closed gate, is there for a moment longer and looks as if
 * it lived: a tree is said to live when it has gone on, and to be half there when it stays so.
 */
static void judge(struct counts *c, const char *when, long n)
{
	const char *why = judge_tree();
	int alive = living();

	for (int ms = 0; ms < PATIENCE_MS && alive > 0 && alive < 4; ms++) {
		nap_ms(1);
		alive = living();
	}
	if (alive == 0) {
		c->none++;
	} else if (!why) {
		c->all++;
	} else {
		c->bad++;
		printf("killed at %s %ld: %d of 4 tasks live: %s\n", when, n, alive, why);
		for (size_t i = 0; i < 4; i++)
			describe(pids[i]);
	}
	end_tree();
}

/* Undisturbed: how many steps there are. */
static long count_steps(const char *dir, unsigned *us)
{
	int out[2], status;
	const char *why;
	struct timespec begun, done;
	long n = 0;
	pid_t pid;

	if (pipe(out) < 0)
		give_up("pipe");
	clock_gettime(CLOCK_MONOTONIC, &begun);
	pid = start_restore(dir, -1, out[1]);
	if (waitpid(pid, &status, 0) != pid || status || read(out[0], &n, sizeof(n)) != sizeof(n)) {
		fprintf(stderr, "status %#x\n", status);
		give_up("restore failed");
	}
	clock_gettime(CLOCK_MONOTONIC, &done);
	*us = (unsigned)((done.tv_sec - begun.tv_sec) * 1000000 +
			 (done.tv_nsec - begun.tv_nsec) / 1000);
	close(out[0]);
	close(out[1]);
	why = judge_tree();
	if (why)
		give_up(why);
	end_tree();
	return n;
}

static uint64_t kill_after_us(pid_t pid, unsigned us)
{
	struct timespec t = { .tv_nsec = us * 1000l };

	nanosleep(&t, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return us;
}

int main(int argc, char **argv)
{
	struct counts at_step = {}, at_random = {};
	char dir[512], path[512];
	unsigned us;
	long n;
	int fd, random = argc > 4 ? atoi(argv[4]) : 0;

	if (argc < 5)
		return 2;
	setvbuf(stdout, NULL, _IONBF, 0);
	snprintf(path, sizeof(path), "%s/file", argv[3]);
	snprintf(dir, sizeof(dir), "%s/ckpt", argv[3]);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*file)) < 0)
		give_up("the file of the tree");
	file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	make_tree(argv[1], path);
	snprintf(path, sizeof(path), "%d", pids[0]);
	run((char *[]) { argv[2], "-q", "--kill", "-D", dir, path, NULL });
	end_tree();

	n = count_steps(dir, &us);
	for (long i = 0; i < n; i++) {
		waitpid(start_restore(dir, i, -1), NULL, 0);
		judge(&at_step, "step", i);
	}
	srand(1);
	for (int i = 0; i < random; i++)
		judge(&at_random, "microsecond",
		      (long)kill_after_us(start_restore(dir, -1, -1), rand() % us));
	printf("killed at each of %ld steps: %d all, %d none, %d in between\n", n, at_step.all,
	       at_step.none, at_step.bad);
	printf("killed at %d random moments: %d all, %d none, %d in between\n", random,
	       at_random.all, at_random.none, at_random.bad);
	return at_step.bad || at_random.bad || !at_step.all || !at_step.none;
}
