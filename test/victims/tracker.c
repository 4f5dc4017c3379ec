/*
 * tracker.c - a victim that changes its memory in every way there is, one way
 * a round, driven from outside.
 *
 * `step.N` makes it do round N; it then writes a checksum of all its regions to
 * `sum.N` and `did.N`. `go` makes it write the same for the memory it finds to
 * `again`, and end. Whoever drives takes a checkpoint after each round and
 * restores any of them: `again` must be the `sum` of that round.
 */
#include "victim.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum {
	REGION = 256 * PAGE,
	HUGE = 2 << 20,
	MAX_REGIONS = 64,
	SIBLING_PAGES = 16,
};

static struct region {
	const char *what;
	char *at;
	size_t n;
} regions[MAX_REGIONS];
static int n_regions, current_round;
static uint64_t random_state = 88172645463325252ULL;

/* Seen by both tasks of the tree. */
static char *shared, *memfd_map;
static int memfd, data_fd;
/* What the region "file" holds, where a look at it would map its pages again; else NULL. */
static const char *file_unseen;
static pid_t sibling;

static struct region *add_region(const char *what, char *at, size_t n)
{
	CHECK(n_regions < MAX_REGIONS, "too many regions");
	regions[n_regions] = (struct region) { what, at, n };
	return &regions[n_regions++];
}

static struct region *region(const char *what)
{
	for (int i = 0; i < n_regions; i++)
		if (!strcmp(regions[i].what, what))
			return &regions[i];
	fail("no region %s", what);
}

