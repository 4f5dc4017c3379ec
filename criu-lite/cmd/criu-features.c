/* criu-features.c - the probes: each tries the thing itself, or looks where the kernel shows it. */
#include "criu-lite/cmd/criu-features.h"
#include <sys/ptrace.h>

#include "base/kernel-abi.h"
#include "base/mem.h"
#include "criu-lite/track/track.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/inet_diag.h>
#include <linux/kcmp.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>

/* Newer than the system's headers. */
#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif
#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef TUNGETDEVNETNS
#define TUNGETDEVNETNS _IO('T', 227)
#endif
#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#endif
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#define ARCH_MAP_VDSO_32		0x2002
#define ARCH_MAP_VDSO_64		0x2003
#define MOVE_MOUNT_SET_GROUP_FLAG	0x100
#define IP6_FREEBIND			78
#define PAGE				4096ul

/* --- looking ------------------------------------------------------------------------------ */

static bool there(const char *path)
{
	return access(path, F_OK) == 0;
}

static bool file_says(const char *path, const char *words)
{
	scoped_file f = fopen(path, "re");
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, words))
			return true;
	return false;
}

static bool fdinfo_says(int fd, const char *words)
{
	scoped char *path = xasprintf("/proc/self/fdinfo/%d", fd);

	return file_says(path, words);
}

static bool in_path(const char *program)
{
	static const char *const dirs[] = { "/usr/sbin", "/sbin", "/usr/bin", "/bin" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		scoped char *path = xasprintf("%s/%s", dirs[i], program);

		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static bool has_mnt_id(void)
{
	scoped_fd fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fdinfo_says(fd, "mnt_id:");
}

static bool has_timerfd(void)
{
	scoped_fd fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	return fdinfo_says(fd, "settime flags");
}

static bool has_fdinfo_lock(void)
{
	scoped_fd fd = memfd_create("lock", MFD_CLOEXEC);

	return flock(fd, LOCK_EX) == 0 && fdinfo_says(fd, "lock:");
}

static bool has_ns_pid(void)
{
	return file_says("/proc/self/status", "NSpid:");
}

static bool has_userns(void)
{
	return there("/proc/self/ns/user");
}

static bool has_cgroupns(void)
{
	return there("/proc/self/ns/cgroup");
}

static bool has_timens(void)
{
	return there("/proc/self/ns/time_for_children");
}

static bool has_loginuid(void)
{
	return access("/proc/self/loginuid", W_OK) == 0;
}

static bool has_autofs(void)
{
	return file_says("/proc/filesystems", "autofs");
}

static bool has_apparmor_stacking(void)
{
	return file_says("/sys/kernel/security/apparmor/features/domain/stack", "yes");
}

static bool has_legacy_iptables(void)
{
	return in_path("iptables-legacy");
}

static bool has_nftables(void)
{
	scoped_fd fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	return fd >= 0 && (there("/proc/net/netfilter") || there("/sys/module/nf_tables"));
}

/* A mapped file shows the device that stat(2) does, also on overlayfs. */
static bool has_overlayfs_maps(void)
{
	scoped_file f = fopen("/proc/self/maps", "re");
	unsigned int major_nr, minor_nr;
	unsigned long inode;
	char line[512], path[256];
	struct stat st;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %*s %*s %x:%x %lu %255s", &major_nr, &minor_nr, &inode,
			   path) == 4 &&
		    inode && *path == '/' && !stat(path, &st))
			return st.st_ino == inode;
	return false;
}

/* --- calls in this process ------------------------------------------------------------------- */

static bool has_aio_remap(void)
{
	unsigned long ring = 0;
	void *to = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *moved;
	long rc = syscall(SYS_io_setup, 1, &ring);

	if (rc < 0)
		return false;
	moved = mremap((void *)ring, PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, to);
	rc = moved == MAP_FAILED ? -1 : syscall(SYS_io_getevents, moved, 0, 1, to, NULL);
	syscall(SYS_io_destroy, moved == MAP_FAILED ? ring : (unsigned long)moved);
	munmap(to, 16 * PAGE);
	return moved != MAP_FAILED && rc == 0;
}

