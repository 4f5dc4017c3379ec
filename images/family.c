/* family.c - the table of image families: names, magic numbers, messages, raw bytes. */
#include "images/img.h"
#include "base/mem.h"

#include "proto/apparmor.pb-c.h"
#include "proto/autofs.pb-c.h"
#include "proto/binfmt-misc.pb-c.h"
#include "proto/bpfmap.pb-c.h"
#include "proto/cgroup.pb-c.h"
#include "proto/core.pb-c.h"
#include "proto/cpuinfo.pb-c.h"
#include "proto/criu-lite.pb-c.h"
#include "proto/files.pb-c.h"
#include "proto/fs.pb-c.h"
#include "proto/fsnotify.pb-c.h"
#include "proto/ghost-file.pb-c.h"
#include "proto/inventory.pb-c.h"
#include "proto/ipc.pb-c.h"
#include "proto/lock.pb-c.h"
#include "proto/mm.pb-c.h"
#include "proto/mount.pb-c.h"
#include "proto/net.pb-c.h"
#include "proto/pagemap.pb-c.h"
#include "proto/pstree.pb-c.h"
#include "proto/remap.pb-c.h"
#include "proto/seccomp.pb-c.h"
#include "proto/sk-unix.pb-c.h"
#include "proto/stats.pb-c.h"
#include "proto/tcp-stream.pb-c.h"
#include "proto/time.pb-c.h"
#include "proto/timer.pb-c.h"
#include "proto/tty.pb-c.h"

#include <ctype.h>
#include <string.h>

/* Lengths come from the file; sums of 32-bit numbers cannot overflow 64 bits, 64-bit ones are
 * compared with the rest of the file before anything is added to them. */
static uint64_t padded(uint64_t n, uint64_t to)
{
	return n > UINT64_MAX - to ? UINT64_MAX - 1 : (n + to - 1) / to * to;
}

static uint64_t pipe_payload(const void *m)
{
	return ((const PipeDataEntry *)m)->bytes;
}

static uint64_t packet_payload(const void *m)
{
	return ((const SkPacketEntry *)m)->length;
}

static uint64_t tcp_payload(const void *m)
{
	const TcpStreamEntry *e = m;

	return (uint64_t)e->inq_len + e->outq_len;
}

static uint64_t bpfmap_payload(const void *m)
{
	const BpfmapDataEntry *e = m;

	return (uint64_t)e->keys_bytes + e->values_bytes;
}

/* Either all that is left, or chunks, each with its own length. */
static uint64_t ghost_payload(const void *m)
{
	if (((const ProtobufCMessage *)m)->descriptor == &ghost_chunk_entry__descriptor) {
		uint64_t len = ((const GhostChunkEntry *)m)->len;

		return len == UINT64_MAX ? len - 1 : len;
	}
	return ((const GhostFileEntry *)m)->chunks ? 0 : UINT64_MAX;
}

static uint64_t shm_payload(const void *m)
{
	const IpcShmEntry *e = m;

	return e->in_pagemaps ? 0 : padded(e->size, 4);
}

static uint64_t sem_payload(const void *m)
{
	return padded(2ull * ((const IpcSemEntry *)m)->nsems, 8);
}

static uint64_t msg_payload(const void *m)
{
	if (((const ProtobufCMessage *)m)->descriptor == &ipc_msg_entry__descriptor)
		return 0;
	return padded(((const IpcMsg *)m)->msize, 8);
}

static uint64_t msg_count(const void *m)
{
	return ((const IpcMsgEntry *)m)->qnum;
}

static uint64_t hash_payload(const void *m)
{
	uint64_t n = ((const SdHashRun *)m)->nr_pages;

	return n > (UINT64_MAX - 1) / 16 ? UINT64_MAX - 1 : 16 * n;
}

#define ONE(name_, magic_, type)                                                                   \
	{                                                                                          \
		.pattern = name_, .magic = magic_, .single = true, .first = &type##__descriptor    \
	}
#define MANY(name_, magic_, type)                                                                  \
	{                                                                                          \
		.pattern = name_, .magic = magic_, .first = &type##__descriptor                    \
	}
#define PAYLOAD(name_, magic_, type, payload_)                                                     \
	{                                                                                          \
		.pattern = name_, .magic = magic_, .first = &type##__descriptor,                   \
		.payload = payload_                                                                \
	}
