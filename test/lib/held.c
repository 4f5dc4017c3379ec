/*
 * held.c - a file whose next read ends when it is told to: a FUSE filesystem of one file.
 *
 *   held MOUNTPOINT DIR [direct]
 *
 * DIR/held.ready appears when MOUNTPOINT/data can be opened, DIR/held.reading when somebody
 * reads from it; the read ends when DIR/held.go appears, and gives 'F's. With "direct" the kernel reads
 * past its cache into the reader's pages, as with O_DIRECT, but without the flag.
 * Exits 77 where the kernel has no FUSE, and 0 when the mount is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DATA = 2, SIZE = 1 << 20, FOREVER = 1000000, LONGEST = 1 << 18 };

struct held {
	int fuse;
	const char *dir;
	bool direct;
	struct fuse_read_in read; /* .size 0: nobody waits */
	uint64_t reader;
};

static void die(const char *what)
{
	fprintf(stderr, "held: %s: %s\n", what, strerror(errno));
	exit(1);
}

static char *in_dir(const struct held *h, const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/held.%s", h->dir, name);
	return path;
}

static void mark(const struct held *h, const char *name)
{
	int fd = open(in_dir(h, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		die(name);
	close(fd);
}

static void answer(const struct held *h, uint64_t unique, int error, const void *body, size_t n)
{
	struct fuse_out_header head = { .len = sizeof(head) + n, .error = error, .unique = unique };
	struct iovec iov[] = { { &head, sizeof(head) }, { (void *)body, n } };

	if (writev(h->fuse, iov, 2) < 0 && errno != ENOENT)
		die("answering");
}

static struct fuse_attr attr_of(uint64_t ino)
{
	const bool data = ino == DATA;

	return (struct fuse_attr) {
		.ino = ino,
		.mode = data ? S_IFREG | 0644 : S_IFDIR | 0755,
		.nlink = data ? 1 : 2,
		.size = data ? SIZE : 0,
		.blksize = 4096,
	};
}

static void look_up(const struct held *h, const struct fuse_in_header *in)
{
	const struct fuse_entry_out out = {
		.nodeid = DATA,
		.entry_valid = FOREVER,
		.attr_valid = FOREVER,
		.attr = attr_of(DATA),
	};
	bool found = !strcmp((const char *)(in + 1), "data");

	answer(h, in->unique, found ? 0 : -ENOENT, &out, found ? sizeof(out) : 0);
}

static void give(struct held *h)
{
	static char bytes[LONGEST];

	memset(bytes, 'F', sizeof(bytes));
	answer(h, h->reader, 0, bytes, h->read.size);
	h->read.size = 0;
}

static void serve(struct held *h, const struct fuse_in_header *in)
{
	const struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 4096, .max_write = 4096
	};
	const struct fuse_attr_out attr = { .attr_valid = FOREVER, .attr = attr_of(in->nodeid) };
	const struct fuse_open_out opened = { .open_flags = h->direct ? FOPEN_DIRECT_IO : 0 };
	const struct fuse_statfs_out stat = { .st = { .bsize = 4096, .namelen = 255 } };

	switch (in->opcode) {
	case FUSE_INIT:
		answer(h, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		look_up(h, in);
		break;
	case FUSE_GETATTR:
		answer(h, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		answer(h, in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_STATFS:
		answer(h, in->unique, 0, &stat, sizeof(stat));
		break;
	case FUSE_READ:
		h->reader = in->unique;
		h->read = *(const struct fuse_read_in *)(in + 1);
		mark(h, "reading");
		break;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		answer(h, in->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT: /* the read goes on */
		break;
	default:
		answer(h, in->unique, -ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	static char request[LONGEST] __attribute__((aligned(8)));
	struct held h = { .fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK) };
	char options[128];

	if (argc < 3)
		return 2;
	if (h.fuse < 0)
		return 77;
	h.dir = argv[2];
	h.direct = argc > 3;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", h.fuse);
	if (mount("held", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0)
		die("mount");
	mark(&h, "ready");
	for (;;) {
		struct pollfd p = { h.fuse, POLLIN, 0 };
		ssize_t n;

		if (h.read.size && access(in_dir(&h, "go"), F_OK) == 0)
			give(&h);
		if (poll(&p, 1, h.read.size ? 10 : -1) <= 0)
			continue;
		n = read(h.fuse, request, sizeof(request));
		if (n < 0 && errno == ENODEV)
			return 0;
		if (n >= (ssize_t)sizeof(struct fuse_in_header))
			serve(&h, (const struct fuse_in_header *)request);
	}
}