static bool has_tun(void)
{
	scoped_fd fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	return fd >= 0;
}

/* Refused for want of a device: known. */
static bool has_tun_ns(void)
{
	scoped_fd fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int ns;

	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		return false;
	ns = ioctl(fd, TUNGETDEVNETNS);
	mem_close_p(&ns);
	return ns >= 0;
}

static bool uffd_has(uint64_t features)
{
	scoped_fd fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API };

	return fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 && (api.features & features) == features;
}

static bool has_uffd(void)
{
	return uffd_has(0);
}

static bool has_uffd_noncoop(void)
{
	return uffd_has(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
			UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP);
}

static bool has_kcmp_epoll(void)
{
	struct kcmp_epoll_slot slot = {};
	struct epoll_event ev = { .events = EPOLLIN };
	scoped_fd ep = epoll_create1(EPOLL_CLOEXEC);
	scoped_fd fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (ep < 0 || fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		return false;
	slot.efd = (unsigned int)ep;
	slot.tfd = (unsigned int)fd;
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, fd, &slot) == 0;
}

static bool has_memfd_hugetlb(void)
{
	scoped_fd fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);

	return fd >= 0;
}

static bool has_openat2(void)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC };
	scoped_fd fd = (int)syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof(how));

	return fd >= 0;
}

static bool has_pidfd_store(void)
{
	scoped_fd pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	scoped_fd fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, pidfd, 0);

	return fd >= 0;
}

static bool has_move_mount_set_group(void)
{
	long rc = syscall(SYS_move_mount, -1, "", -1, "", MOVE_MOUNT_SET_GROUP_FLAG);

	return rc >= 0 || (errno != ENOSYS && errno != EINVAL);
}

static bool scan_works(uint64_t category)
{
	scoped_fd fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct pm_scan_arg arg = { .size = sizeof(arg), .return_mask = category };

	arg.category_anyof_mask = category;
	return fd >= 0 && ioctl(fd, PAGEMAP_SCAN, &arg) >= 0;
}

static bool has_pagemap_scan(void)
{
	return scan_works(PAGE_IS_PRESENT);
}

static bool has_pagemap_scan_guard(void)
{
	return scan_works(PAGE_IS_GUARD);
}

static bool has_timer_cr_ids(void)
{
	return prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
}

static bool has_mem_dirty_track(void)
{
	const char *best = track_choice("auto");

	return best && strcmp(best, "none");
}

/* --- sockets ------------------------------------------------------------------------------------- */

static bool has_sk_ns(void)
{
	scoped_fd fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	scoped_fd ns = ioctl(fd, SIOCGSKNS);

	return ns >= 0;
}

/* One without a path has no file to open: known all the same. */
static bool has_sk_unix_file(void)
{
	scoped_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	scoped_fd file = ioctl(fd, SIOCUNIXFILE);

	return file >= 0 || errno == ENOENT || errno == EINVAL;
}

static bool has_sockopt_buf_lock(void)
{
	scoped_fd fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t value = 0;
	socklen_t n = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &value, &n) == 0;
}

static bool has_ipv6_freebind(void)
{
	scoped_fd fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int one = 1;

	return setsockopt(fd, SOL_IPV6, IP6_FREEBIND, &one, sizeof(one)) == 0;
}

/* The repair mode of a connection whose other side is closed. */
static bool has_tcp_half_closed(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	scoped_fd listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	scoped_fd client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	scoped_fd server = -1;
	socklen_t n = sizeof(sa);
	int on = 1;

	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&sa, &n) < 0 ||
	    connect(client, (struct sockaddr *)&sa, n) < 0)
		return false;
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return server >= 0 && shutdown(client, SHUT_WR) == 0 &&
	       setsockopt(client, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) == 0;
}

/* Send a request, look at the first answer: its type, or the negative error it brings. */
static int netlink_ask(int protocol, const void *request, size_t len)
{
	scoped_fd fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	union {
		struct nlmsghdr head;
		char room[8192];
	} answer = {};
	struct timeval limit = { .tv_sec = 2 };
	const struct nlmsgerr *e = NLMSG_DATA(&answer.head);
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (fd < 0 || send(fd, request, len, 0) != (ssize_t)len)
		return -EIO;
	n = recv(fd, &answer, sizeof(answer), 0);
	if (n < (ssize_t)sizeof(answer.head))
		return -EIO;
	return answer.head.nlmsg_type == NLMSG_ERROR ? e->error : answer.head.nlmsg_type;
}