#define PAGEMAP(name_)                                                                             \
	{                                                                                          \
		.pattern = name_, .magic = 0x56084025, .first = &pagemap_head__descriptor,         \
		.rest = &pagemap_entry__descriptor                                                 \
	}
#define RAW(name_)                                                                                 \
	{                                                                                          \
		.pattern = name_, .head = IMG_HEAD_NONE                                            \
	}

/* clang-format off */
const struct img_family img_families[] = {
	{ .pattern = "inventory.img", .magic = 0x58313116, .head = IMG_HEAD_TYPE, .single = true,
	  .first = &inventory_entry__descriptor },
	MANY("pstree.img",	0x50273030, pstree_entry),
	MANY("files.img",	0x56303138, file_entry),
	MANY("remap-fpath.img",	0x59133954, remap_file_path_entry),
	{ .pattern = "ghost-file-%x.img", .magic = 0x52583605,
	  .first = &ghost_file_entry__descriptor, .rest = &ghost_chunk_entry__descriptor,
	  .payload = ghost_payload },
	MANY("memfd.img",	0x48453499, memfd_inode_entry),
	MANY("filelocks.img",	0x54323616, file_lock_entry),
	MANY("tty-info.img",	0x59453036, tty_info_entry),
	MANY("tty-data.img",	0x59413026, tty_data_entry),
	PAYLOAD("pipes-data.img", 0x56453709, pipe_data_entry, pipe_payload),
	PAYLOAD("fifo-data.img", 0x59333054, pipe_data_entry, pipe_payload),
	PAYLOAD("sk-queues.img", 0x56264026, sk_packet_entry, packet_payload),
	{ .pattern = "tcp-stream-%x.img", .magic = 0x51465506, .single = true,
	  .first = &tcp_stream_entry__descriptor, .payload = tcp_payload },
	ONE("cgroup.img",	0x59383330, cgroup_entry),
	ONE("seccomp.img",	0x64413049, seccomp_entry),
	ONE("apparmor.img",	0x59423047, apparmor_entry),
	ONE("cpuinfo.img",	0x61404013, cpuinfo_entry),
	MANY("binfmt-misc.img",	0x67343323, binfmt_misc_entry),
	MANY("binfmt-misc-%u.img", 0x67343323, binfmt_misc_entry),
	PAYLOAD("bpfmap-data.img", 0x64324033, bpfmap_data_entry, bpfmap_payload),
	ONE("core-%u.img",	0x55053847, core_entry),
	ONE("ids-%u.img",	0x54432030, task_kobj_ids_entry),
	ONE("mm-%u.img",	0x57492820, mm_entry),
	ONE("fs-%u.img",	0x51403912, fs_entry),
	MANY("fdinfo-%u.img",	0x56213732, fdinfo_entry),
	PAGEMAP("pagemap-%u.img"),
	PAGEMAP("pagemap-shmem-%u.img"),
	RAW("pages-%u.img"),
	ONE("utsns-%u.img",	0x54473203, utsns_entry),
	ONE("ipcns-var-%u.img",	0x53115007, ipc_var_entry),
	PAYLOAD("ipcns-shm-%u.img", 0x46283044, ipc_shm_entry, shm_payload),
	{ .pattern = "ipcns-msg-%u.img", .magic = 0x55453737, .first = &ipc_msg_entry__descriptor,
	  .payload = msg_payload, .sub = &ipc_msg__descriptor, .sub_count = msg_count },
	PAYLOAD("ipcns-sem-%u.img", 0x59573019, ipc_sem_entry, sem_payload),
	MANY("mountpoints-%u.img", 0x55563928, mnt_entry),
	ONE("netns-%u.img",	0x55933752, netns_entry),
	MANY("netdev-%u.img",	0x57373951, net_device_entry),
	RAW("ifaddr-%u.img"),
	RAW("route-%u.img"),
	RAW("route6-%u.img"),
	RAW("rule-%u.img"),
	RAW("iptables-%u.img"),
	RAW("ip6tables-%u.img"),
	RAW("nftables-%u.img"),
	RAW("netns-ct-%u.img"),
	RAW("netns-exp-%u.img"),
	ONE("userns-%u.img",	0x55474906, userns_entry),
	ONE("timens-%u.img",	0x43114433, timens_entry),
	ONE("pidns-%u.img",	0x61157326, pidns_entry),
	RAW("tmpfs-dev-%u.tar.gz.img"),
	RAW("tmpfs-%u.tar.gz.img"),
	ONE("autofs-%u.img",	0x49353943, autofs_entry),
	{ .pattern = "stats-%s", .magic = 0x57093306, .head = IMG_HEAD_SERVICE, .single = true,
	  .first = &stats_entry__descriptor },
	{ .pattern = "irmap-cache", .magic = 0x57004059, .head = IMG_HEAD_SERVICE,
	  .first = &irmap_cache_entry__descriptor },

	/* Older directories: each kind of descriptor in a file of its own ... */
	MANY("reg-files.img",	0x50363636, reg_file_entry),
	MANY("ext-files.img",	0x59255641, ext_file_entry),
	MANY("ns-files.img",	0x61394011, ns_file_entry),
	MANY("eventfd.img",	0x44523722, eventfd_file_entry),
	MANY("eventpoll.img",	0x45023858, eventpoll_file_entry),
	MANY("signalfd.img",	0x57323820, signalfd_entry),
	MANY("inotify.img",	0x48424431, inotify_file_entry),
	MANY("fanotify.img",	0x55096122, fanotify_file_entry),
	MANY("pipes.img",	0x56513555, pipe_entry),
	MANY("fifo.img",	0x58364939, fifo_entry),
	MANY("unixsk.img",	0x54373943, unix_sk_entry),
	MANY("inetsk.img",	0x56443851, inet_sk_entry),
	MANY("packetsk.img",	0x60454618, packet_sock_entry),
	MANY("netlinksk.img",	0x58005614, netlink_sk_entry),
	MANY("tty.img",		0x59433025, tty_file_entry),
	MANY("tunfile.img",	0x57143751, tunfile_entry),
	MANY("timerfd.img",	0x50493712, timerfd_entry),
	MANY("pidfd.img",	0x54435556, pidfd_entry),
	MANY("eventpoll-tfd.img", 0x44433746, eventpoll_tfd_entry),
	MANY("inotify-wd.img",	0x54562009, inotify_wd_entry),
	MANY("fanotify-mark.img", 0x56506035, fanotify_mark_entry),
	/* ... and each part of a task. */
	MANY("vmas-%u.img",	0x54123737, vma_entry),
	MANY("sigacts-%u.img",	0x55344201, sa_entry),
	ONE("creds-%u.img",	0x54023547, creds_entry),
	MANY("signal-s-%u.img",	0x59255647, siginfo_entry),
	MANY("signal-p-%u.img",	0x59255647, siginfo_entry),
	MANY("itimers-%u.img",	0x57464056, itimer_entry),
	MANY("posix-timers-%u.img", 0x52603957, posix_timer_entry),
	MANY("rlimit-%u.img",	0x57113925, rlimit_entry),

	/* Ours: "SDCH", "SDTX", "SDHS", "SDAR" as they look in a dump of the file. */
	{ .pattern = "criu-lite.img", .magic = 0x48434453, .single = true, .sealed = true,
	  .first = &sd_checkpoint__descriptor },
	MANY("criu-lite-tasks.img", 0x58544453, sd_task_extra),
	PAYLOAD("criu-lite-hashes-%u.img", 0x53484453, sd_hash_run, hash_payload),
	PAYLOAD("criu-lite-hashes-shmem-%u.img", 0x53484453, sd_hash_run, hash_payload),
	{ .pattern = "armed", .magic = 0x52414453, .single = true, .sealed = true,
	  .first = &sd_armed__descriptor },
	{},
};
/* clang-format on */

/* The end of what @conversion accepts at @s. */
static const char *pass(const char *s, char conversion)
{
	if (conversion == 'u')
		while (isdigit((unsigned char)*s))
			s++;
	else if (conversion == 'x')
		while (isxdigit((unsigned char)*s))
			s++;
	else
		while (islower((unsigned char)*s))
			s++;
	return s;
}

static bool matches(const char *pattern, const char *name)
{
	const char *star = strchr(pattern, '%'), *end;
	size_t before;

	if (!star)
		return !strcmp(pattern, name);
	before = star - pattern;
	if (strncmp(pattern, name, before))
		return false;
	end = pass(name + before, star[1]);
	return end > name + before && !strcmp(end, star + 2);
}

const struct img_family *img_family_of(const char *name)
{
	for (const struct img_family *f = img_families; f->pattern; f++)
		if (matches(f->pattern, name))
			return f;
	return NULL;
}
