/*
 * refused.c - victims: what cannot be saved. sd-dump must say so, naming the
 * task, the descriptor and the kind, write nothing, and do no harm: each
 * checks afterwards that what it holds still works.
 */
#include "victim.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/kernel-abi.h"

static void expect_fd(int fd)
{
	expect_text("fd %d", fd);
}

static void still_open(int fd)
{
	CHECK(fcntl(fd, F_GETFD) >= 0, "descriptor %d is gone", fd);
}

/* --- descriptors: how to get one -------------------------------------------------- */
static int get_socketpair(void)
{
	int fd[2];

	SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
	return fd[1];
}

static int get_tcp(void)
{
	int fd = SYS(socket(AF_INET, SOCK_STREAM, 0));

	SYS(listen(fd, 5));
	return fd;
}

static int get_udp(void)
{
	return SYS(socket(AF_INET6, SOCK_DGRAM, 0));
}

static int get_netlink(void)
{
	return SYS(socket(AF_NETLINK, SOCK_RAW, 0));
}

static int get_pty(void)
{
	return SYS(open("/dev/ptmx", O_RDWR | O_NOCTTY));
}

static int get_deleted(void)
{
	int fd = make_file("gone", 5000, 1);

	SYS(unlink(in_dir("gone")));
	return fd;
}

static int get_inotify(void)
{
	int fd = SYS(inotify_init1(0));

	SYS(inotify_add_watch(fd, "/etc", IN_CREATE));
	return fd;
}

static int get_fanotify(void)
{
	return SYS(fanotify_init(FAN_CLASS_NOTIF, O_RDONLY));
}

static int get_io_uring(void)
{
	struct io_uring_params p = { 0 };

	return syscall(SYS_io_uring_setup, 8, &p);
}

static int get_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, 0);

	if (fd >= 0)
		SYS(ioctl(fd, UFFDIO_API, &api));
	return fd;
}

static int get_perf(void)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(a),
				     .config = PERF_COUNT_SW_DUMMY };

	return syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

static int get_bpf(void)
{
	union bpf_attr a = { 0 };

	a.map_type = BPF_MAP_TYPE_ARRAY;
	a.key_size = 4;
	a.value_size = 4;
	a.max_entries = 1;
	return syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a));
}

static int get_pidfd(void)
{
	return SYS(syscall(SYS_pidfd_open, getpid(), 0));
}

static int get_mqueue(void)
{
	int fd = mq_open("/sd-test-queue", O_RDWR | O_CREAT, 0600, NULL);

	if (fd >= 0)
		mq_unlink("/sd-test-queue");
	return fd;
}

static int get_flock(void)
{
	int fd = make_file("locked", 100, 1);

	SYS(flock(fd, LOCK_EX));
	return fd;
}

static int get_posix_lock(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = 10, .l_len = 20 };
	int fd = make_file("locked", 100, 1);

	SYS(fcntl(fd, F_SETLK, &lock));
	return fd;
}

static int get_ofd_lock(void)
{
	struct flock lock = { .l_type = F_RDLCK, .l_start = 10, .l_len = 20 };
	int fd = make_file("locked", 100, 1);

	SYS(fcntl(fd, F_OFD_SETLK, &lock));
	return fd;
}

static int get_lease(void)
{
	int fd;

	close(make_file("leased", 100, 1));
	fd = SYS(open(in_dir("leased"), O_RDONLY));
	if (fcntl(fd, F_SETLEASE, F_RDLCK))
		cannot("no leases here: %s", strerror(errno));
	return fd;
}

static int get_packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static int get_vsock(void)
{
	return socket(AF_VSOCK, SOCK_STREAM, 0);
}

static int get_raw(void)
{
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static int get_pts(void)
{
	int master = SYS(open("/dev/ptmx", O_RDWR | O_NOCTTY));

	SYS(grantpt(master));
	SYS(unlockpt(master));
	return open(ptsname(master), O_RDWR | O_NOCTTY);
}

static int get_namespace(void)
{
	return open("/proc/self/ns/net", O_RDONLY);
}

/* A mount that hangs nowhere; its path is "/". */
static int get_mount(void)
{
	return syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

static int get_mount_context(void)
{
	return syscall(SYS_fsopen, "tmpfs", 0);
}

static int get_landlock(void)
{
	struct landlock_ruleset_attr a = { .handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE };

	return syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0);
}

static int get_seccomp_listener(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = { 1, &allow };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
		       &prog);
}

static int get_secret(void)
{
	return syscall(SYS_memfd_secret, 0);
}

static int get_uffd_device(void)
{
	int dev = open("/dev/userfaultfd", O_RDWR);

	return dev < 0 ? -1 : ioctl(dev, USERFAULTFD_IOC_NEW, 0);
}

static int get_kmsg(void)
{
	return open("/dev/kmsg", O_RDONLY);
}

static int get_proc_mem(void)
{
	return open("/proc/self/mem", O_RDWR);
}

