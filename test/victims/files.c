/* files.c - victims: what a descriptor can be. */
#include "victim.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

static void same_flags(int fd, int want)
{
	int now = SYS(fcntl(fd, F_GETFL));

	CHECK(now == want, "fd %d: flags are %#o, were %#o", fd, now, want);
}

static void write_all(int fd, const void *p, size_t n)
{
	CHECK(write(fd, p, n) == (ssize_t)n, "write to fd %d: %s", fd, strerror(errno));
}

/* --- regular files, directories, devices ------------------------------------------- */
static const int open_flags[] = {
	O_RDONLY,	 O_WRONLY | O_APPEND,  O_RDWR | O_NONBLOCK,
	O_RDWR | O_SYNC, O_RDONLY | O_NOATIME, O_RDWR | O_APPEND | O_NOFOLLOW
};
enum { N_OPEN = sizeof(open_flags) / sizeof(open_flags[0]) };

VICTIM(regular)
{
	int fd[N_OPEN], flags[N_OPEN];
	char c, want;

	close(make_file("data", 10000, 1));
	for (int i = 0; i < N_OPEN; i++) {
		fd[i] = SYS(open(in_dir("data"), open_flags[i]));
		SYS(lseek(fd[i], 1000 * (i + 1), SEEK_SET));
		flags[i] = SYS(fcntl(fd[i], F_GETFL));
	}
	ready();
	for (int i = 0; i < N_OPEN; i++) {
		CHECK(lseek(fd[i], 0, SEEK_CUR) == 1000 * (i + 1), "position is %ld, was %d",
		      lseek(fd[i], 0, SEEK_CUR), 1000 * (i + 1));
		same_flags(fd[i], flags[i]);
	}
	c = 'z';
	write_all(fd[1], &c, 1); /* O_APPEND: at the end, wherever the position was */
	CHECK(pread(fd[0], &want, 1, 10000) == 1 && want == 'z', "O_APPEND does not append");
}

/* Removed and made anew under another name would be another file: link counts, hard links. */
VICTIM(same_file_twice)
{
	int a = make_file("data", 5000, 2), b = SYS(open(in_dir("data"), O_RDWR));

	SYS(lseek(a, 10, SEEK_SET));
	SYS(lseek(b, 20, SEEK_SET));
	ready();
	SYS(lseek(a, 30, SEEK_SET));
	CHECK(lseek(b, 0, SEEK_CUR) == 20, "two descriptions have become one");
}

/* As one that was opened before its program came to this mount namespace. */
VICTIM(other_mount)
{
	int tree = SYS(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
	int fd = SYS(openat(tree, "etc/passwd", O_RDONLY));
	struct stat a, b;

	close(tree);
	SYS(lseek(fd, 7, SEEK_SET));
	SYS(fstat(fd, &a));
	ready();
	SYS(fstat(fd, &b));
	CHECK(a.st_dev == b.st_dev && a.st_ino == b.st_ino, "another file");
	CHECK(lseek(fd, 0, SEEK_CUR) == 7, "position lost");
}

/* In a read that ends when somebody says so, into pages that were written just before. */
VICTIM(held_read)
{
	enum { PAGES = 512, READ = 16 * PAGE };
	int fd = SYS(open(in_dir("mnt/data"), O_RDONLY | (param("direct", 0) ? O_DIRECT : 0)));
	char *m = map_anon(PAGES * PAGE);

	fill(m, PAGES * PAGE, 3);
	announce();
	wait_mark("step");
	fill(m, READ, 4);
	CHECK(pread(fd, m, READ, 0) == READ, "pread");
	mark("did");
	wait_go();
	for (int i = 0; i < READ; i++)
		CHECK(m[i] == 'F', "byte %d is not what was read", i);
}

VICTIM(directory)
{
	int fd, path_fd;
	struct stat a, b;
	DIR *d;

	SYS(mkdir(in_dir("sub"), 0755));
	close(SYS(open(in_dir("sub/one"), O_CREAT | O_RDWR, 0644)));
	fd = SYS(open(in_dir("sub"), O_RDONLY | O_DIRECTORY));
	path_fd = SYS(open(in_dir("sub/one"), O_PATH | O_CLOEXEC));
	SYS(fstat(path_fd, &a));
	ready();
	close(SYS(openat(fd, "one", O_RDONLY)));
	SYS(fstat(path_fd, &b));
	CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev, "O_PATH leads to another file");
	CHECK(fcntl(path_fd, F_GETFL) & O_PATH, "no longer O_PATH");
	d = fdopendir(fd);
	CHECK(d && readdir(d), "cannot read the directory");
}

