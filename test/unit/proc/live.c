/* live.c - the same functions on the running kernel: ourselves, a child, memory that we know. */
#include "test/unit/proc/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "criu-lite/proc/auxv.h"
#include "criu-lite/proc/children.h"
#include "criu-lite/proc/fdinfo.h"
#include "criu-lite/proc/limits.h"
#include "criu-lite/proc/maps.h"
#include "criu-lite/proc/ns.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/proc/smaps.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/proc/status.h"

#define PAGES 64

static struct proc_dir *ourselves(void)
{
	struct proc_dir *dir = NULL;

	assert_int_equal(proc_open(&dir, NULL, getpid(), NULL), 0);
	return dir;
}

static void self(void **state)
{
	scoped_proc dir = ourselves();
	scoped struct proc_vma *v = NULL;
	scoped struct proc_smap *s = NULL;
	scoped struct proc_auxv *a = NULL;
	scoped int *tids = NULL;
	struct proc_limit limits[PROC_N_LIMITS];
	uint64_t ns[PROC_N_NS];
	struct proc_stat stat;
	struct proc_status status;
	struct rlimit files;
	size_t n;

	assert_int_equal(proc_maps_read(dir, &v, &n, NULL), 0);
	assert_true(proc_vma_find(v, n, (uintptr_t)&self) >= 0);
	assert_int_equal(v[proc_vma_find(v, n, (uintptr_t)&self)].prot, PROT_READ | PROT_EXEC);
	assert_int_equal(proc_smaps_read(dir, &s, &n, NULL), 0);
	assert_int_equal(proc_stat_read(dir, &stat, NULL), 0);
	assert_int_equal(stat.ppid, getppid());
	assert_int_equal(proc_status_read(dir, &status, NULL), 0);
	assert_int_equal(status.uid[1], geteuid());
	assert_string_equal(status.name, stat.comm);
	proc_status_release(&status);
	assert_int_equal(proc_limits_read(dir, limits, NULL), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	assert_int_equal(limits[RLIMIT_NOFILE].cur, files.rlim_cur);
	assert_int_equal(limits[RLIMIT_NOFILE].max, files.rlim_max);
	assert_int_equal(proc_ns_read(dir, ns, NULL), 0);
	assert_int_equal(proc_auxv_read(dir, &a, &n, NULL), 0);
	assert_int_equal(proc_auxv_get(a, n, 6, 0), sysconf(_SC_PAGESIZE));
	assert_int_equal(proc_list(dir, "task", &tids, &n, NULL), 0);
	assert_int_equal(n, 1);
}

static void no_such_task(void **state)
{
	struct proc_dir *dir = NULL;
	struct err err = {};

	assert_int_equal(proc_open(&dir, "test/recorded/odd", 1, &err), -ESRCH);
	assert_string_equal(err.text, "open test/recorded/odd/1: No such process");
	assert_null(dir);
	proc_close(NULL);
}

/* The directory goes dead with its task: whoever gets the number next is not taken for it. */
static void reaped(void **state)
{
	pid_t pid = fork();
	scoped_proc us = ourselves();
	scoped_proc dir = NULL;
	scoped int *pids = NULL;
	struct proc_stat stat;
	struct proc_fdinfo info;
	size_t n;

	if (!pid)
		for (;;)
			pause();
	assert_int_equal(proc_open(&dir, NULL, pid, NULL), 0);
	assert_int_equal(proc_children_read(us, &pids, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(pids[0], pid);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(proc_stat_read(dir, &stat, NULL), -ESRCH);
	assert_true(proc_fdinfo_read(dir, 0, &info, NULL) < 0);
}

static void *wait_for_the_end(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void start_threads(int n)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	while (n--)
		assert_int_equal(pthread_create(&t, &attr, wait_for_the_end, NULL), 0);
	pthread_attr_destroy(&attr);
}

/* With more threads than there are processes; in a process of its own, where they end. */
static void children_of_a_crowd(void **state)
{
	enum { THREADS = 1000 };
	scoped_proc us = NULL;
	scoped int *pids = NULL;
	size_t n;
	pid_t pid = fork(), child;
	int status;

	if (pid) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		return;
	}
	us = ourselves();
	start_threads(THREADS);
	assert_int_equal(proc_list_few(us, "task", THREADS, &pids, &n, NULL), -E2BIG);
	assert_int_equal(proc_list_few(us, "task", THREADS + 1, &pids, &n, NULL), 0);
	assert_int_equal(n, THREADS + 1);
	free(pids);
	pids = NULL;
	assert_int_equal(proc_children_read(us, &pids, &n, NULL), 0);
	assert_int_equal(n, 0);
	child = fork();
	if (!child)
		wait_for_the_end(NULL);
	assert_int_equal(proc_children_read(us, &pids, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(pids[0], child);
	kill(child, SIGKILL);
	_exit(0);
}

/* readlink(2) says nothing of a target that was cut off. */
static void long_link(void **state)
{
	char root[] = "/tmp/proc-unit.XXXXXX", target[1500];
	scoped char *path = NULL, *dir_path = NULL, *got = NULL;
	scoped_proc dir = NULL;

	memset(target, 'a', sizeof(target) - 1);
	target[sizeof(target) - 1] = 0;
	assert_non_null(mkdtemp(root));
	dir_path = xasprintf("%s/7", root);
	path = xasprintf("%s/7/exe", root);
	assert_int_equal(mkdir(dir_path, 0700), 0);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(proc_open(&dir, root, 7, NULL), 0);
	assert_int_equal(proc_readlink(dir, "exe", &got, NULL), 0);
	assert_string_equal(got, target);
	unlink(path);
	rmdir(dir_path);
	rmdir(root);
}

static char *known_pages(void)
{
	char *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	assert_true(p != MAP_FAILED);
	madvise(p, PAGES * 4096, MADV_NOHUGEPAGE);
	for (int i = 0; i < PAGES; i += 2)
		p[i * 4096] = 1;
	return p;
}

static void entries(void **state)
{
	scoped_proc dir = ourselves();
	scoped_fd fd = proc_pagemap_open(dir, NULL);
	uint64_t e[PAGES];
	char *p = known_pages();

	assert_true(fd >= 0);
	assert_int_equal(proc_pagemap_read(fd, (uintptr_t)p, PAGES, e, NULL), 0);
	for (int i = 0; i < PAGES; i++)
		assert_int_equal(!!(e[i] & (PME_PRESENT | PME_SWAPPED)), i % 2 == 0);
	munmap(p, PAGES * 4096);
}

/* More regions than one call returns are joined to one list, in order, none twice. */
static void scan(void **state)
{
	enum { MANY = 10000 };
	struct pagemap_query query = {
		.anyof = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};
	scoped_proc dir = ourselves();
	scoped_fd fd = proc_pagemap_open(dir, NULL);
	struct page_regions r = {};
	char *p =
		mmap(NULL, MANY * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t at = (uintptr_t)p;
	int rc;

	assert_true(p != MAP_FAILED);
	madvise(p, MANY * 4096, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < MANY; i += 2)
		p[i * 4096] = 1;
	rc = pagemap_scan(fd, at, at + MANY * 4096, &query, &r, NULL);
	if (rc == -ENOTTY)
		skip();
	assert_int_equal(rc, 0);
	assert_int_equal(r.n, MANY / 2);
	for (size_t i = 0; i < r.n; i++) {
		assert_int_equal(r.v[i].start, at + i * 8192);
		assert_int_equal(r.v[i].end, at + i * 8192 + 4096);
	}
	page_regions_release(&r);
	query.max_pages = MANY / 4;
	assert_int_equal(pagemap_scan(fd, at, at + MANY * 4096, &query, &r, NULL), 0);
	assert_int_equal(r.n, MANY / 4);
	page_regions_release(&r);
	query.max_pages = 0;
	for (size_t i = 1; i < MANY; i += 2)
		p[i * 4096] = 1;
	assert_int_equal(pagemap_scan(fd, at, at + MANY * 4096, &query, &r, NULL), 0);
	assert_int_equal(r.n, 1);
	assert_int_equal(r.v[0].end - r.v[0].start, MANY * 4096);
	page_regions_release(&r);
	munmap(p, MANY * 4096);
}

static void scan_refused(void **state)
{
	struct pagemap_query query = { .mask = PAGE_IS_PRESENT, .return_mask = PAGE_IS_PRESENT };
	struct page_regions r = {};
	struct err err = {};
	scoped_fd fd = open("/dev/null", O_RDONLY);

	assert_int_equal(pagemap_scan(fd, 0, 4096, &query, &r, &err), -ENOTTY);
	assert_int_equal(r.n, 0);
	assert_int_equal(pagemap_scan(fd, 4096, 4096, &query, &r, &err), 0);
}

/* We go on; a child that has ended, and is not waited for, does not, and one that is gone least of all. */
static void ending(void **state)
{
	scoped_proc dir = ourselves();
	scoped_proc child = NULL;
	struct proc_stat st;
	siginfo_t info;
	pid_t pid;

	assert_int_equal(proc_stat_read(dir, &st, NULL), 0);
	assert_false(proc_stat_exiting(&st));
	assert_false(proc_was_killed(dir));

	pid = fork();
	if (!pid)
		for (;;)
			pause();
	assert_int_equal(proc_open(&child, NULL, pid, NULL), 0);
	assert_int_equal(proc_stat_read(child, &st, NULL), 0);
	assert_false(proc_stat_exiting(&st));
	assert_false(proc_was_killed(child));
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(proc_stat_read(child, &st, NULL), 0);
	assert_true(proc_stat_exiting(&st));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(proc_was_killed(child));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(self),		cmocka_unit_test(no_such_task),
		cmocka_unit_test(reaped),	cmocka_unit_test(long_link),
		cmocka_unit_test(entries),	cmocka_unit_test(scan),
		cmocka_unit_test(scan_refused), cmocka_unit_test(children_of_a_crowd),
		cmocka_unit_test(ending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
