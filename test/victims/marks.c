/*
 * marks.c - victims: what is one small thing, set by one call and seen by
 * another. Each is a row: it must be as it was.
 */
#include "victim.h"

#include <asm/prctl.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/membarrier.h>
#include <linux/mempolicy.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "base/kernel-abi.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

static long write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	long rc = fd < 0 ? -1 : write(fd, text, strlen(text));

	close(fd);
	return rc < 0 ? -1 : 0;
}

/* --- marks of the task: set returns -1 where this machine cannot --------------------- */
static long set_tsc(void)
{
	return prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
}

static long get_tsc(void)
{
	int mode = 0;

	SYS(prctl(PR_GET_TSC, &mode));
	return mode;
}

static long set_cpuid(void)
{
	return syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
}

static long get_cpuid(void)
{
	return syscall(SYS_arch_prctl, ARCH_GET_CPUID);
}

static long set_mdwe(void)
{
	return prctl(PR_SET_MDWE, 1, 0, 0, 0);
}

static long get_mdwe(void)
{
	return prctl(PR_GET_MDWE, 0, 0, 0, 0);
}

static long set_memory_merge(void)
{
	return prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0);
}

static long get_memory_merge(void)
{
	return prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0);
}

static long set_io_flusher(void)
{
	return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}

static long get_io_flusher(void)
{
	return prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0);
}

static long set_mce_kill(void)
{
	return prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
}

static long get_mce_kill(void)
{
	return prctl(PR_MCE_KILL_GET, 0, 0, 0, 0);
}

static long set_store_bypass(void)
{
	return prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0);
}

static long get_store_bypass(void)
{
	return prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
}

static long set_thp_but_advised(void)
{
	return prctl(PR_SET_THP_DISABLE, 1, 2, 0, 0); /* PR_THP_DISABLE_EXCEPT_ADVISED */
}

static long get_thp(void)
{
	return prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
}

static long set_io_prio(void)
{
	return syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		       IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6));
}

static long get_io_prio(void)
{
	return syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
}

static long set_coredump_filter(void)
{
	return write_text("/proc/self/coredump_filter", "0x7f");
}

static long get_coredump_filter(void)
{
	return strtol(file_text(TEXT_A, "/proc/self/coredump_filter"), NULL, 16);
}

static long set_membarrier(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

/* Refused to those who have not registered. */
static long get_membarrier(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) ? errno : 0;
}

static long set_mempolicy_(void)
{
	unsigned long nodes = 1;

	return syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &nodes, 64);
}

static long get_mempolicy_(void)
{
	unsigned long nodes[16] = { 0 };
	int mode = 0;

	SYS(syscall(SYS_get_mempolicy, &mode, nodes, 1024, NULL, 0));
	return mode * 2 + (long)(nodes[0] & 1);
}

static long set_lock_future(void)
{
	return mlockall(MCL_FUTURE);
}

/* Is a new mapping locked at once? */
static long get_lock_future(void)
{
	void *m = map_anon(PAGE);
	char *locked = strdup(file_lines(TEXT_A, "/proc/self/status", "VmLck"));
	long now;

	munlock(m, PAGE);
	now = strcmp(locked, file_lines(TEXT_A, "/proc/self/status", "VmLck")) != 0;
	munmap(m, PAGE);
	return now;
}

static long set_autogroup(void)
{
	return write_text("/proc/self/autogroup", "7");
}

static long get_autogroup(void)
{
	const char *nice = strstr(file_text(TEXT_A, "/proc/self/autogroup"), "nice");

	return nice ? strtol(nice + 5, NULL, 10) : -100;
}

/* As sched_setattr(2) has it. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static long set_deadline(void)
{
	struct attr a = { .size = sizeof(a), .policy = 6, .flags = 1 /* reset on fork */ };

	a.runtime = 1000000;
	a.deadline = 20000000;
	a.period = 30000000;
	return syscall(SYS_sched_setattr, 0, &a, 0);
}

static long set_slice(void)
{
	struct attr a = { .size = sizeof(a), .runtime = 17000000 };

	return syscall(SYS_sched_setattr, 0, &a, 0);
}

static long get_attr(void)
{
	struct attr a = { 0 };

	SYS(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0));
	return (long)checksum(0, &a, sizeof(a));
}

/* --- marks of memory and descriptors ---------------------------------------------------- */
static char *area;

static long set_anon_name(void)
{
	area = map_anon(4 * PAGE);
	return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, area + PAGE, PAGE,
		     "a name of 'its' own: (1)");
}

/* How many mappings and which names: all of maps but what follows the stack. */
static long get_maps(void)
{
	char *maps = file_text(TEXT_A, "/proc/self/maps");

	return (long)checksum(0, maps, strlen(maps));
}

static long set_shared_name(void)
{
	area = SYS(mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, area, 4 * PAGE, "shared");
}

static long set_droppable(void)
{
	area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
	return area == MAP_FAILED ? -1 : 0;
}

static long get_droppable(void)
{
	char *smaps = file_text(TEXT_A, "/proc/self/smaps"), head[32];

	snprintf(head, sizeof(head), "%lx-", (long)area);
	smaps = strstr(strstr(smaps, head), "VmFlags");
	return memmem(smaps, strcspn(smaps, "\n"), " dp", 3) != NULL;
}

static int held;

static long set_noexec_memfd(void)
{
	held = memfd_create("noexec", MFD_NOEXEC_SEAL | MFD_ALLOW_SEALING);
	return held < 0 ? -1 : fchmod(held, 0640);
}

/* A program's sealed copy of itself: with it, the kernel seals all else. */
static long set_exec_memfd(void)
{
	held = memfd_create("exec", MFD_EXEC | MFD_ALLOW_SEALING);
	return held < 0 ? -1 : fcntl(held, F_ADD_SEALS, F_SEAL_EXEC);
}

