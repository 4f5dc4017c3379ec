/*
 * without.c - run a command on a kernel that lacks something: a filter answers
 * as a kernel does that has never heard of it. Children inherit it, so what is
 * run may dump, but not restore.
 *
 *   without pagemap-scan CMD [ARG...]     before Linux 6.7
 */
#include "base/kernel-abi.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
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

int main(int argc, char **argv)
{
	struct sock_fprog filter = { sizeof(no_pagemap_scan) / sizeof(no_pagemap_scan[0]),
				     no_pagemap_scan };

	if (argc < 3 || strcmp(argv[1], "pagemap-scan")) {
		fprintf(stderr, "usage: without pagemap-scan CMD [ARG...]\n");
		return FAILED;
	}
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
		perror("without");
		return FAILED;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return FAILED;
}
