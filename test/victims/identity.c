/* identity.c - victims: who a task is and what it may do. */
#include "victim.h"

#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* All that /proc says about it, before and after. */
static const char keys[] = "Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp";

static void same_identity(char *before)
{
	char *now = file_lines(TEXT_C, "/proc/thread-self/status", keys);

	CHECK(!strcmp(before, now), "identity was:\n%sis:\n%s", before, now);
}

static void become(uid_t uid)
{
	gid_t groups[] = { 7, 1000, 70000, 1234567 };

	SYS(setgroups(4, groups));
	SYS(setresgid(uid + 100, uid + 101, uid + 102));
	SYS(setresuid(uid, uid + 1, uid + 2));
}

VICTIM(user)
{
	char *before;

	become(param("uid", 1001));
	setfsgid(1102);
	before = strdup(file_lines(TEXT_A, "/proc/self/status", keys));
	ready();
	same_identity(before);
	CHECK(getuid() == 1001 && geteuid() == 1002, "uid is %d, %d", getuid(), geteuid());
}

static void user_child(void *uid)
{
	char *before;

	become((long)uid);
	before = strdup(file_lines(TEXT_A, "/proc/self/status", keys));
	child_ready();
	wait_go();
	same_identity(before);
}

/* Each task of the tree is somebody else. */
VICTIM(users)
{
	pid_t a, b;

	a = child(user_child, (void *)2000L);
	b = child(user_child, (void *)3000L);
	ready();
	join(a);
	join(b);
}

/* --- capabilities ------------------------------------------------------------ */
static void set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++)
		data[i] =
			(struct __user_cap_data_struct) { effective >> 32 * i, permitted >> 32 * i,
							  inheritable >> 32 * i };
	SYS(syscall(SYS_capset, &head, data));
}

#define CAP(name) (1ULL << CAP_##name)

static void few_caps(void)
{
	uint64_t permitted = CAP(NET_RAW) | CAP(CHOWN) | CAP(KILL) | CAP(SETPCAP) | CAP(SYSLOG);

	set_caps(CAP(KILL) | CAP(CHOWN), permitted, CAP(KILL) | CAP(NET_RAW) | CAP(SYSLOG));
	if (!param("ambient", 1))
		return;
	SYS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
	SYS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYSLOG, 0, 0));
}

/* All five sets differ from each other; also as a user that is not root. */
VICTIM(capabilities)
{
	char *before;

	SYS(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME));
	SYS(prctl(PR_CAPBSET_DROP, CAP_MKNOD));
	if (param("uid", 0)) {
		SYS(prctl(PR_SET_KEEPCAPS, 1));
		become(param("uid", 0));
	}
	few_caps();
	before = strdup(file_lines(TEXT_A, "/proc/self/status", keys));
	ready();
	same_identity(before);
	CHECK(prctl(PR_GET_KEEPCAPS) == (param("uid", 0) ? 1 : 0), "keepcaps changed");
}

VICTIM(securebits)
{
	int bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
		   SECBIT_KEEP_CAPS_LOCKED;

	SYS(prctl(PR_SET_SECUREBITS, bits));
	ready();
	CHECK(prctl(PR_GET_SECUREBITS) == bits, "securebits are %x, were %x",
	      prctl(PR_GET_SECUREBITS), bits);
}

VICTIM(no_new_privs)
{
	SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	ready();
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no_new_privs was lost");
}

/* --- seccomp --------------------------------------------------------------------- */
static int to_strict[2], from_strict[2];

static void strict(void *unused)
{
	char c;

	child_ready();
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		_exit(1);
	while (read(to_strict[0], &c, 1) == 1 && write(from_strict[1], &c, 1) == 1)
		;
	syscall(SYS_exit, 0);
}

static int seccomp_mode(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	return atoi(file_lines(TEXT_B, path, "Seccomp:") + 8);
}

static void echo(char want)
{
	char c = 0;

	CHECK(write(to_strict[1], &want, 1) == 1, "write");
	CHECK(read(from_strict[0], &c, 1) == 1 && c == want, "no echo");
}

VICTIM(seccomp_strict)
{
	pid_t kid;

	SYS(pipe(to_strict));
	SYS(pipe(from_strict));
	kid = child(strict, NULL);
	echo('a');
	ready();
	echo('b');
	CHECK(seccomp_mode(kid) == SECCOMP_MODE_STRICT, "seccomp mode is %d", seccomp_mode(kid));
	/* Any other call ends it; the pipe's end of file leads it to exit. */
	close(to_strict[1]);
	SYS(kill(kid, SIGKILL));
	SYS(waitpid(kid, NULL, 0));
}

/* A filter that answers system call @nr with errno @code. */
static void deny(int nr, int code, unsigned flags)
{
	struct sock_filter code_of[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code_of) / sizeof(code_of[0]), code_of };

	SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	SYS(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog));
}

static void is_denied(int nr, int code)
{
	CHECK(syscall(nr, 0, 0, 0) == -1 && errno == code, "call %d is not denied with %d", nr,
	      code);
}

VICTIM(seccomp_filters)
{
	char *before;

	deny(SYS_getpgid, 91, 0);
	deny(SYS_getpriority, 92, 0);
	deny(SYS_getpriority, 93, 0); /* all run; of equal answers the newest filter's counts */
	before = strdup(file_lines(TEXT_A, "/proc/self/status", keys));
	ready();
	same_identity(before);
	is_denied(SYS_getpgid, 91);
	is_denied(SYS_getpriority, 93);
	CHECK(getsid(0) > 0, "a call that is allowed fails");
}

static pthread_barrier_t filtered;
static int check_now;

static void *own_filter(void *number)
{
	if ((long)number)
		deny(SYS_getpgid, 80 + (long)number, 0);
	pthread_barrier_wait(&filtered);
	while (!__atomic_load_n(&check_now, __ATOMIC_ACQUIRE))
		nap();
	if ((long)number)
		is_denied(SYS_getpgid, 80 + (long)number);
	else
		CHECK(getpgid(0) > 0, "a thread without a filter has one");
	return NULL;
}

VICTIM(seccomp_threads)
{
	pthread_t t[3];

	pthread_barrier_init(&filtered, NULL, 4);
	for (long i = 0; i < 3; i++)
		CHECK(!pthread_create(&t[i], NULL, own_filter, (void *)i), "pthread_create");
	pthread_barrier_wait(&filtered);
	ready();
	__atomic_store_n(&check_now, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

/* A filter that came by fork, with one more on top. */
static void inherited(void *unused)
{
	deny(SYS_getpriority, 95, 0);
	child_ready();
	wait_go();
	is_denied(SYS_getpgid, 94);
	is_denied(SYS_getpriority, 95);
}

VICTIM(seccomp_inherited)
{
	pid_t kid;

	deny(SYS_getpgid, 94, 0);
	kid = child(inherited, NULL);
	ready();
	is_denied(SYS_getpgid, 94);
	CHECK(syscall(SYS_getpriority, 0, 0) > 0, "the child's filter came to the parent");
	join(kid);
}