static bool has_net_diag_raw(void)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 rq;
	} ask = { .head = { .nlmsg_len = sizeof(ask),
			    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		  .rq = { .sdiag_family = AF_INET,
			  .sdiag_protocol = IPPROTO_RAW,
			  .idiag_states = ~0u } };

	return netlink_ask(NETLINK_SOCK_DIAG, &ask, sizeof(ask)) >= 0;
}

static bool has_nsid(void)
{
	struct {
		struct nlmsghdr head;
		struct rtgenmsg gen;
		char pad[3];
		struct nlattr attr;
		int32_t fd;
	} ask = { .head = { .nlmsg_len = sizeof(ask),
			    .nlmsg_type = RTM_GETNSID,
			    .nlmsg_flags = NLM_F_REQUEST },
		  .attr = { .nla_len = 8, .nla_type = NETNSA_FD } };
	scoped_fd ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	ask.fd = ns;
	return ns >= 0 && netlink_ask(NETLINK_ROUTE, &ask, sizeof(ask)) == RTM_NEWNSID;
}

/* An attribute with a value that the kernel must look at: -EOPNOTSUPP, or nothing said, is no. */
static int ask_link(uint16_t type, uint16_t attribute, int32_t value)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
		struct nlattr attr;
		int32_t value;
	} ask = { .head = { .nlmsg_len = sizeof(ask),
			    .nlmsg_type = type,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		  .link = { .ifi_index = 1 },
		  .attr = { .nla_len = 8, .nla_type = attribute },
		  .value = value };

	return netlink_ask(NETLINK_ROUTE, &ask, sizeof(ask));
}

/* There is no such namespace: it was looked for. */
static bool has_link_nsid(void)
{
	return ask_link(RTM_GETLINK, IFLA_TARGET_NETNSID, 0x7ffffffe) == -EINVAL;
}

static bool has_newifindex(void)
{
	return ask_link(RTM_NEWLINK, IFLA_NEW_IFINDEX, -1) < 0;
}

/* --- in a child ------------------------------------------------------------------------------------ */

/* Does @what hold in a child? It may break the child. */
static bool child_says(bool (*what)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(what() ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

static bool maps_vdso_64(void)
{
	long rc = syscall(SYS_arch_prctl, ARCH_MAP_VDSO_64, 0);

	return rc >= 0 || errno == EEXIST;
}

static bool maps_vdso_32(void)
{
	long rc = syscall(SYS_arch_prctl, ARCH_MAP_VDSO_32, 0);

	return rc >= 0 || errno == EEXIST;
}

static bool has_can_map_vdso(void)
{
	return child_says(maps_vdso_64);
}

static bool has_compat_cr(void)
{
	return child_says(maps_vdso_32);
}

/* A stopped tracee to try a request on. */
static bool on_tracee(bool (*what)(pid_t pid))
{
	bool yes = false;
	int status;
	pid_t pid = fork();

	if (!pid) {
		for (;;)
			pause();
	}
	if (pid < 0)
		return false;
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 && ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0 &&
	    waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
		yes = what(pid);
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
		;
	return yes;
}

static bool suspends_seccomp(pid_t pid)
{
	return ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_SUSPEND_SECCOMP) == 0;
}

/* The tracee has no filter: being told so is an answer. */
static bool gets_filters(pid_t pid)
{
	return ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, NULL) >= 0 || errno == EINVAL ||
	       errno == ENOENT;
}

static bool gets_rseq(pid_t pid)
{
	char conf[64];

	return ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, sizeof(conf), conf) > 0;
}

static bool sets_breakpoint(pid_t pid)
{
	return ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), PAGE) == 0 &&
	       ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 1) == 0;
}

static bool has_seccomp_suspend(void)
{
	return on_tracee(suspends_seccomp);
}

static bool has_seccomp_filters(void)
{
	return on_tracee(gets_filters);
}