static unsigned long pick(unsigned long below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

/* Some pages of a region get new content. */
static void scribble(struct region *r, int pages)
{
	for (int i = 0; i < pages; i++)
		fill(r->at + pick(r->n / PAGE) * PAGE + pick(8) * 64, 64, pick(1UL << 40));
}

/* --- the ways ------------------------------------------------------------------- */
static void way_stores(void)
{
	scribble(region("plain"), 20);
}

static void way_idle(void)
{
}

static void way_read_call(void)
{
	CHECK(pread(data_fd, region("plain")->at + 5 * PAGE + 100, 3 * PAGE, pick(1000)) ==
		      3 * PAGE,
	      "pread");
}

static void way_fork(void)
{
	pid_t kid = SYS(fork());

	if (kid == 0)
		_exit(0);
	scribble(region("plain"), 10); /* copies on write while both are there, or not */
	join(kid);
	scribble(region("plain"), 10);
}

static void way_mremap_grow(void)
{
	struct region *r = region("moved");

	SYS(mmap(r->at + r->n, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0)); /* must move */
	r->at = SYS(mremap(r->at, r->n, r->n + 8 * PAGE, MREMAP_MAYMOVE));
	r->n += 8 * PAGE;
	fill(r->at + r->n - 3 * PAGE, PAGE, pick(1000));
}

static char *aligned(char *at)
{
	return (char *)(((uintptr_t)at + HUGE - 1) & -HUGE);
}

static void exchange(struct region *a, struct region *b)
{
	char *spare = aligned(map_anon(a->n + HUGE));

	SYS(mremap(a->at, a->n, a->n, MREMAP_MAYMOVE | MREMAP_FIXED, spare));
	SYS(mremap(b->at, b->n, b->n, MREMAP_MAYMOVE | MREMAP_FIXED, a->at));
	SYS(mremap(spare, a->n, a->n, MREMAP_MAYMOVE | MREMAP_FIXED, b->at));
}

static void way_exchange(void)
{
	exchange(region("left"), region("right"));
}

/* Where a page table is full, the kernel moves it whole and looks at no entry. */
static void way_exchange_tables(void)
{
	exchange(region("left table"), region("right table"));
}

static void way_map_again(void)
{
	struct region *r = region("remade");

	SYS(munmap(r->at, r->n));
	SYS(mmap(r->at, r->n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0));
	scribble(r, 5);
}

/* A hole in the middle, filled by a new mapping that merges with its neighbours. */
static void way_merge(void)
{
	struct region *r = region("remade");

	SYS(munmap(r->at + 40 * PAGE, 20 * PAGE));
	SYS(mmap(r->at + 40 * PAGE, 20 * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	fill(r->at + 45 * PAGE, PAGE, pick(1000));
}

static void way_mprotect(void)
{
	struct region *r = region("plain");

	SYS(mprotect(r->at + 64 * PAGE, 64 * PAGE, PROT_READ));
	scribble(&(struct region) { "", r->at + 128 * PAGE, 64 * PAGE }, 5);
	SYS(mprotect(r->at + 64 * PAGE, 64 * PAGE, PROT_READ | PROT_WRITE));
	scribble(&(struct region) { "", r->at + 64 * PAGE, 64 * PAGE }, 5);
}

static void way_read_only_now(void)
{
	struct region *r = region("frozen");

	SYS(mprotect(r->at, r->n, PROT_READ | PROT_WRITE));
	scribble(r, 7);
	SYS(mprotect(r->at, r->n, PROT_READ));
}

static void way_dontneed(void)
{
	struct region *r = region("dropped");

	SYS(madvise(r->at + 10 * PAGE, 30 * PAGE, MADV_DONTNEED));
	fill(r->at + 12 * PAGE, PAGE, pick(1000));
}

static void way_dontneed_all(void)
{
	struct region *r = region("dropped");

	SYS(madvise(r->at, r->n, MADV_DONTNEED));
}

static void way_dontneed_refill(void)
{
	scribble(region("dropped"), 30);
}

static void way_heap(void)
{
	static int blocks;
	char *p = malloc(70000 + 1000 * blocks);
	static const char *const names[] = { "heap 1", "heap 2", "heap 3", "heap 4", "heap 5" };

	CHECK(p, "malloc");
	fill(p, 70000, pick(1000));
	if (blocks < 5)
		add_region(names[blocks++], p, 70000);
}

static void way_brk_again(void)
{
	char *end = sbrk(0);

	SYS(sbrk(20 * PAGE));
	memset(end, 7, 20 * PAGE);
	SYS(sbrk(-20 * PAGE));
	SYS(sbrk(10 * PAGE)); /* zero again */
	CHECK(!end[PAGE * 2], "fresh heap is not zero");
	SYS(sbrk(-10 * PAGE));
}

static void *live_on_stack(void *unused)
{
	char array[10 * PAGE];

	fill(array, sizeof(array), pick(1000));
	add_region("thread's stack", array, sizeof(array));
	mark("thread-up");
	for (;;)
		nap();
	return NULL;
}

static void way_thread(void)
{
	pthread_t t;

	for (int i = 0; i < n_regions; i++)
		if (!strcmp(regions[i].what, "thread's stack"))
			return;
	CHECK(!pthread_create(&t, NULL, live_on_stack, NULL), "pthread_create");
	wait_mark("thread-up");
}

static void way_memfd_write(void)
{
	char page[PAGE];

	fill(page, PAGE, pick(1000));
	CHECK(pwrite(memfd, page, PAGE, (5 + pick(10)) * PAGE) == PAGE, "pwrite");
}

static void way_memfd_hole(void)
{
	SYS(fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * PAGE, 6 * PAGE));
}

static void way_shared_hole(void)
{
	SYS(madvise(shared + 20 * PAGE, 10 * PAGE, MADV_REMOVE));
}

static void way_huge(void)
{
	region("huge")->at[pick(HUGE)] ^= 0x55;
	region("huge")->at[HUGE + pick(HUGE)] ^= 0x55;
}

/* Read again (by the sum), this may become the huge zero page, which nobody has written. */
static void way_huge_dontneed(void)
{
	SYS(madvise(region("huge")->at, HUGE, MADV_DONTNEED));
}

static void way_private_file(void)
{
	scribble(region("file"), 3);
}

static void way_file_dontneed(void)
{
	SYS(madvise(region("file")->at, 16 * PAGE, MADV_DONTNEED));
}

/* The marks in the page table of what was armed and given back stay, as nothing looks at it. */
static void way_file_dontneed_unseen(void)
{
	struct region *r = region("file");

	SYS(madvise(r->at, r->n, MADV_DONTNEED));
	file_unseen = SYS(mmap(NULL, r->n, PROT_READ, MAP_PRIVATE, data_fd, 0));
}

static void way_proc_mem(void)
{
	int fd = SYS(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
	char page[PAGE];

	fill(page, PAGE, pick(1000));
	CHECK(pwrite(fd, page, PAGE, (off_t)(uintptr_t)region("plain")->at + 33 * PAGE) == PAGE,
	      "write to /proc/self/mem");
	CHECK(pwrite(fd, page, 10, (off_t)(uintptr_t)region("frozen")->at + 9 * PAGE) == 10,
	      "write to read-only memory through /proc/self/mem");
	close(fd);
}

/* --- what only the other task can do: it acts when told, and says when done --------- */
static void sibling_acts(const char *what)
{
	mark("sibling.%s.%d", what, current_round);
	wait_mark("sibling-did.%d", current_round);
}

static void way_sibling_vm_write(void)
{
	sibling_acts("vm");
}

static void way_sibling_shared(void)
{
	sibling_acts("shared");
}

static void way_sibling_memfd(void)
{
	sibling_acts("memfd");
}

static void way_sibling_own(void)
{
	sibling_acts("own");
}

static const struct {
	const char *name;
	void (*act)(void);
} ways[] = {
	{ "stores", way_stores },
	{ "idle", way_idle },
	{ "read-call", way_read_call },
	{ "fork", way_fork },
	{ "mremap-grow", way_mremap_grow },
	{ "exchange", way_exchange },
	{ "exchange-tables", way_exchange_tables },
	{ "map-again", way_map_again },
	{ "merge", way_merge },
	{ "mprotect", way_mprotect },
	{ "read-only-now", way_read_only_now },
	{ "dontneed", way_dontneed },
	{ "dontneed-all", way_dontneed_all },
	{ "dontneed-refill", way_dontneed_refill },
	{ "heap", way_heap },
	{ "brk-again", way_brk_again },
	{ "thread", way_thread },
	{ "memfd-write", way_memfd_write },
	{ "memfd-hole", way_memfd_hole },
	{ "shared-hole", way_shared_hole },
	{ "huge", way_huge },
	{ "huge-dontneed", way_huge_dontneed },
	{ "private-file", way_private_file },
	{ "file-dontneed", way_file_dontneed },
	{ "file-dontneed-unseen", way_file_dontneed_unseen },
	{ "proc-mem", way_proc_mem },
	{ "sibling-vm-write", way_sibling_vm_write },
	{ "sibling-shared", way_sibling_shared },
	{ "sibling-memfd", way_sibling_memfd },
	{ "sibling-own", way_sibling_own },
};
enum { N_WAYS = sizeof(ways) / sizeof(ways[0]) };

/* --- the other task --------------------------------------------------------------------- */
struct order {
	const char *what;
	void (*act)(int round);
};

static char *own_pages;
static int own_seed;

static void order_vm(int round)
{
	char page[PAGE];
	struct iovec from = { page, PAGE },
		     to = { region("plain")->at + (round % 200) * PAGE + 7, PAGE };

	fill(page, PAGE, round);
	CHECK(process_vm_writev(getppid(), &from, 1, &to, 1, 0) == PAGE, "process_vm_writev: %s",
	      strerror(errno));
}

static void order_shared(int round)
{
	fill(shared + (round % 50) * PAGE, 2 * PAGE, round);
}

static void order_memfd(int round)
{
	char page[PAGE];

	fill(page, PAGE, round);
	CHECK(pwrite(memfd, page, PAGE, (round % 30) * PAGE) == PAGE, "pwrite");
}

static void order_own(int round)
{
	own_seed = round;
	fill(own_pages, SIBLING_PAGES * PAGE, round);
}

static const struct order orders[] = {
	{ "vm", order_vm },
	{ "shared", order_shared },
	{ "memfd", order_memfd },
	{ "own", order_own },
};

static void sibling_main(void *unused)
{
	int done = 0;

	own_pages = map_anon(SIBLING_PAGES * PAGE);
	order_own(0);
	child_ready();
	while (!told_to_go()) {
		for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
			for (int round = done + 1; round <= done + N_WAYS; round++) {
				if (!has_mark("sibling.%s.%d", orders[i].what, round))
					continue;
				orders[i].act(round);
				done = round;
				mark("sibling-did.%d", round);
			}
		nap();
	}
	CHECK(differs(own_pages, SIBLING_PAGES * PAGE, own_seed) < 0,
	      "the sibling's memory differs");
}

/* --- the story ------------------------------------------------------------------------------ */
static void set_up(void)
{
	struct region *r;
	char *huge;

	data_fd = make_file("data", 64 * PAGE, 1);
	static const char *const plain[] = { "plain",  "moved",	 "left",   "right",
					     "remade", "frozen", "dropped" };
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		r = add_region(plain[i], map_anon(REGION + PAGE), REGION);
		SYS(mprotect(r->at + REGION, PAGE, PROT_NONE)); /* neighbours do not merge */
		SYS(madvise(r->at, REGION, MADV_NOHUGEPAGE));
		scribble(r, 100);
	}
	SYS(mprotect(region("frozen")->at, REGION, PROT_READ));
	for (int i = 0; i < 2; i++) {
		r = add_region(i ? "right table" : "left table", aligned(map_anon(3 * HUGE)), HUGE);
		SYS(madvise(r->at, r->n, MADV_NOHUGEPAGE));
		scribble(r, 200);
	}
	huge = aligned(map_anon(3 * HUGE));
	SYS(madvise(huge, 2 * HUGE, MADV_HUGEPAGE));
	memset(huge, 0x11, 2 * HUGE);
	add_region("huge", huge, 2 * HUGE);
	add_region("file",
		   SYS(mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, data_fd, 0)),
		   32 * PAGE);
	shared = SYS(
		mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	fill(shared, 64 * PAGE, 2);
	add_region("shared", shared, 64 * PAGE);
	memfd = SYS(memfd_create("tracked", 0));
	SYS(ftruncate(memfd, 40 * PAGE));
	memfd_map = SYS(mmap(NULL, 40 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0));
	fill(memfd_map, 20 * PAGE, 3);
	add_region("memfd", memfd_map, 40 * PAGE);
}

static uint64_t region_sum(const struct region *r)
{
	const char *at = file_unseen && !strcmp(r->what, "file") ? file_unseen : r->at;

	return checksum(0xcbf29ce484222325ULL, at, r->n);
}

static void write_sums(const char *name)
{
	char *path = in_dir("%s", name), line[200];
	int fd = SYS(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));

	for (int i = -1; i < n_regions; i++) {
		int n;

		if (i < 0)
			n = snprintf(line, sizeof(line), "round %d\n", current_round);
		else
			n = snprintf(line, sizeof(line), "%s %p+%zu %016lx\n", regions[i].what,
				     regions[i].at, regions[i].n, region_sum(&regions[i]));
		CHECK(write(fd, line, n) == n, "write %s", path);
	}
	close(fd);
	free(path);
}

static void do_round(int round)
{
	char name[32];

	current_round = round;
	file_unseen = NULL;
	ways[(round - 1) % N_WAYS].act();
	snprintf(name, sizeof(name), "sum.%d", round);
	write_sums(name);
	mark("did.%d", round);
}

static void rounds(void);

/* From here on everything happens deeper in the stack, below an array of known content. */
static void deeper(int round)
{
	char array[20 * PAGE];

	fill(array, sizeof(array), round);
	add_region("stack", array, sizeof(array));
	do_round(round);
	rounds();
}

static void rounds(void)
{
	while (!told_to_go()) {
		bool next = has_mark("step.%d", current_round + 1);

		if (next && (current_round + 1) % N_WAYS == 4 && current_round < N_WAYS) {
			deeper(current_round + 1);
			return;
		}
		if (next)
			do_round(current_round + 1);
		nap();
	}
	file_unseen = NULL;
	write_sums("again"); /* here, while the frames above still hold their regions */
}

VICTIM(tracker)
{
	if (param("ways", 0)) { /* only the list: one name a line, in the order of rounds */
		for (int i = 0; i < N_WAYS; i++)
			puts(ways[i].name);
		return;
	}
	maps_may_change();
	set_up();
	sibling = child(sibling_main, NULL);
	announce();
	rounds();
	join(sibling);
}
