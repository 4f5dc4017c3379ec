/*
 * odd.c - victims: what a task can hold that is neither a descriptor nor told by
 * any call of its own, and must be refused by name.
 */
#include "victim.h"

#include <asm/ldt.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/prctl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/kernel-abi.h"

static char *area;

static int set_huge_mapping(void)
{
	area = mmap(NULL, 2 << 20, PROT_READ,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	return area == MAP_FAILED ? -1 : 0;
}

static int set_secret_mapping(void)
{
	int fd = syscall(SYS_memfd_secret, 0);

	if (fd < 0 || ftruncate(fd, PAGE))
		return -1;
	area = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return area == MAP_FAILED ? -1 : 0;
}

static int set_sealed(void)
{
	area = map_anon(PAGE);
	return syscall(462 /* mseal */, area, PAGE, 0);
}

/* Somebody outside of the tree who has from now on all that this one has. */
static pid_t leave_an_outsider(void)
{
	pid_t *kid =
		SYS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	int p[2];

	SYS(pipe(p));
	if (!SYS(fork())) {
		*kid = SYS(fork());
		if (*kid) {
			CHECK(write(p[1], kid, sizeof(*kid)) == sizeof(*kid), "write");
			_exit(0);
		}
		setsid();
		close(p[0]);
		close(p[1]);
		mark("outside");
		wait_go();
		_exit(0);
	}
	SYS(wait(NULL));
	CHECK(read(p[0], kid, sizeof(*kid)) == sizeof(*kid), "read");
	close(p[0]);
	close(p[1]);
	wait_mark("outside");
	return *kid;
}

/* Somebody outside of the tree holds it, and is told of writes. */
static int set_uffd_elsewhere(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register r = { .mode = UFFDIO_REGISTER_MODE_WP };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	area = map_anon(4 * PAGE);
	r.range.start = (uintptr_t)area;
	r.range.len = 4 * PAGE;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &r))
		return -1;
	leave_an_outsider();
	close(fd);
	return 0;
}

/* A ring that no descriptor and no mapping shows: IORING_SETUP_NO_MMAP and REGISTERED_FD_ONLY. */
static int set_registered_ring(void)
{
	struct io_uring_params p = { .flags = 1U << 14 | 1U << 15 };

	area = SYS(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	p.cq_off.resv2 /* user_addr */ = (uintptr_t)area;
	p.sq_off.resv2 /* user_addr */ = (uintptr_t)area + PAGE;
	return syscall(SYS_io_uring_setup, 8, &p);
}

static int set_landlock(void)
{
	struct landlock_ruleset_attr a = { .handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK };
	int fd = syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0), rc;

	if (fd < 0)
		return -1;
	SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	rc = syscall(SYS_landlock_restrict_self, fd, 0);
	close(fd);
	return rc;
}

static int set_landlock_of_user(void)
{
	SYS(setresgid(1000, 1000, 1000));
	SYS(setresuid(1000, 1000, 1000));
	return set_landlock();
}

static int set_dispatch(void)
{
	static char allow; /* 0: calls pass */

	return prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &allow);
}

static int set_thread_keyring(void)
{
	return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 1) < 0 ? -1 : 0;
}

static int set_process_keyring(void)
{
	return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1) < 0 ? -1 : 0;
}

/* What went wrong it returns as an int, which the C library does not know for an error. */
static int set_ldt(void)
{
	struct user_desc d = { .limit = 0xfff, .seg_32bit = 1, .useable = 1 };
	long rc = syscall(SYS_modify_ldt, 1 /* write */, &d, sizeof(d));

	if (rc && rc != -1)
		errno = -(int)rc;
	return rc ? -1 : 0;
}

/* What it has taken is given back when it ends. */
static int set_semaphore(void)
{
	struct sembuf take = { 0, -1, SEM_UNDO };
	int id = semget(IPC_PRIVATE, 1, 0600);

	return id < 0 || semctl(id, 0, SETVAL, 5) || semop(id, &take, 1) ? -1 : id;
}

