/*
 * none.c - populated pages are found the same way with PAGEMAP_SCAN and without it, and
 * what was given back is not among them.
 */
#include "base/mem.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/track/tracker.h"
#include "criu-lite/track/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#define P 4096ul

enum { ANON, FROM_FILE, HOLE, N_VMAS };

struct yard {
	char *at[N_VMAS];
	struct track_vma vma[N_VMAS];
	struct task task;
	bool scans; /* this kernel has PAGEMAP_SCAN */
	int file;   /* what is mapped at FROM_FILE */
};

static struct yard yard;

static void place(int i, size_t pages, bool file, int fd)
{
	int flags = MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED_NOREPLACE | (file ? 0 : MAP_ANONYMOUS);
	char *want = (char *)0x200000000000ul + i * (8ul << 30);

	yard.at[i] = mmap(want, pages * P, PROT_READ | PROT_WRITE, flags, fd, 0);
	assert_ptr_equal(yard.at[i], want);
	madvise(want, pages * P, MADV_NOHUGEPAGE);
	yard.vma[i] = (struct track_vma) { .start = (uintptr_t)want,
					   .end = (uintptr_t)want + pages * P,
					   .file = file };
}

static bool has_scan(void)
{
	struct pagemap_query q = { .anyof = PAGE_IS_PRESENT, .return_mask = PAGE_IS_PRESENT };
	struct page_regions found = {};
	int fd = proc_pagemap_open(yard.task.proc, NULL);
	int rc = pagemap_scan(fd, yard.vma[0].start, yard.vma[0].end, &q, &found, NULL);

	page_regions_release(&found);
	close(fd);
	return rc != -ENOTTY;
}

static int setup(void **state)
{
	volatile char sum = 0;
	FILE *f = tmpfile();

	assert_non_null(f);
	yard.file = fileno(f);
	for (int i = 0; i < 8; i++)
		assert_int_equal(pwrite(yard.file, "x", 1, i * P), 1);
	place(ANON, 16, false, -1);
	place(FROM_FILE, 8, true, yard.file);
	place(HOLE, (1ul << 30) / P, false, -1);
	yard.at[ANON][0] = yard.at[ANON][5 * P] = yard.at[ANON][6 * P] = 1;
	sum += yard.at[FROM_FILE][2 * P]; /* the file's own page does not count */
	(void)sum;
	yard.at[FROM_FILE][3 * P] = 1;
	yard.at[HOLE][700 << 20] = 1;
	yard.task.pid = getpid();
	assert_int_equal(proc_open(&yard.task.proc, NULL, getpid(), NULL), 0);
	yard.scans = has_scan();
	return 0;
}

static bool is_run(const struct track_run *r, int i, uint64_t page, uint64_t pages)
{
	return r->written && r->start == (uintptr_t)yard.at[i] + page * P &&
	       r->end == r->start + pages * P;
}

static bool finds_them(void)
{
	struct track_runs runs = {};
	struct err err = {};
	bool good;

	if (track_populated(&yard.task, yard.vma, N_VMAS, &runs, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return false;
	}
	good = runs.n == 4 && is_run(&runs.run[0], ANON, 0, 1) &&
	       is_run(&runs.run[1], ANON, 5, 2) && is_run(&runs.run[2], FROM_FILE, 3, 1) &&
	       is_run(&runs.run[3], HOLE, (700ul << 20) / P, 1);
	track_runs_release(&runs);
	return good;
}

static void by_scan(void **state)
{
	if (!yard.scans)
		skip();
	assert_true(finds_them());
}

/* As an older kernel answers. */
static void deny_scan(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PAGEMAP_SCAN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = ARRAY_SIZE(code), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(2);
}

/* In a child, whose filter ends with it; it looks at us. */
static void by_reading(void **state)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		deny_scan();
		_exit(has_scan() ? 3 : finds_them() ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* --- markers ------------------------------------------------------------------- */

static bool arm_file(void)
{
	const struct track_vma *v = &yard.vma[FROM_FILE];
	const struct pagemap_query q = { .flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
					 .anyof = PAGE_IS_PRESENT,
					 .return_mask = PAGE_IS_WRITTEN };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct page_regions found = {};
	int pagemap = proc_pagemap_open(yard.task.proc, NULL);

	return uffd_init(uffd, UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED) == 0 &&
	       uffd_register(uffd, v->start, v->end) == 0 &&
	       pagemap_scan(pagemap, v->start, v->end, &q, &found, NULL) == 0;
}

/* As for a user whom the kernel does not show where a page is. */
static bool hide_frames(void)
{
	cap_t caps = cap_get_proc();
	const cap_value_t admin = CAP_SYS_ADMIN;

	return caps && cap_set_flag(caps, CAP_EFFECTIVE, 1, &admin, CAP_CLEAR) == 0 &&
	       cap_set_proc(caps) == 0;
}

/* Pages 2 and 3 were armed and given back, then page 3 was cut off; page 1 is a copy. */
static void look_at_markers(bool hidden)
{
	struct track_runs runs = {};
	volatile char sum = 0;
	uint64_t entry = 0;
	int pagemap;

	proc_open(&yard.task.proc, NULL, getpid(), NULL);
	sum += yard.at[FROM_FILE][2 * P];
	(void)sum;
	yard.at[FROM_FILE][P] = yard.at[FROM_FILE][3 * P] = 1;
	if (!arm_file() || madvise(yard.at[FROM_FILE] + 2 * P, 2 * P, MADV_DONTNEED) ||
	    ftruncate(yard.file, 3 * P) || (hidden && !hide_frames()))
		_exit(2);
	pagemap = proc_pagemap_open(yard.task.proc, NULL);
	proc_pagemap_read(pagemap, yard.vma[FROM_FILE].start + 3 * P, 1, &entry, NULL);
	if (!(entry & PME_SWAPPED) || !(entry & PME_PFN_MASK) != hidden)
		_exit(3);
	if (track_populated(&yard.task, &yard.vma[FROM_FILE], 1, &runs, NULL) < 0)
		_exit(4);
	_exit(runs.n == 1 && is_run(&runs.run[0], FROM_FILE, 1, 1) ? 0 : 1);
}

/* In a child, as the yard is for all. */
static void markers_are_nothing(bool hidden)
{
	int status;
	pid_t pid;

	if (track_wp_async.probe(NULL) < 0)
		skip();
	pid = fork();
	if (!pid)
		look_at_markers(hidden);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(ftruncate(yard.file, 8 * P), 0);
}

static void markers(void **state)
{
	markers_are_nothing(false);
}

static void markers_without_frames(void **state)
{
	markers_are_nothing(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_scan),
		cmocka_unit_test(by_reading),
		cmocka_unit_test(markers),
		cmocka_unit_test(markers_without_frames),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
