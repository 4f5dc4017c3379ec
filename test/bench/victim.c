/* victim.c - what `make bench` checkpoints: much of one thing each; and the machine's own limits. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, MIB = 1 << 20, SPREAD = 1009 };

/* Shared with bench.py through the file DIR/ctl. */
struct ctl {
	volatile uint64_t ready; /* set once the state stands */
	volatile uint64_t dirty; /* pages that bench.py wants written; 0 again when they are */
	volatile uint64_t gap;	 /* the longest time between two looks at the clock, in ns */
	volatile uint64_t spin;	 /* look at the clock all the time */
};

static struct ctl *ctl;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *map(size_t len, int flags)
{
	void *p =
		mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* No two pages alike, none compressible to nothing. */
static void fill(char *p, size_t len)
{
	uint64_t x = 88172645463325252ull;

	for (size_t i = 0; i < len; i += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(p + i, &x, sizeof(x));
	}
}

/* --- the states ----------------------------------------------------------- */

static void *sleep_for_ever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void threads(long n)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	for (long i = 1; i < n; i++)
		if (pthread_create(&t, &attr, sleep_for_ever, NULL))
			die("pthread_create");
}

/* Neighbours that cannot merge, each with one page in use. */
static void vmas(long n)
{
	char *p = map(n * 2 * PAGE, 0);

	for (long i = 0; i < n; i += 2) {
		p[i * 2 * PAGE] = 1;
		p[(i + 1) * 2 * PAGE] = 1;
		if (mprotect(p + (i + 1) * 2 * PAGE, 2 * PAGE, PROT_READ) < 0)
			die("mprotect");
	}
}

static void processes(long n)
{
	for (long i = 1; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid)
			sleep_for_ever(NULL);
	}
}

/* In turn: an eventfd, a file of its own, the two ends of a pipe. */
static void descriptors(long n)
{
	struct rlimit lim;
	char name[64];
	int pair[2];

	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	for (long i = 0; i + 3 < n; i += 4) {
		snprintf(name, sizeof(name), "file-%ld", i);
		if (eventfd(i, 0) < 0 || open(name, O_RDWR | O_CREAT, 0600) < 0 || pipe(pair) < 0)
			die("descriptors");
	}
}

/* A terabyte asked for, a thousand pages used. */
static void reserve(long pages)
{
	const size_t len = 1ull << 40;
	char *p = map(len, MAP_NORESERVE);

	for (long i = 0; i < pages; i++)
		p[len / pages * i] = 1;
}

static const struct {
	const char *name;
	void (*make)(long);
} states[] = {
	{ "threads", threads },		{ "vmas", vmas },	{ "processes", processes },
	{ "descriptors", descriptors }, { "reserve", reserve },
};

/* --- the machine's limits ---------------------------------------------------- */

static void limit(const char *name, const char *unit, double value)
{
	printf("%s %s %.3f\n", name, unit, value);
}

static double gb_per_s(size_t len, uint64_t begun)
{
	return (double)len / (now_ns() - begun);
}

/* In bites, as the tools do it: what is read last is in the cache when it goes on. */
enum { BITE = MIB };

static void each_bite(const char *name, size_t len, void (*f)(size_t at, void *arg), void *arg)
{
	uint64_t begun = now_ns();

	for (size_t at = 0; at < len; at += BITE)
		f(at, arg);
	limit(name, "GB/s", gb_per_s(len, begun));
}

struct copies {
	char *from, *to;
	int fd;
};

static void by_memcpy(size_t at, void *arg)
{
	struct copies *c = arg;

	memcpy(c->to + at, c->from + at, BITE);
}

static void by_readv(size_t at, void *arg)
{
	struct copies *c = arg;
	struct iovec to = { c->to + at, BITE }, from = { c->from + at, BITE };

	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != BITE)
		die("process_vm_readv");
}

static void by_writev(size_t at, void *arg)
{
	struct copies *c = arg;
	struct iovec to = { c->to + at, BITE }, from = { c->from + at, BITE };

	if (process_vm_writev(getpid(), &from, 1, &to, 1, 0) != BITE)
		die("process_vm_writev");
}

static void by_mem(size_t at, void *arg)
{
	struct copies *c = arg;

	if (pread(c->fd, c->to + at, BITE, (uintptr_t)c->from + at) != BITE)
		die("/proc/self/mem");
}

static void by_write(size_t at, void *arg)
{
	struct copies *c = arg;

	if (pwrite(c->fd, c->from + at, BITE, at) != BITE)
		die("write");
}

static void by_touch(size_t at, void *arg)
{
	struct copies *c = arg;

	for (size_t i = 0; i < BITE; i += PAGE)
		c->to[at + i] = 1;
}

static void limit_of_fork(void)
{
	uint64_t begun = now_ns();

	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	limit("fork", "us", (now_ns() - begun) / 100 / 1000.0);
}

/* What nobody can be faster than, with one processor. */
static void limits(void)
{
	size_t len = 256 * MIB;
	struct copies c = { .from = map(len, 0), .to = map(len, 0) };

	fill(c.from, len);
	each_bite("first-touch", len, by_touch, &c);
	each_bite("memcpy", len, by_memcpy, &c);
	each_bite("process_vm_readv", len, by_readv, &c);
	each_bite("process_vm_writev", len, by_writev, &c);
	c.fd = open("/proc/self/mem", O_RDONLY);
	each_bite("/proc/PID/mem", len, by_mem, &c);
	close(c.fd);
	c.fd = open("limit", O_RDWR | O_CREAT | O_TRUNC, 0600);
	each_bite("write", len, by_write, &c);
	each_bite("rewrite", len, by_write, &c);
	unlink("limit");
	close(c.fd);
	munmap(c.from, len);
	munmap(c.to, len);
	limit_of_fork();
}

/* --- talking to bench.py ------------------------------------------------------- */

static void open_ctl(void)
{
	int fd = open("ctl", O_RDWR);

	ctl = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ctl == MAP_FAILED)
		die("ctl");
	close(fd);
}

/* A prime step, so that what is written lies everywhere and no page twice. */
static void write_pages(char *memory, size_t pages)
{
	static size_t at;

	for (uint64_t n = ctl->dirty; n; n--) {
		at = (at + SPREAD) % pages;
		memory[at * PAGE]++;
	}
	ctl->dirty = 0;
}

static void serve(char *memory, size_t pages)
{
	uint64_t last = 0;

	for (;;) {
		uint64_t now = now_ns();

		if (ctl->spin && last && now - last > ctl->gap)
			ctl->gap = now - last;
		last = ctl->spin ? now : 0;
		if (ctl->dirty && pages)
			write_pages(memory, pages);
		if (!ctl->spin)
			usleep(2000);
	}
}

int main(int argc, char **argv)
{
	long n = argc > 2 ? atol(argv[2]) : 0;
	size_t len = 0;
	char *memory = NULL;

	if (argc > 1 && !strcmp(argv[1], "limits")) {
		limits();
		return 0;
	}
	if (argc != 3) {
		fprintf(stderr, "usage: victim STATE NUMBER | limits\n");
		return 2;
	}
	open_ctl();
	if (!strcmp(argv[1], "memory")) {
		len = n * MIB;
		memory = map(len, 0);
		fill(memory, len);
	}
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (!strcmp(states[i].name, argv[1]))
			states[i].make(n);
	ctl->ready = 1;
	serve(memory, len / PAGE);
}