static bool has_rseq_conf(void)
{
	return on_tracee(gets_rseq);
}

static bool has_breakpoints(void)
{
	return on_tracee(sets_breakpoint);
}

/* A number that is taken is refused as that. */
static bool has_clone3_set_tid(void)
{
	pid_t self = getpid();
	struct clone_args args = { .exit_signal = SIGCHLD,
				   .set_tid = (uint64_t)(uintptr_t)&self,
				   .set_tid_size = 1 };
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (!pid)
		_exit(0);
	return pid < 0 && errno == EEXIST;
}

/* --- the table ---------------------------------------------------------------------------------------- */

const struct criu_feature criu_features[] = {
	{ "mnt_id", NEED_NEVER, has_mnt_id },
	{ "mem_dirty_track", NEED_SOME, has_mem_dirty_track },
	{ "aio_remap", NEED_NEVER, has_aio_remap },
	{ "timerfd", NEED_SOME, has_timerfd },
	{ "tun", NEED_NEVER, has_tun },
	{ "tun_ns", NEED_NEVER, has_tun_ns },
	{ "userns", NEED_NEVER, has_userns },
	{ "fdinfo_lock", NEED_ALWAYS, has_fdinfo_lock },
	{ "seccomp_suspend", NEED_ALWAYS, has_seccomp_suspend },
	{ "seccomp_filters", NEED_ALWAYS, has_seccomp_filters },
	{ "loginuid", NEED_SOME, has_loginuid },
	{ "cgroupns", NEED_NEVER, has_cgroupns },
	{ "autofs", NEED_NEVER, has_autofs },
	{ "tcp_half_closed", NEED_NEVER, has_tcp_half_closed },
	{ "compat_cr", NEED_NEVER, has_compat_cr },
	{ "uffd", NEED_SOME, has_uffd },
	{ "uffd-noncoop", NEED_NEVER, has_uffd_noncoop },
	{ "can_map_vdso", NEED_NEVER, has_can_map_vdso },
	{ "sk_ns", NEED_NEVER, has_sk_ns },
	{ "sk_unix_file", NEED_NEVER, has_sk_unix_file },
	{ "net_diag_raw", NEED_NEVER, has_net_diag_raw },
	{ "nsid", NEED_NEVER, has_nsid },
	{ "link_nsid", NEED_NEVER, has_link_nsid },
	{ "kcmp_epoll", NEED_SOME, has_kcmp_epoll },
	{ "timens", NEED_NEVER, has_timens },
	{ "external_net_ns", NEED_NEVER, has_nsid },
	{ "clone3_set_tid", NEED_ALWAYS, has_clone3_set_tid },
	{ "newifindex", NEED_NEVER, has_newifindex },
	{ "nftables", NEED_NEVER, has_nftables },
	{ "has_ipt_legacy", NEED_NEVER, has_legacy_iptables },
	{ "pidfd_store", NEED_ALWAYS, has_pidfd_store },
	{ "ns_pid", NEED_NEVER, has_ns_pid },
	{ "apparmor_stacking", NEED_NEVER, has_apparmor_stacking },
	{ "network_lock_nftables", NEED_NEVER, has_nftables },
	{ "sockopt_buf_lock", NEED_NEVER, has_sockopt_buf_lock },
	{ "memfd_hugetlb", NEED_NEVER, has_memfd_hugetlb },
	{ "move_mount_set_group", NEED_NEVER, has_move_mount_set_group },
	{ "openat2", NEED_NEVER, has_openat2 },
	{ "get_rseq_conf", NEED_SOME, has_rseq_conf },
	{ "ipv6_freebind", NEED_NEVER, has_ipv6_freebind },
	{ "pagemap_scan", NEED_SOME, has_pagemap_scan },
	{ "timer_cr_ids", NEED_NEVER, has_timer_cr_ids },
	{ "overlayfs_maps", NEED_SOME, has_overlayfs_maps },
	{ "breakpoints", NEED_NEVER, has_breakpoints },
	{ "pagemap_scan_guard_pages", NEED_SOME, has_pagemap_scan_guard },
	{},
};

const struct criu_feature *criu_feature_find(const char *name)
{
	for (const struct criu_feature *f = criu_features; f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}