VICTIM(devices)
{
	int null = SYS(open("/dev/null", O_RDWR | O_APPEND)),
	    zero = SYS(open("/dev/zero", O_RDONLY));
	int urandom = SYS(open("/dev/urandom", O_RDONLY | O_CLOEXEC)),
	    full = SYS(open("/dev/full", O_RDWR));
	int flags = SYS(fcntl(null, F_GETFL));
	char a[32] = { 0 }, c = 1;

	ready();
	same_flags(null, flags);
	CHECK(read(null, a, 1) == 0, "/dev/null has something to read");
	CHECK(read(zero, &c, 1) == 1 && c == 0, "/dev/zero is not zero");
	CHECK(read(urandom, a, 32) == 32 && memcmp(a, (char[32]) { 0 }, 32), "no random bytes");
	CHECK(write(full, a, 1) < 0 && errno == ENOSPC, "/dev/full is not full");
}

/* --- pipes and FIFOs -------------------------------------------------------------------- */
static void expect_bytes(int fd, size_t n, uint64_t seed)
{
	char *got = malloc(n + 1);
	size_t have = 0;
	ssize_t r = 1;
	int left;

	SYS(ioctl(fd, FIONREAD, &left));
	CHECK(left == (int)n, "%d bytes are in the pipe, were %zu", left, n);
	while (have < n && (r = read(fd, got + have, n - have)) > 0)
		have += r;
	CHECK(have == n, "read %zu of %zu bytes", have, n);
	CHECK(differs(got, n, seed) < 0, "the pipe's content changed");
	free(got);
}

static void put_bytes(int fd, size_t n, uint64_t seed)
{
	char *p = malloc(n + 1);

	fill(p, n, seed);
	if (n)
		write_all(fd, p, n);
	free(p);
}

VICTIM(pipe)
{
	size_t bytes = param("bytes", 5000);
	int fd[2], size = param("size", 65536), flags = param("nonblock", 0) ? O_NONBLOCK : 0;
	char c;

	SYS(pipe2(fd, flags));
	size = SYS(fcntl(fd[1], F_SETPIPE_SZ, size));
	put_bytes(fd[1], bytes, 3);
	ready();
	CHECK(fcntl(fd[0], F_GETPIPE_SZ) == size, "capacity is %d, was %d",
	      fcntl(fd[0], F_GETPIPE_SZ), size);
	same_flags(fd[0], O_RDONLY | flags);
	same_flags(fd[1], O_WRONLY | flags);
	expect_bytes(fd[0], bytes, 3);
	write_all(fd[1], "q", 1);
	CHECK(read(fd[0], &c, 1) == 1 && c == 'q', "the two ends are no longer one pipe");
	close(fd[1]);
	CHECK(read(fd[0], &c, 1) == 0, "somebody else holds the writing end");
}

/* Packet mode keeps the borders of what was written. */
VICTIM(pipe_packets)
{
	int fd[2];
	char buf[100];

	SYS(pipe2(fd, O_DIRECT));
	put_bytes(fd[1], 10, 4);
	put_bytes(fd[1], 20, 5);
	ready();
	CHECK(read(fd[0], buf, 100) == 10 && differs(buf, 10, 4) < 0, "first packet changed");
	CHECK(read(fd[0], buf, 100) == 20 && differs(buf, 20, 5) < 0, "second packet changed");
}

/* Only the reading end is left: what is in it, then the end. */
VICTIM(pipe_writer_gone)
{
	int fd[2];
	char c;

	SYS(pipe(fd));
	put_bytes(fd[1], 777, 6);
	close(fd[1]);
	ready();
	expect_bytes(fd[0], 777, 6);
	CHECK(read(fd[0], &c, 1) == 0, "no end of file");
}

VICTIM(pipe_reader_gone)
{
	int fd[2];

	signal(SIGPIPE, SIG_IGN);
	SYS(pipe(fd));
	close(fd[0]);
	ready();
	CHECK(write(fd[1], "x", 1) < 0 && errno == EPIPE, "somebody reads");
}

static int family_pipe[2];

static void write_end(void *unused)
{
	close(family_pipe[0]);
	child_ready();
	wait_mark("first-part-read");
	put_bytes(family_pipe[1], 300, 8);
}

static void read_end(void *unused)
{
	close(family_pipe[1]);
	child_ready();
	wait_go();
	expect_bytes(family_pipe[0], 400, 7);
	mark("first-part-read");
	wait_mark("writer-done");
	expect_bytes(family_pipe[0], 300, 8);
	CHECK(read(family_pipe[0], &(char) { 0 }, 1) == 0, "somebody else holds the writing end");
}