/* The kernel remembers only who came last. */
static int set_semaphore_of_others(void)
{
	struct sembuf take = { 0, -1, 0 };
	int id = set_semaphore();
	pid_t kid;

	if (id < 0)
		return -1;
	kid = SYS(fork());
	if (!kid)
		_exit(semop(id, &take, 1) != 0);
	join(kid);
	return 0;
}

static int set_time_namespace(void)
{
	return unshare(0x80 /* CLONE_NEWTIME */);
}

static int set_pid_namespace(void)
{
	return unshare(CLONE_NEWPID);
}

/* A mount that hangs nowhere, as the working directory; its path is "/". */
static int set_cwd_on_mount(void)
{
	int tree = syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */);
	int rc = tree < 0 ? -1 : fchdir(tree);

	close(tree);
	return rc;
}

/* What others have as well would come back as a thing of the tree's own. */
static int set_pipe_elsewhere(void)
{
	int p[2];

	SYS(pipe(p));
	expect_text("task %d outside", (int)leave_an_outsider());
	return 0;
}

static int set_shared_elsewhere(void)
{
	area = SYS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	area[0] = 1;
	expect_text("task %d outside", (int)leave_an_outsider());
	return 0;
}

static int set_memfd_elsewhere(void)
{
	SYS(memfd_create("common", MFD_CLOEXEC));
	expect_text("task %d outside", (int)leave_an_outsider());
	return 0;
}

static int set_tracee_elsewhere(void)
{
	return ptrace(PTRACE_SEIZE, leave_an_outsider(), NULL, NULL) ? -1 : 0;
}

/* It leads a session that has a terminal, and has no descriptor of that: somebody else keeps it. */
static int set_controlling_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;

	CHECK(getsid(0) == getpid(), "this leads no session");
	if (master < 0 || grantpt(master) || unlockpt(master))
		return -1;
	signal(SIGHUP, SIG_IGN); /* whoever keeps it ends when this does */
	slave = SYS(open(ptsname(master), O_RDWR));
	leave_an_outsider();
	close(slave);
	close(master);
	slave = SYS(open("/dev/tty", O_RDWR));
	close(slave);
	return 0;
}

static const struct {
	const char *name;
	int (*set)(void);
	const char *word; /* alternatives separated by '|' */
} odd[] = {
	{ "huge-mapping", set_huge_mapping, "hugetlb" },
	{ "secret-mapping", set_secret_mapping, "memfd_secret" },
	{ "sealed", set_sealed, "mseal" },
	{ "uffd-elsewhere", set_uffd_elsewhere, "userfaultfd" },
	{ "registered-ring", set_registered_ring, "io_uring" },
	{ "landlock", set_landlock, "landlock|Landlock" },
	{ "landlock-of-user", set_landlock_of_user, "landlock|Landlock" },
	{ "pipe-elsewhere", set_pipe_elsewhere, "pipe" },
	{ "shared-elsewhere", set_shared_elsewhere, "memory" },
	{ "memfd-elsewhere", set_memfd_elsewhere, "memfd" },
	{ "dispatch", set_dispatch, "dispatch" },
	{ "thread-keyring", set_thread_keyring, "keyring" },
	{ "process-keyring", set_process_keyring, "keyring" },
	{ "tracee-elsewhere", set_tracee_elsewhere, "traces" },
	{ "ldt", set_ldt, "local descriptor table" },
	{ "semaphore", set_semaphore, "semaphores" },
	{ "semaphore-of-others", set_semaphore_of_others, "semaphores" },
	{ "time-namespace", set_time_namespace, "time_for_children" },
	{ "pid-namespace", set_pid_namespace, "pid_for_children" },
	{ "cwd-on-mount", set_cwd_on_mount, "mount" },
	{ "controlling-terminal", set_controlling_terminal, "terminal" },
};