/* It lives as long as the descriptor through which it was set. */
static int get_pressure_trigger(void)
{
	int fd = open("/proc/pressure/cpu", O_RDWR | O_NONBLOCK);

	if (fd >= 0 && write(fd, "some 500000 2000000", 20) < 0)
		return -1;
	return fd;
}

static int get_tracing(void)
{
	SYS(mkdir(in_dir("tracing"), 0755));
	if (mount("none", in_dir("tracing"), "tracefs", 0, NULL))
		return -1;
	return open(in_dir("tracing/trace_pipe"), O_RDONLY | O_NONBLOCK);
}

static int get_bpf_prog(void)
{
	struct bpf_insn insn[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K },
				   { .code = BPF_JMP | BPF_EXIT } };
	union bpf_attr a = { 0 };

	a.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	a.insns = (uintptr_t)insn;
	a.insn_cnt = 2;
	a.license = (uintptr_t) "MIT";
	return syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a));
}

static int get_fuse(void)
{
	return open("/dev/fuse", O_RDWR);
}

static int get_tun(void)
{
	return open("/dev/net/tun", O_RDWR);
}

/* Any that may be opened: which there are differs, and some are denied to all. */
static int get_block_device(void)
{
	DIR *dev = opendir("/dev");
	struct dirent *e;
	int fd = -1;

	while (fd < 0 && dev && (e = readdir(dev)))
		if (e->d_type == DT_BLK)
			fd = openat(dirfd(dev), e->d_name, O_RDONLY | O_NONBLOCK);
	if (dev)
		closedir(dev);
	return fd;
}

static int get_pidfd_of_thread(void)
{
	return syscall(SYS_pidfd_open, getpid(), PIDFD_THREAD);
}

static int get_huge_memfd(void)
{
	return memfd_create("huge", MFD_HUGETLB);
}

/* By its link it could be shared anonymous memory. */
static int get_zero_memfd(void)
{
	return memfd_create("/dev/zero", 0);
}

static int get_watch_queue(void)
{
	int p[2];

	return pipe2(p, O_EXCL /* O_NOTIFICATION_PIPE */) ? -1 : p[0];
}

/* The kind's word is one of those separated by '|', whatever the message calls it. */
static const struct {
	const char *name;
	int (*get)(void);
	const char *word;
} kinds[] = {
	{ "zero-memfd", get_zero_memfd, "memfd" },
	{ "socketpair", get_socketpair, "socket" },
	{ "tcp", get_tcp, "socket" },
	{ "udp", get_udp, "socket" },
	{ "netlink", get_netlink, "socket" },
	{ "pty", get_pty, "pty|ptmx|terminal" },
	{ "deleted", get_deleted, "deleted" },
	{ "inotify", get_inotify, "inotify" },
	{ "fanotify", get_fanotify, "fanotify" },
	{ "io-uring", get_io_uring, "io_uring" },
	{ "userfaultfd", get_userfaultfd, "userfaultfd" },
	{ "perf", get_perf, "perf" },
	{ "bpf", get_bpf, "bpf|BPF map" },
	{ "pidfd", get_pidfd, "pidfd" },
	{ "mqueue", get_mqueue, "mqueue|message queue|sd-test-queue" },
	{ "flock", get_flock, "lock" },
	{ "posix-lock", get_posix_lock, "lock" },
	{ "ofd-lock", get_ofd_lock, "lock" },
	{ "lease", get_lease, "lease|lock" },
	{ "packet", get_packet, "socket" },
	{ "vsock", get_vsock, "socket" },
	{ "raw", get_raw, "socket" },
	{ "pts", get_pts, "pty|terminal" },
	{ "namespace", get_namespace, "namespace" },
	{ "mount", get_mount, "mount" },
	{ "mount-context", get_mount_context, "mount context" },
	{ "landlock", get_landlock, "landlock|landlock-ruleset" },
	{ "seccomp-listener", get_seccomp_listener, "seccomp listener" },
	{ "secret", get_secret, "memfd_secret" },
	{ "uffd-device", get_uffd_device, "userfaultfd" },
	{ "kmsg", get_kmsg, "kmsg" },
	{ "proc-mem", get_proc_mem, "mem" },
	{ "pressure-trigger", get_pressure_trigger, "pressure" },
	{ "tracing", get_tracing, "tracefs|trace_pipe" },
	{ "bpf-prog", get_bpf_prog, "bpf program" },
	{ "fuse", get_fuse, "fuse" },
	{ "tun", get_tun, "tun" },
	{ "block-device", get_block_device, "block device" },
	{ "pidfd-of-thread", get_pidfd_of_thread, "pidfd" },
	{ "huge-memfd", get_huge_memfd, "huge" },
	{ "watch-queue", get_watch_queue, "watch queue" },
};
enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int get_kind(const char *name)
{
	for (int i = 0; i < N_KINDS; i++) {
		int fd;

		if (strcmp(kinds[i].name, name))
			continue;
		fd = kinds[i].get();
		if (fd < 0)
			cannot("%s: %s", name, strerror(errno));
		expect_text("task %d", getpid());
		expect_fd(fd);
		expect_text("%s", kinds[i].word);
		return fd;
	}
	fail("no row for kind %s", name);
}