/* Both ends in children, none in the task that made it. */
VICTIM(pipe_between)
{
	pid_t w, r;

	SYS(pipe(family_pipe));
	put_bytes(family_pipe[1], 400, 7);
	w = child(write_end, NULL);
	r = child(read_end, NULL);
	close(family_pipe[0]);
	close(family_pipe[1]);
	ready();
	join(w);
	mark("writer-done");
	join(r);
}

VICTIM(fifo)
{
	int both, w, flags;
	char c;

	SYS(mkfifo(in_dir("fifo"), 0644));
	both = SYS(open(in_dir("fifo"), O_RDWR | O_NONBLOCK));
	w = SYS(open(in_dir("fifo"), O_WRONLY | O_NONBLOCK));
	put_bytes(w, 1234, 9);
	flags = SYS(fcntl(w, F_GETFL));
	ready();
	expect_bytes(both, 1234, 9);
	same_flags(w, flags);
	write_all(w, "k", 1);
	CHECK(read(both, &c, 1) == 1 && c == 'k', "the FIFO's ends are apart");
}

static int hung_up(int fd)
{
	struct pollfd p = { .fd = fd };

	return SYS(poll(&p, 1, 0)) && p.revents & POLLHUP;
}

/* Whether its readers have seen a writer: poll tells them apart, though read does not. */
VICTIM(fifo_readers)
{
	int r[2], w, flags, seen = param("seen", 0);

	SYS(mkfifo(in_dir("fifo"), 0644));
	r[0] = SYS(open(in_dir("fifo"), O_RDONLY | O_NONBLOCK));
	r[1] = SYS(open(in_dir("fifo"), O_RDONLY | O_NONBLOCK));
	flags = SYS(fcntl(r[0], F_GETFL));
	SYS(fcntl(r[1], F_SETFL, flags & ~O_NONBLOCK));
	if (seen)
		close(SYS(open(in_dir("fifo"), O_WRONLY)));
	ready();
	CHECK(hung_up(r[0]) == seen && hung_up(r[1]) == seen, "POLLHUP: %d", hung_up(r[0]));
	same_flags(r[0], flags);
	same_flags(r[1], flags & ~O_NONBLOCK);
	w = SYS(open(in_dir("fifo"), O_WRONLY));
	put_bytes(w, 100, 5);
	expect_bytes(r[1], 100, 5);
	close(w);
	CHECK(hung_up(r[0]) && hung_up(r[1]), "no POLLHUP after a writer");
}

/* --- the small kinds --------------------------------------------------------------------- */
VICTIM(eventfd)
{
	int flags = param("semaphore", 0) ? EFD_SEMAPHORE : 0;
	int fd = SYS(eventfd(param("count", 30), flags | EFD_NONBLOCK | EFD_CLOEXEC));
	uint64_t v;

	ready();
	same_flags(fd, O_RDWR | O_NONBLOCK);
	CHECK(read(fd, &v, 8) == 8, "nothing in it");
	CHECK(v == (flags ? 1 : (uint64_t)param("count", 30)), "count is %lu", v);
	CHECK((read(fd, &v, 8) == 8) == (flags && param("count", 30) > 1), "count is wrong");
}

