/*
 * without.c - run a command on a kernel that lacks something: a filter answers
 * as a kernel does that has never heard of it. Children inherit it, so what is
 * run may dump, but not restore.
 *
 *   without pagemap-scan CMD [ARG...]     before Linux 6.7
 *   without children CMD [ARG...]         no task/TID/children in /proc (CONFIG_PROC_CHILDREN)
 */
#include "base/kernel-abi.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAILED = 125 };

#define LOAD(field)	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(k, over) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), 0, (over))
#define ANSWER(what)	BPF_STMT(BPF_RET | BPF_K, (what))

static struct sock_filter no_pagemap_scan[] = {
	LOAD(nr),
	UNLESS(SYS_ioctl, 3),
	LOAD(args[1]),
	UNLESS(PAGEMAP_SCAN, 1),
	ANSWER(SECCOMP_RET_ERRNO | ENOTTY),
	ANSWER(SECCOMP_RET_ALLOW),
};

/* A filter cannot read a path: somebody is asked who can. */
static struct sock_filter ask_for_paths[] = {
	LOAD(nr),
	UNLESS(SYS_openat, 1),
	ANSWER(SECCOMP_RET_USER_NOTIF),
	ANSWER(SECCOMP_RET_ALLOW),
};

static int die(const char *what)
{
	perror(what);
	exit(FAILED);
}

static int set_filter(struct sock_filter *filter, size_t n, unsigned int flags)
{
	struct sock_fprog prog = { (unsigned short)n, filter };
	int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);

	return fd < 0 ? die("without") : fd;
}

static void run(char **argv)
{
	execvp(argv[0], argv);
	die(argv[0]);
}

static int names_children(pid_t tid, uint64_t at)
{
	static const char name[] = "/children";
	char path[128] = "";
	/* Not beyond the page: the next one may not be there. */
	size_t len = 4096 - at % 4096 < sizeof(path) - 1 ? 4096 - at % 4096 : sizeof(path) - 1;
	struct iovec to = { path, len }, from = { (void *)at, len };

	process_vm_readv(tid, &to, 1, &from, 1, 0);
	return strlen(path) >= sizeof(name) &&
	       !strcmp(path + strlen(path) - (sizeof(name) - 1), name);
}

static void answer(int listener)
{
	struct seccomp_notif ask = {};
	struct seccomp_notif_resp say = {};

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &ask) < 0)
		return; /* it was killed meanwhile */
	say.id = ask.id;
	if (names_children((pid_t)ask.pid, ask.data.args[1]))
		say.error = -ENOENT;
	else
		say.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &say);
}

/* From its first filtered call on, this process opens nothing itself. */
static int answer_until_it_ends(int listener, pid_t pid)
{
	struct pollfd p[] = { { listener, POLLIN, 0 },
			      { (int)syscall(SYS_pidfd_open, pid, 0), POLLIN, 0 } };
	int status;

	while (!p[1].revents) {
		if (poll(p, 2, -1) < 0)
			die("poll");
		if (p[0].revents)
			answer(listener);
	}
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int without_children(char **argv)
{
	int listener = set_filter(ask_for_paths, sizeof(ask_for_paths) / sizeof(*ask_for_paths),
				  SECCOMP_FILTER_FLAG_NEW_LISTENER);
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		close(listener);
		run(argv);
	}
	return answer_until_it_ends(listener, pid);
}

static int without_pagemap_scan(char **argv)
{
	set_filter(no_pagemap_scan, sizeof(no_pagemap_scan) / sizeof(*no_pagemap_scan), 0);
	run(argv);
	return FAILED;
}

int main(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "pagemap-scan"))
		return without_pagemap_scan(argv + 2);
	if (argc >= 3 && !strcmp(argv[1], "children"))
		return without_children(argv + 2);
	fprintf(stderr, "usage: without pagemap-scan|children CMD [ARG...]\n");
	return FAILED;
}