VICTIM(unsupported)
{
	int fd = get_kind(param_text("kind", "tcp"));

	maps_may_change();
	ready();
	still_open(fd);
}

static void unsupported_child(void *fd)
{
	*(int *)fd = get_kind("inotify");
	child_ready();
	wait_go();
	still_open(*(int *)fd);
}

/* Two things in two tasks: both in one message. */
VICTIM(unsupported_twice)
{
	int fd = get_kind("tcp"), other;
	pid_t kid = child(unsupported_child, &other);

	ready();
	still_open(fd);
	join(kid);
}

/* --- what is no descriptor ------------------------------------------------------------ */
static void expect_task(pid_t pid, const char *word)
{
	expect_text("task %d", pid);
	expect_text("%s", word);
}

VICTIM(sysv_shm)
{
	int id = SYS(shmget(IPC_PRIVATE, 4 * PAGE, 0600));
	char *m = shmat(id, NULL, 0);

	SYS(shmctl(id, IPC_RMID, NULL));
	CHECK(m != (void *)-1, "shmat");
	fill(m, PAGE, 1);
	expect_task(getpid(), "SysV|SYSV|System V");
	ready();
	CHECK(differs(m, PAGE, 1) < 0, "content changed");
}

VICTIM(aio)
{
	aio_context_t ctx = 0;

	if (syscall(SYS_io_setup, 4, &ctx))
		cannot("no AIO: %s", strerror(errno));
	expect_task(getpid(), "AIO|aio");
	ready();
	SYS(syscall(SYS_io_destroy, ctx));
}

VICTIM(deleted_mapping)
{
	int fd = make_file("gone", 2 * PAGE, 1);
	char *m = SYS(mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0));

	close(fd);
	SYS(unlink(in_dir("gone")));
	expect_task(getpid(), "deleted");
	ready();
	CHECK(differs(m, 2 * PAGE, 1) < 0, "content changed");
}

VICTIM(deleted_cwd)
{
	SYS(mkdir(in_dir("gone"), 0755));
	SYS(chdir(in_dir("gone")));
	SYS(rmdir(in_dir("gone")));
	expect_task(getpid(), "deleted");
	ready();
}

static const struct {
	const char *name;
	int flag;
	const char *word;
} namespaces[] = {
	{ "net", CLONE_NEWNET, "net" },
	{ "uts", CLONE_NEWUTS, "uts" },
	{ "ipc", CLONE_NEWIPC, "ipc" },
	{ "mnt", CLONE_NEWNS, "mnt|mount" },
	{ "cgroup", CLONE_NEWCGROUP, "cgroup" },
	{ "user", CLONE_NEWUSER, "user" },
	{ "time", CLONE_NEWTIME, "time_for_children" },
};

VICTIM(namespace)
{
	const char *want = param_text("kind", "net");
	size_t i;

	for (i = 0; strcmp(namespaces[i].name, want); i++)
		;
	if (unshare(namespaces[i].flag))
		cannot("cannot unshare %s: %s", want, strerror(errno));
	expect_task(getpid(), namespaces[i].word);
	expect_text("namespace");
	ready();
}

/* A thread with a working directory, or a table of descriptors, of its own. */
static pthread_barrier_t apart;
static int release;

static void *live_apart(void *flag)
{
	SYS(unshare((long)flag));
	pthread_barrier_wait(&apart);
	while (!__atomic_load_n(&release, __ATOMIC_ACQUIRE))
		nap();
	return NULL;
}

VICTIM(thread_apart)
{
	bool files = !strcmp(param_text("what", "files"), "files");
	pthread_t t;

	pthread_barrier_init(&apart, NULL, 2);
	CHECK(!pthread_create(&t, NULL, live_apart, (void *)(long)(files ? CLONE_FILES : CLONE_FS)),
	      "pthread_create");
	pthread_barrier_wait(&apart);
	expect_task(getpid(), files ? "descriptor table|files" : "directory|fs|umask");
	ready();
	__atomic_store_n(&release, 1, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
}

/* Somebody else debugs it. */
static void traced(void *unused)
{
	SYS(ptrace(PTRACE_TRACEME, 0, 0, 0));
	child_ready();
	wait_go();
}

VICTIM(traced)
{
	pid_t kid = child(traced, NULL);

	expect_task(kid, "traced");
	ready();
	join(kid);
}

/* The leader has ended, its threads have not. */
static void *outlive(void *unused)
{
	child_ready();
	wait_go();
	_exit(0);
}

static void leave_threads(void *unused)
{
	pthread_t t;

	CHECK(!pthread_create(&t, NULL, outlive, NULL), "pthread_create");
	pthread_exit(NULL);
}

VICTIM(leader_gone)
{
	pid_t kid = child(leave_threads, NULL);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)kid);
	WAIT_FOR(strstr(file_text(TEXT_B, path), ") Z "), "the leader does not end");
	expect_task(kid, "leader|first thread");
	ready();
	join(kid);
}