VICTIM(timerfd)
{
	struct itimerspec set = { { 7, 5 }, { 4000, 0 } }, now, fast = { { 0, 0 }, { 0, 1000000 } };
	int slow = SYS(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	int fired = SYS(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
	int off = SYS(timerfd_create(CLOCK_BOOTTIME, 0));
	struct pollfd p = { fired, POLLIN, 0 };
	uint64_t n = 0;

	SYS(timerfd_settime(slow, 0, &set, NULL));
	SYS(timerfd_settime(fired, 0, &fast, NULL));
	CHECK(poll(&p, 1, 20000) == 1, "the timer does not fire");
	ready();
	SYS(timerfd_gettime(slow, &now));
	CHECK(now.it_interval.tv_sec == 7 && now.it_interval.tv_nsec == 5, "interval changed");
	CHECK(now.it_value.tv_sec <= 4000 && now.it_value.tv_sec > 3800, "%ld s are left of 4000",
	      now.it_value.tv_sec);
	CHECK(read(fired, &n, 8) == 8 && n == 1, "%lu expirations, was 1", n);
	SYS(timerfd_gettime(off, &now));
	CHECK(!now.it_value.tv_sec && !now.it_value.tv_nsec, "an unarmed timer runs");
}

VICTIM(timerfd_ticking)
{
	struct itimerspec set = { { 0, 10000000 }, { 0, 10000000 } };
	int fd = SYS(timerfd_create(CLOCK_MONOTONIC, 0));
	uint64_t n;

	SYS(timerfd_settime(fd, 0, &set, NULL));
	ready();
	for (int i = 0; i < 3; i++)
		CHECK(read(fd, &n, 8) == 8 && n > 0, "the timer no longer ticks");
}

VICTIM(signalfd)
{
	struct signalfd_siginfo info;
	sigset_t mask;
	int fd;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGRTMIN + 5);
	SYS(sigprocmask(SIG_BLOCK, &mask, NULL));
	sigdelset(&mask, SIGUSR1);
	fd = SYS(signalfd(-1, &mask, SFD_NONBLOCK));
	SYS(sigqueue(getpid(), SIGRTMIN + 5, (union sigval) { .sival_int = 6 }));
	ready();
	CHECK(read(fd, &info, sizeof(info)) == sizeof(info), "no signal in it");
	CHECK(info.ssi_signo == (unsigned)SIGRTMIN + 5 && info.ssi_int == 6, "another signal");
	SYS(kill(getpid(), SIGUSR1));
	CHECK(read(fd, &info, sizeof(info)) < 0 && errno == EAGAIN, "the mask is larger now");
}

VICTIM(memfd)
{
	int fd = SYS(memfd_create("sealed", MFD_ALLOW_SEALING));
	int seals = F_SEAL_GROW | F_SEAL_SHRINK | (param("write", 0) ? F_SEAL_WRITE : 0);
	char got[3000], link[64];

	put_bytes(fd, 3000, 10);
	SYS(fchmod(fd, 0640));
	SYS(fcntl(fd, F_ADD_SEALS, seals));
	SYS(lseek(fd, 17, SEEK_SET));
	ready();
	CHECK(fcntl(fd, F_GET_SEALS) == seals, "seals are %#x, were %#x", fcntl(fd, F_GET_SEALS),
	      seals);
	CHECK(lseek(fd, 0, SEEK_CUR) == 17, "position changed");
	CHECK(pread(fd, got, 3000, 0) == 3000 && differs(got, 3000, 10) < 0, "content changed");
	CHECK((pwrite(fd, "x", 1, 0) == 1) == !param("write", 0), "the write seal changed");
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	got[readlink(link, got, sizeof(got) - 1)] = 0;
	CHECK(!strcmp(got, "/memfd:sealed (deleted)"), "its name is %s", got);
}

/* --- epoll ------------------------------------------------------------------------------ */
static void watch(int epoll, int fd, unsigned events, uint64_t data)
{
	struct epoll_event e = { events, { .u64 = data } };

	SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e));
}

/* The one event that is there has this data; with 0 there is none. */
static void expect_event(int epoll, uint64_t data, const char *what)
{
	struct epoll_event e[4];
	int n = SYS(epoll_wait(epoll, e, 4, data ? 10000 : 0));

	CHECK(n == (data ? 1 : 0), "%s: %d events, not %d", what, n, data ? 1 : 0);
	CHECK(!data || e[0].data.u64 == data, "%s: data is %lx, was %lx", what, e[0].data.u64,
	      data);
}

VICTIM(epoll)
{
	int outer = SYS(epoll_create1(EPOLL_CLOEXEC)), inner = SYS(epoll_create1(0));
	int ev = SYS(eventfd(0, 0)), fd[2];
	uint64_t v = 1;

	SYS(pipe(fd));
	watch(inner, ev, EPOLLIN, 0xaaaabbbbccccdddd);
	watch(outer, inner, EPOLLIN, 2);
	watch(outer, fd[0], EPOLLIN | EPOLLRDHUP, 3);
	ready();
	expect_event(outer, 0, "nothing has happened");
	write_all(ev, &v, 8);
	expect_event(outer, 2, "nested");
	expect_event(inner, 0xaaaabbbbccccdddd, "inner");
	CHECK(read(ev, &v, 8) == 8, "eventfd");
	write_all(fd[1], "x", 1);
	expect_event(outer, 3, "pipe");
}

VICTIM(epoll_one_shot)
{
	int epoll = SYS(epoll_create1(0)), ev = SYS(eventfd(1, 0)), edge = SYS(eventfd(0, 0));
	struct epoll_event again = { EPOLLIN | EPOLLONESHOT, { .u64 = 5 } };
	uint64_t v = 1;

	watch(epoll, ev, EPOLLIN | EPOLLONESHOT, 4);
	watch(epoll, edge, EPOLLIN | EPOLLET, 6);
	expect_event(epoll, 4, "one-shot, before");
	ready();
	expect_event(epoll, 0, "one-shot that has fired");
	SYS(epoll_ctl(epoll, EPOLL_CTL_MOD, ev, &again));
	expect_event(epoll, 5, "one-shot, armed again");
	write_all(edge, &v, 8);
	expect_event(epoll, 6, "edge");
	expect_event(epoll, 0, "edge, a second time");
}