VICTIM(odd)
{
	const char *kind = param_text("kind", "sealed");
	size_t i;

	for (i = 0; strcmp(odd[i].name, kind); i++)
		;
	if (odd[i].set() < 0)
		cannot("%s: %s", kind, strerror(errno));
	expect_text("task %d", getpid());
	expect_text("%s", odd[i].word);
	maps_may_change();
	ready();
}

/* --- other programs ----------------------------------------------------------------------- */

/* A child that runs @path with one argument, and what became of that: 0 or errno. */
static pid_t run_program(const char *path, const char *arg, int *error)
{
	int p[2];
	pid_t kid;

	SYS(pipe2(p, O_CLOEXEC));
	kid = SYS(fork());
	if (!kid) {
		execl(path, path, arg, NULL);
		(void)!write(p[1], &errno, sizeof(errno));
		_exit(1);
	}
	close(p[1]);
	if (read(p[0], error, sizeof(*error)) != sizeof(*error))
		*error = 0;
	close(p[0]);
	return kid;
}

static void end_program(pid_t kid)
{
	int status;

	CHECK(!waitpid(kid, &status, WNOHANG), "the child has ended: %#x", status);
	SYS(kill(kid, SIGKILL));
	SYS(waitpid(kid, &status, 0));
}

/* One of 32 bits lies next to this one. */
VICTIM(i386)
{
	char path[PATH_MAX];
	ssize_t n = SYS(readlink("/proc/self/exe", path, sizeof(path) - 8));
	int error;
	pid_t kid;

	path[n] = 0;
	strcpy(strrchr(path, '/') + 1, "i386");
	kid = run_program(path, NULL, &error);
	if (error)
		cannot("32-bit programs: %s", strerror(error));
	wait_asleep(kid, 29); /* pause of 32 bits */
	expect_text("task %d", kid);
	expect_text("32-bit");
	ready();
	end_program(kid);
}

VICTIM(exe_gone)
{
	int from = SYS(open("/bin/sleep", O_RDONLY)), error;
	int fd = SYS(open(in_dir("sleep"), O_CREAT | O_WRONLY, 0755));
	struct stat st;
	pid_t kid;

	SYS(fstat(from, &st));
	CHECK(SYS(sendfile(fd, from, NULL, st.st_size)) == st.st_size, "a short copy");
	close(from);
	close(fd);
	kid = run_program(in_dir("sleep"), "1000", &error);
	CHECK(!error, "%s: %s", in_dir("sleep"), strerror(error));
	wait_asleep(kid, SYS_clock_nanosleep);
	SYS(unlink(in_dir("sleep")));
	expect_text("task %d", kid);
	expect_text("deleted");
	ready();
	end_program(kid);
}

/* --- tasks that share what is mostly one's own ---------------------------------------------- */
static const struct {
	const char *name;
	unsigned long flags;
	const char *word;
} shares[] = {
	{ "files", CLONE_FILES, "descriptor table" },
	{ "fs", CLONE_FS, "working directory" },
	{ "memory", CLONE_VM, "memory" },
	{ "handlers", CLONE_VM | CLONE_SIGHAND, "handlers" },
};

/* With memory in common the C library's own is not ours to use: one call, again and again. */
static int share_apart(void *unused)
{
	for (;;)
		syscall(SYS_pause);
	return 0;
}

/* With its child, or with one that is its parent's. */
VICTIM(share)
{
	const char *what = param_text("what", "files");
	bool outside = param("outside", 0);
	char *stack = map_anon(16 * PAGE);
	pid_t kid;
	size_t i;

	for (i = 0; strcmp(shares[i].name, what); i++)
		;
	kid = SYS(clone(share_apart, stack + 16 * PAGE,
			shares[i].flags | SIGCHLD | (outside ? CLONE_PARENT : 0), NULL));
	expect_text("%d", getpid());
	expect_text("%d", kid);
	expect_text("%s", shares[i].word);
	if (outside)
		expect_text("outside");
	ready();
	if (outside)
		SYS(kill(kid, SIGKILL));
	else
		end_program(kid);
}
