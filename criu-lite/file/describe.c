/* describe.c - what a descriptor is called that cannot be saved. */
#include "base/mem.h"
#include "criu-lite/file/state.h"

#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define MQUEUE_MAGIC 0x19800202 /* the file system of mq_overview(7) */

struct name_of {
	int value;
	const char *name;
};

static const struct name_of families[] = {
	{ AF_UNIX, "unix" },	   { AF_INET, "inet" },		  { AF_INET6, "inet6" },
	{ AF_NETLINK, "netlink" }, { AF_PACKET, "packet" },	  { AF_VSOCK, "vsock" },
	{ AF_ALG, "alg" },	   { AF_BLUETOOTH, "bluetooth" }, { AF_CAN, "can" },
	{ AF_XDP, "xdp" },	   { AF_TIPC, "tipc" },		  { AF_KEY, "key" },
};

static const struct name_of types[] = {
	{ SOCK_STREAM, "stream" },	 { SOCK_DGRAM, "dgram" }, { SOCK_RAW, "raw" },
	{ SOCK_SEQPACKET, "seqpacket" }, { SOCK_RDM, "rdm" },	  { SOCK_PACKET, "packet" },
};

static const struct name_of protocols[] = {
	{ IPPROTO_TCP, "tcp" },	  { IPPROTO_UDP, "udp" },     { IPPROTO_UDPLITE, "udplite" },
	{ IPPROTO_ICMP, "icmp" }, { IPPROTO_ICMPV6, "icmp" }, { IPPROTO_SCTP, "sctp" },
	{ IPPROTO_RAW, "raw" },	  { IPPROTO_MPTCP, "mptcp" }, { IPPROTO_DCCP, "dccp" },
};

/* @room: for a number that has no name here. */
static const char *name_in(const struct name_of *table, size_t n, int value, char room[16])
{
	for (size_t i = 0; i < n; i++)
		if (table[i].value == value)
			return table[i].name;
	snprintf(room, 16, "%d", value);
	return room;
}
#define NAME_IN(table, value, room) name_in(table, ARRAY_SIZE(table), value, room)

static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0)
		return -1;
	return value;
}

static void describe_socket(const struct fd_look *l, char *buf, size_t size)
{
	int family = socket_option(l->copy, SO_DOMAIN), type = socket_option(l->copy, SO_TYPE);
	char a[16], b[16];

	if (family == AF_INET || family == AF_INET6)
		snprintf(buf, size, "socket (%s%s)",
			 NAME_IN(protocols, socket_option(l->copy, SO_PROTOCOL), a),
			 family == AF_INET6 ? " over IPv6" : "");
	else
		snprintf(buf, size, "socket (%s %s)", NAME_IN(families, family, a),
			 NAME_IN(types, type, b));
}

/* "[io_uring]" or "io_uring" */
static void describe_anon(const struct proc_link *link, char *buf, size_t size)
{
	static const char *const kinds[][2] = {
		{ "bpf-map", "bpf map" },	  { "bpf-prog", "bpf program" },
		{ "bpf_link", "bpf link" },	  { "perf_event", "perf event" },
		{ "fscontext", "mount context" }, { "seccomp notify", "seccomp listener" },
	};
	const char *name = link->name;
	int len = link->name_len;

	if (len > 2 && name[0] == '[' && name[len - 1] == ']') {
		name++;
		len -= 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if ((size_t)len == strlen(kinds[i][0]) && !strncmp(name, kinds[i][0], len)) {
			snprintf(buf, size, "%s", kinds[i][1]);
			return;
		}
	snprintf(buf, size, "%.*s", len, name);
}

static void describe_node(const struct fd_look *l, char *buf, size_t size)
{
	const char *kind = S_ISBLK(l->st.st_mode) ? "block device" : "device";

	if (S_ISCHR(l->st.st_mode) && l->st.st_rdev == makedev(5, 2))
		kind = "pseudo terminal master";
	snprintf(buf, size, "%s %s (%u:%u)", kind, l->link, major(l->st.st_rdev),
		 minor(l->st.st_rdev));
}

bool file_is_mqueue(const struct fd_look *l)
{
	struct statfs fs;

	return fstatfs(l->copy, &fs) == 0 && fs.f_type == MQUEUE_MAGIC;
}

void file_describe(const struct fd_look *l, char *buf, size_t size)
{
	struct proc_link link;

	proc_link_parse(l->link, &link);
	if (l->info->is_pidfd)
		snprintf(buf, size, "pidfd (of task %d)", l->info->pidfd_pid);
	else if (S_ISSOCK(l->st.st_mode))
		describe_socket(l, buf, size);
	else if (link.kind == PROC_LINK_ANON)
		describe_anon(&link, buf, size);
	else if (link.kind == PROC_LINK_NS)
		snprintf(buf, size, "namespace %s", l->link);
	else if (S_ISCHR(l->st.st_mode) || S_ISBLK(l->st.st_mode))
		describe_node(l, buf, size);
	else if (file_is_mqueue(l))
		snprintf(buf, size, "POSIX message queue %s", l->link);
	else if (file_nameless(l->link))
		snprintf(buf, size, "%s", file_nameless(l->link));
	else
		snprintf(buf, size, "%s (file type %#o)", l->link, l->st.st_mode & S_IFMT);
}