/* The number under which a file was added means something else now, or nothing. */
VICTIM(epoll_renumbered)
{
	int epoll = SYS(epoll_create1(0)), ev = SYS(eventfd(0, 0)), kept = SYS(dup(ev));
	uint64_t v = 1;

	watch(epoll, ev, EPOLLIN, 7);
	SYS(dup2(SYS(open("/dev/null", O_RDONLY)), ev));
	ready();
	write_all(kept, &v, 8);
	expect_event(epoll, 7, "file added under another number");
}

/* --- the table of descriptors ---------------------------------------------------------------- */
static void move_shared(void *fd)
{
	child_ready();
	wait_mark("child-may-seek");
	SYS(lseek(*(int *)fd, 4242, SEEK_SET));
}

VICTIM(shared_description)
{
	int fd = make_file("data", 9000, 1), copy = SYS(dup(fd));
	int high = SYS(fcntl(fd, F_DUPFD_CLOEXEC, 900));
	pid_t kid = child(move_shared, &fd);

	ready();
	SYS(lseek(copy, 100, SEEK_SET));
	CHECK(lseek(fd, 0, SEEK_CUR) == 100 && lseek(high, 0, SEEK_CUR) == 100,
	      "descriptors made by dup no longer share a position");
	mark("child-may-seek");
	join(kid);
	CHECK(lseek(copy, 0, SEEK_CUR) == 4242, "the child's descriptor is another description");
}

VICTIM(close_on_exec)
{
	int on = SYS(open("/dev/null", O_RDONLY | O_CLOEXEC)), off = SYS(dup(on));

	ready();
	CHECK(fcntl(on, F_GETFD) == FD_CLOEXEC, "close-on-exec was lost");
	CHECK(fcntl(off, F_GETFD) == 0, "close-on-exec appeared");
}

/* Many, with holes between them: no other number may be in use afterwards. */
VICTIM(many_files)
{
	long n = param("count", 400), step = param("step", 2);
	struct rlimit r = { n * step + 64, n * step + 64 };
	bool *open_before = calloc(n * step + 64, 1);

	SYS(setrlimit(RLIMIT_NOFILE, &r));
	for (long i = 0; i < n; i++)
		SYS(dup2(2, 10 + i * step));
	for (long i = 0; i < n * step + 64; i++)
		open_before[i] = fcntl(i, F_GETFD) >= 0;
	ready();
	for (long i = 0; i < n * step + 64; i++)
		CHECK((fcntl(i, F_GETFD) >= 0) == open_before[i], "descriptor %ld %s", i,
		      open_before[i] ? "is gone" : "appeared");
}

VICTIM(owner)
{
	struct f_owner_ex want = { F_OWNER_TID, gettid() }, now;
	int a[2], b[2];

	SYS(pipe(a));
	SYS(pipe(b));
	SYS(fcntl(a[0], F_SETOWN_EX, &want));
	SYS(fcntl(a[0], F_SETSIG, SIGRTMIN + 7));
	SYS(fcntl(b[0], F_SETOWN, getpid()));
	ready();
	SYS(fcntl(a[0], F_GETOWN_EX, &now));
	CHECK(now.type == want.type && now.pid == want.pid, "owner is %d of type %d", now.pid,
	      now.type);
	CHECK(fcntl(a[0], F_GETSIG) == SIGRTMIN + 7, "signal is %d", fcntl(a[0], F_GETSIG));
	CHECK(fcntl(b[0], F_GETOWN) == getpid(), "owner is %d", fcntl(b[0], F_GETOWN));
}

/* What the kernel sends there still comes. */
VICTIM(owner_signalled)
{
	sigset_t io;
	siginfo_t info;
	struct timespec limit = { 10, 0 };
	int fd[2];

	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	SYS(sigprocmask(SIG_BLOCK, &io, NULL));
	SYS(pipe(fd));
	SYS(fcntl(fd[0], F_SETOWN, getpid()));
	SYS(fcntl(fd[0], F_SETFL, O_ASYNC | O_NONBLOCK));
	ready();
	same_flags(fd[0], O_ASYNC | O_NONBLOCK);
	write_all(fd[1], "x", 1);
	CHECK(sigtimedwait(&io, &info, &limit) == SIGIO, "no SIGIO comes");
}
