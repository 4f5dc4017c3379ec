/*
 * nsinit.c - run a command in fresh pid, mount and IPC namespaces, as a test needs
 * it: its own /proc, an empty /run, and a first process that reaps at once, so
 * that pids are free again when a restore wants them. Semaphores of one test are
 * not there for others, and end with it.
 *
 *   nsinit [-t SECONDS] CMD [ARG...]
 *
 * Exits as CMD does; 124 after the time limit (processes are listed), 125 when
 * the namespace could not be made, 1 when CMD succeeded but left processes
 * behind (they are listed, too). Nothing of the namespace outlives it.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How long processes may take to end on their own after CMD has ended. */
#define GRACE_SECONDS 10

static void die(const char *what)
{
	fprintf(stderr, "nsinit: %s: %s\n", what, strerror(errno));
	exit(125);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void print_file(const char *pid, const char *name)
{
	char path[300], buf[400];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < n; i++)
		if (!buf[i] || buf[i] == '\n')
			buf[i] = ' ';
	fprintf(stderr, " %s: %.*s", name, n > 0 ? (int)n : 1, n > 0 ? buf : "-");
}

/* Count the other processes of the namespace; @list also prints each. */
static int others(bool list)
{
	struct dirent *e;
	DIR *d = opendir("/proc");
	int n = 0;

	if (!d)
		die("/proc");
	while ((e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]) || !strcmp(e->d_name, "1"))
			continue;
		n++;
		if (!list)
			continue;
		fprintf(stderr, "  process %s:", e->d_name);
		print_file(e->d_name, "cmdline");
		print_file(e->d_name, "stat");
		print_file(e->d_name, "wchan");
		print_file(e->d_name, "syscall");
		fputc('\n', stderr);
	}
	closedir(d);
	return n;
}

/* Reap until @pid is gone (then its wait status is in *@status), or @deadline. */
static bool reap(pid_t pid, int *status, double deadline)
{
	const struct timespec tick = { .tv_nsec = 20 * 1000 * 1000 };
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	for (;;) {
		int st;
		pid_t got;

		while ((got = waitpid(-1, &st, WNOHANG)) > 0) {
			if (got != pid)
				continue;
			*status = st;
			return true;
		}
		if (pid == 0 && others(false) == 0)
			return true;
		if (now() > deadline)
			return false;
		sigtimedwait(&chld, NULL, &tick);
	}
}

static void world(void)
{
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("mount private");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		die("mount /proc");
	if (mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755"))
		die("mount /run");
}

static int first_process(char **argv, double limit)
{
	sigset_t none, chld;
	int status = 0;
	pid_t pid;
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	world();
	sigemptyset(&none);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);

	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		execvp(argv[0], argv);
		die(argv[0]);
	}
	if (!reap(pid, &status, now() + limit)) {
		fprintf(stderr, "nsinit: not done after %.0f s; still there:\n", limit);
		others(true);
		return 124;
	}
	rc = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (rc == 0 && !reap(0, &status, now() + GRACE_SECONDS)) {
		fprintf(stderr, "nsinit: processes were left behind:\n");
		others(true);
		rc = 1;
	}
	return rc;
}

int main(int argc, char **argv)
{
	double limit = 120;
	int o, status;
	pid_t pid;

	while ((o = getopt(argc, argv, "+t:")) != -1) {
		if (o != 't')
			return 125;
		limit = atof(optarg);
	}
	if (optind == argc) {
		fprintf(stderr, "usage: nsinit [-t SECONDS] CMD [ARG...]\n");
		return 125;
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC))
		die("unshare");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		exit(first_process(argv + optind, limit));
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