static long get_noexec_memfd(void)
{
	struct stat st;

	SYS(fstat(held, &st));
	return SYS(fcntl(held, F_GET_SEALS)) | (long)st.st_mode << 16;
}

static long set_timer_cancel(void)
{
	struct itimerspec far = { .it_value.tv_sec = 4000000000 };

	held = SYS(timerfd_create(CLOCK_REALTIME, 0));
	return timerfd_settime(held, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL);
}

static long get_timer_flags(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", held);
	return strtol(strstr(file_text(TEXT_A, path), "settime flags:") + 14, NULL, 8);
}

static long set_folder_position(void)
{
	static char room[80];

	SYS(mkdir(in_dir("sub"), 0755));
	for (int i = 0; i < 20; i++)
		close(SYS(open(in_dir("sub/%d", i), O_CREAT | O_RDWR, 0644)));
	held = SYS(open(in_dir("sub"), O_RDONLY | O_DIRECTORY));
	return SYS(syscall(SYS_getdents64, held, room, sizeof(room)));
}

/* What is left to read; the position is put back. */
static long get_folder_rest(void)
{
	static char room[4096];
	off_t at = SYS(lseek(held, 0, SEEK_CUR));
	long n = SYS(syscall(SYS_getdents64, held, room, sizeof(room)));

	SYS(lseek(held, at, SEEK_SET));
	return (long)checksum(n, room, n);
}

static const struct {
	const char *name;
	long (*set)(void), (*get)(void);
} marks[] = {
	{ "tsc", set_tsc, get_tsc },
	{ "cpuid", set_cpuid, get_cpuid },
	{ "mdwe", set_mdwe, get_mdwe },
	{ "memory-merge", set_memory_merge, get_memory_merge },
	{ "io-flusher", set_io_flusher, get_io_flusher },
	{ "mce-kill", set_mce_kill, get_mce_kill },
	{ "store-bypass", set_store_bypass, get_store_bypass },
	{ "thp-but-advised", set_thp_but_advised, get_thp },
	{ "io-prio", set_io_prio, get_io_prio },
	{ "coredump-filter", set_coredump_filter, get_coredump_filter },
	{ "membarrier", set_membarrier, get_membarrier },
	{ "mempolicy", set_mempolicy_, get_mempolicy_ },
	{ "lock-future", set_lock_future, get_lock_future },
	{ "autogroup", set_autogroup, get_autogroup },
	{ "deadline", set_deadline, get_attr },
	{ "slice", set_slice, get_attr },
	{ "anon-name", set_anon_name, get_maps },
	{ "shared-name", set_shared_name, get_maps },
	{ "droppable", set_droppable, get_droppable },
	{ "noexec-memfd", set_noexec_memfd, get_noexec_memfd },
	{ "exec-memfd", set_exec_memfd, get_noexec_memfd },
	{ "timer-cancel", set_timer_cancel, get_timer_flags },
	{ "folder-position", set_folder_position, get_folder_rest },
};

VICTIM(mark)
{
	const char *kind = param_text("kind", "tsc");
	long before, now;
	size_t i;

	for (i = 0; strcmp(marks[i].name, kind); i++)
		;
	if (marks[i].set() < 0)
		cannot("%s: %s", kind, strerror(errno));
	before = marks[i].get();
	ready();
	now = marks[i].get();
	CHECK(now == before, "%s is %#lx, was %#lx", kind, now, before);
}

/* --- children whose end is told otherwise ------------------------------------------------- */
static volatile sig_atomic_t told;

static void on_signal(int sig)
{
	told = sig;
}

static siginfo_t end_of(pid_t kid)
{
	siginfo_t info = { 0 };

	SYS(waitid(P_PID, kid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL));
	return info;
}

/* The same of a child that is dead: it must not be told once more. */
VICTIM(exit_signal_dead)
{
	struct clone_args args = { .exit_signal = SIGUSR1 };
	sigset_t set, pending;
	siginfo_t info;
	pid_t kid;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	kid = SYS(syscall(SYS_clone3, &args, sizeof(args)));
	if (!kid)
		_exit(7);
	CHECK(sigwaitinfo(&set, &info) == SIGUSR1, "signal %d told of the end", info.si_signo);
	ready();
	sigpending(&pending);
	CHECK(!sigismember(&pending, SIGUSR1) && !sigismember(&pending, SIGCHLD),
	      "the end is told once more");
	CHECK(end_of(kid).si_status == 7, "the dead child is not there");
	CHECK(waitpid(kid, NULL, WNOHANG) < 0 && errno == ECHILD, "an ordinary wait finds it");
}

/* A child whose end is told by another signal than SIGCHLD, or by none. */
VICTIM(exit_signal)
{
	int sig = param("signal", SIGUSR1), status;
	struct sigaction sa = { .sa_handler = on_signal };
	struct clone_args args = { .exit_signal = sig };
	pid_t kid;

	if (sig)
		SYS(sigaction(sig, &sa, NULL));
	SYS(sigaction(SIGCHLD, &sa, NULL));
	kid = SYS(syscall(SYS_clone3, &args, sizeof(args)));
	if (!kid) {
		child_ready();
		wait_go();
		_exit(7);
	}
	wait_mark("child.%d", (int)kid);
	ready();
	CHECK(waitpid(kid, &status, WNOHANG) < 0 && errno == ECHILD,
	      "an ordinary wait finds a child that is none for it");
	CHECK(SYS(waitpid(kid, &status, __WCLONE)) == kid, "no child to wait for");
	CHECK(WEXITSTATUS(status) == 7, "status is %#x", status);
	CHECK(told == sig, "told by signal %d, not %d", told, sig);
}
