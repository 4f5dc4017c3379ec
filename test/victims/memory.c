/* memory.c - victims: kinds of memory, and what stands in the mappings' flags. */
#include "victim.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/kernel-abi.h"

static void same_content(const void *at, size_t n, uint64_t seed, const char *what)
{
	long where = differs(at, n, seed);

	CHECK(where < 0, "%s differs at offset %ld of %zu", what, where, n);
}

/* Is there anything at @at: a page, or one that was swapped out? */
static bool populated(const void *at)
{
	int fd = SYS(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
	uint64_t entry;

	CHECK(pread(fd, &entry, 8, (uintptr_t)at / PAGE * 8) == 8, "pagemap");
	close(fd);
	return entry >> 62;
}

/* Every third page used; the others must stay holes. */
VICTIM(anon)
{
	long pages = param("pages", 300);
	char *m = map_anon(pages * PAGE);

	SYS(madvise(m, pages * PAGE, MADV_NOHUGEPAGE));
	for (long i = 0; i < pages; i += 3)
		fill(m + i * PAGE, PAGE, i);
	ready();
	for (long i = 0; i < pages; i++) {
		if (i % 3 && param("holes", 1))
			CHECK(!populated(m + i * PAGE), "hole %ld has been filled", i);
		if (i % 3 == 0)
			same_content(m + i * PAGE, PAGE, i, "private memory");
	}
}

VICTIM(heap)
{
	enum { BLOCKS = 200 };
	char *block[BLOCKS], *end;

	for (int i = 0; i < BLOCKS; i++) {
		block[i] = malloc(100 + i * 37);
		fill(block[i], 100 + i * 37, i);
	}
	end = sbrk(0);
	ready();
	CHECK(sbrk(0) == end, "brk is %p, was %p", sbrk(0), end);
	for (int i = 0; i < BLOCKS; i++)
		same_content(block[i], 100 + i * 37, i, "heap block");
	SYS(sbrk(1 << 20));
	memset(end, 1, 1 << 20);
	SYS(sbrk(-(1 << 20)));
	CHECK(sbrk(0) == end, "brk does not shrink");
}

/* Far more stack than was ever used: it must still grow by itself. */
static long use_stack(long depth)
{
	volatile char frame[8192];

	frame[0] = frame[8191] = depth;
	if (depth)
		return use_stack(depth - 1) + frame[0] - frame[8191] + 1;
	return 0;
}

VICTIM(stack_grows)
{
	long before = param("before", 10);

	CHECK(use_stack(before) == before, "recursion is broken");
	ready();
	CHECK(use_stack(500) == 500, "recursion is broken");
}

static void *idle(void *unused)
{
	while (true)
		pause();
	return NULL;
}

/* Used down to its lowest page; alone or with threads, it grows a little to have room for frames. */
VICTIM(deep_stack)
{
	long threads = param("threads", 0);
	pthread_t t;

	use_stack(50);
	while (threads-- > 0)
		CHECK(!pthread_create(&t, NULL, idle, NULL), "cannot start a thread");
	maps_may_change();
	ready();
	CHECK(use_stack(100) == 100, "recursion is broken");
}

VICTIM(growsdown)
{
	char *m = SYS(mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0));

	fill(m, 16 * PAGE, 5);
	ready();
	same_content(m, 16 * PAGE, 5, "memory that grows down");
	m[-1] = 1;
	m[-2 * PAGE] = 1;
}

/* --- files in memory ------------------------------------------------------------- */
VICTIM(private_file)
{
	int fd = make_file("data", 20 * PAGE, 11);
	char *m = SYS(mmap(NULL, 20 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	char *part = SYS(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 8 * PAGE));
	char page[PAGE], whole[20 * PAGE];

	close(fd);
	fill(m + 3 * PAGE, PAGE, 12);
	fill(m + 19 * PAGE, PAGE, 13);
	fill(part, PAGE, 14);
	SYS(mprotect(m, 20 * PAGE, PROT_READ));
	ready();
	fill(whole, sizeof(whole), 11);
	same_content(m + 3 * PAGE, PAGE, 12, "written page of a private file mapping");
	same_content(m + 19 * PAGE, PAGE, 13, "written page of a private file mapping");
	same_content(part, PAGE, 14, "written page of a part of a file");
	for (int i = 0; i < 20; i++) {
		memcpy(page, whole + i * PAGE, PAGE);
		if (i != 3 && i != 19)
			CHECK(!memcmp(page, m + i * PAGE, PAGE), "page %d of the file differs", i);
	}
}

/* A page of the program's own text, changed. */
static int text_to_patch(void)
{
	return 1;
}

static sigjmp_buf faulted;

static void on_fault(int sig)
{
	siglongjmp(faulted, 1);
}

static bool can_touch(volatile char *at)
{
	struct sigaction sa = { .sa_handler = on_fault }, segv, bus;
	volatile bool can = false;

	SYS(sigaction(SIGSEGV, &sa, &segv));
	SYS(sigaction(SIGBUS, &sa, &bus));
	if (!sigsetjmp(faulted, 1)) {
		(void)*at;
		can = true;
	}
	SYS(sigaction(SIGSEGV, &segv, NULL));
	SYS(sigaction(SIGBUS, &bus, NULL));
	return can;
}

/* Whoever drives cuts the file after its second page meanwhile. */
VICTIM(private_file_cut)
{
	enum { PAGES = 16, LEFT = 2 };
	int fd = make_file("data", PAGES * PAGE, 9);
	char *m = SYS(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));

	close(fd);
	for (int i = 0; i < PAGES; i++)
		CHECK(can_touch(m + i * PAGE), "page %d cannot be read", i);
	fill(m, PAGE, 10);
	fill(m + 5 * PAGE, PAGE, 11);
	ready();
	same_content(m, PAGE, 10, "written page of a private file mapping");
	for (int i = 0; i < PAGES; i++)
		CHECK(can_touch(m + i * PAGE) == (i < LEFT), "page %d of a file of %d", i, LEFT);
}

VICTIM(private_text)
{
	int (*volatile fn)(void) = text_to_patch;
	char *code = (char *)text_to_patch, *page = (char *)((uintptr_t)code & -PAGE);
	int at = 0;

	while (code[at] != 1 && at < 32)
		at++;
	if (code[at] != 1)
		cannot("the constant is not where it was looked for");
	SYS(mprotect(page, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
	code[at] = 2;
	SYS(mprotect(page, 2 * PAGE, PROT_READ | PROT_EXEC));
	ready();
	CHECK(fn() == 2, "the changed program text was lost");
}

VICTIM(shared_file)
{
	int fd = make_file("data", 10 * PAGE, 21);
	char *m = SYS(mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	char *ro = SYS(mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 4 * PAGE));
	char page[PAGE];

	fill(m + 4 * PAGE, PAGE, 22);
	ready();
	same_content(ro, PAGE, 22, "shared file page");
	fill(m + 5 * PAGE, PAGE, 23);
	same_content(ro + PAGE, PAGE, 23, "page written after");
	CHECK(pread(fd, page, PAGE, 5 * PAGE) == PAGE, "pread");
	same_content(page, PAGE, 23, "the file after a write to the mapping");
}

/* Longer than the file: what lies behind its last page cannot be touched. */
VICTIM(beyond_file)
{
	int fd = make_file("data", PAGE + 100, 31);
	char *m = SYS(mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));

	fill(m, 100, 32);
	ready();
	same_content(m, 100, 32, "written bytes");
}

VICTIM(dev_zero)
{
	int fd = SYS(open("/dev/zero", O_RDWR));
	char *m = SYS(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));

	close(fd);
	fill(m + PAGE, PAGE, 41);
	ready();
	same_content(m + PAGE, PAGE, 41, "private /dev/zero");
	CHECK(!m[0] && !m[3 * PAGE], "holes are not zero");
}

/* --- memory that tasks share -------------------------------------------------------- */
struct shared {
	char *m, *moved;
};

static void share(void *arg)
{
	struct shared *s = arg;

	SYS(munmap(s->m, 2 * PAGE)); /* sees only the rest of it, and once more elsewhere */
	s->moved = SYS(mremap(s->m + 4 * PAGE, 0, 2 * PAGE, MREMAP_MAYMOVE));
	child_ready();
	wait_go();
	wait_mark("parent-wrote");
	same_content(s->m + 3 * PAGE, PAGE, 52, "memory shared with the parent");
	same_content(s->moved, PAGE, 51, "shared memory seen twice");
	fill(s->m + 5 * PAGE, PAGE, 53);
	same_content(s->moved + PAGE, PAGE, 53, "shared memory seen twice, after a write");
}

VICTIM(shared_anon)
{
	struct shared s = { SYS(
		mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) };
	pid_t kid;

	fill(s.m + 4 * PAGE, PAGE, 51);
	kid = child(share, &s);
	fill(s.m + 9 * PAGE, PAGE, 50);
	ready();
	same_content(s.m + 9 * PAGE, PAGE, 50, "shared memory");
	fill(s.m + 3 * PAGE, PAGE, 52);
	mark("parent-wrote");
	join(kid);
	same_content(s.m + 5 * PAGE, PAGE, 53, "what the child wrote");
	CHECK(!s.m[0] && !s.m[8 * PAGE], "holes are not zero");
}

static void stay(void *unused)
{
	mark("child.%d", (int)getpid());
	wait_mark("seen");
}

/* KiB of the mapping at @m of @pid that others map too. */
static unsigned long shared_kb(pid_t pid, const char *m)
{
	char name[64], head[32], *text, *at;
	unsigned long clean, dirty;

	snprintf(name, sizeof(name), "/proc/%d/smaps", pid);
	snprintf(head, sizeof(head), "%lx-", (unsigned long)m);
	text = file_text(TEXT_B, name);
	at = strstr(text, head);
	CHECK(at && (at = strstr(at, "Shared_Clean:")), "no %s in %s", head, name);
	CHECK(sscanf(at, "Shared_Clean: %lu kB Shared_Dirty: %lu", &clean, &dirty) == 2, "smaps");
	return clean + dirty;
}

/* Pages that fork left shared are not copied because somebody reads them. */
VICTIM(shared_by_fork)
{
	size_t n = 1024 * PAGE;
	char *m = map_anon(n);
	unsigned long before;
	pid_t kid;

	fill(m, n, 54);
	kid = child(stay, NULL);
	before = shared_kb(kid, m);
	CHECK(before == n / 1024, "fork left %lu KiB shared", before);
	ready();
	CHECK(shared_kb(kid, m) == before, "%lu KiB are shared now", shared_kb(kid, m));
	mark("seen");
	join(kid);
}

/* Its only mapping is in a child, and the parent still holds the descriptor. */
VICTIM(memfd_mapped)
{
	int fd = SYS(memfd_create("a name", MFD_CLOEXEC));
	char *m, page[PAGE];

	SYS(ftruncate(fd, 6 * PAGE));
	m = SYS(mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	fill(m + PAGE, PAGE, 61);
	fill(page, PAGE, 62);
	CHECK(pwrite(fd, page, PAGE, 3 * PAGE) == PAGE, "pwrite");
	if (!param("open", 1))
		close(fd);
	ready();
	same_content(m + PAGE, PAGE, 61, "memfd page written through the mapping");
	same_content(m + 3 * PAGE, PAGE, 62, "memfd page written by write(2)");
	if (!param("open", 1))
		return;
	fill(page, PAGE, 63);
	CHECK(pwrite(fd, page, PAGE, 0) == PAGE, "pwrite");
	same_content(m, PAGE, 63, "write(2) is not seen in the mapping: they are two things now;");
}

/* --- protections and flags ------------------------------------------------------------- */
VICTIM(prot_none)
{
	char *m = map_anon(8 * PAGE);
	char *reserved = SYS(mmap(NULL, 1UL << 30, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

	fill(m, 8 * PAGE, 71);
	SYS(mprotect(m, 8 * PAGE, PROT_NONE));
	ready();
	SYS(mprotect(m, 8 * PAGE, PROT_READ));
	same_content(m, 8 * PAGE, 71, "memory that was PROT_NONE");
	SYS(mprotect(reserved + (1 << 29), PAGE, PROT_READ | PROT_WRITE));
	reserved[1 << 29] = 1;
}

VICTIM(protections)
{
	static const int prots[] = { PROT_READ, PROT_WRITE, PROT_EXEC, PROT_READ | PROT_EXEC,
				     PROT_READ | PROT_WRITE | PROT_EXEC };
	long pages = param("pages", 2);
	char *m[5];

	for (int i = 0; i < 5; i++) {
		m[i] = map_anon(pages * PAGE);
		fill(m[i], (pages - 1) * PAGE, 80 + i);
		SYS(mprotect(m[i], pages * PAGE, prots[i]));
	}
	ready(); /* compares /proc/self/maps */
	for (int i = 0; i < 5; i++) {
		SYS(mprotect(m[i], pages * PAGE, PROT_READ));
		same_content(m[i], (pages - 1) * PAGE, 80 + i, "memory");
	}
}

/* The VmFlags of the mapping at @at, without those that a tracker sets. */
static const char *vm_flags(const void *at)
{
	static char flags[200];
	char head[32], *text = file_text(TEXT_B, "/proc/self/smaps"), *from, *word, *save;

	snprintf(head, sizeof(head), "%lx-", (unsigned long)at);
	from = strncmp(text, head, strlen(head)) ? strstr(text, head) : text;
	from = from ? strstr(from, "VmFlags:") : NULL;
	CHECK(from, "no mapping at %s", head);
	from[strcspn(from, "\n")] = 0;
	flags[0] = 0;
	for (word = strtok_r(from + 8, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (strcmp(word, "sd") && strcmp(word, "uw") && strcmp(word, "um"))
			strcat(strcat(flags, word), " ");
	return flags;
}

static const struct {
	const char *name;
	int advice;
} advices[] = {
	{ "DONTFORK", MADV_DONTFORK },	   { "DONTDUMP", MADV_DONTDUMP },
	{ "SEQUENTIAL", MADV_SEQUENTIAL }, { "RANDOM", MADV_RANDOM },
	{ "HUGEPAGE", MADV_HUGEPAGE },	   { "NOHUGEPAGE", MADV_NOHUGEPAGE },
	{ "WIPEONFORK", MADV_WIPEONFORK }, { "MERGEABLE", MADV_MERGEABLE },
};
enum { N_ADVICES = sizeof(advices) / sizeof(advices[0]) };

VICTIM(advice)
{
	char *m[N_ADVICES], before[N_ADVICES][200];

	for (int i = 0; i < N_ADVICES; i++) {
		m[i] = (char *)map_anon(6 * PAGE) + PAGE;
		SYS(munmap(m[i] - PAGE, PAGE)); /* no merging with a neighbour */
		SYS(munmap(m[i] + 4 * PAGE, PAGE));
		fill(m[i], 2 * PAGE, 90 + i);
		if (madvise(m[i], 4 * PAGE, advices[i].advice) && errno != EINVAL)
			fail_errno("MADV_%s", advices[i].name);
		strcpy(before[i], vm_flags(m[i]));
	}
	ready();
	for (int i = 0; i < N_ADVICES; i++) {
		CHECK(!strcmp(before[i], vm_flags(m[i])), "MADV_%s: flags are %s, were %s",
		      advices[i].name, vm_flags(m[i]), before[i]);
		same_content(m[i], 2 * PAGE, 90 + i, advices[i].name);
	}
}

VICTIM(locked)
{
	char *m = map_anon(8 * PAGE), *lazy = map_anon(8 * PAGE), *locked, *flags;

	SYS(mlock(m, 8 * PAGE));
	SYS(munmap(lazy, PAGE));
	lazy += PAGE;
	SYS(mlock2(lazy, 4 * PAGE, MLOCK_ONFAULT));
	fill(m, PAGE, 101);
	locked = strdup(file_lines(TEXT_A, "/proc/self/status", "VmLck"));
	flags = strdup(vm_flags(lazy));
	ready();
	same_content(m, PAGE, 101, "locked memory");
	CHECK(!strcmp(locked, file_lines(TEXT_A, "/proc/self/status", "VmLck")), "was %s is %s",
	      locked, file_text(TEXT_B, "/proc/self/status"));
	CHECK(!strcmp(flags, vm_flags(lazy)), "flags are %s, were %s", vm_flags(lazy), flags);
	CHECK(!populated(lazy + PAGE), "memory locked on fault was populated");
}

/* --- guard pages ---------------------------------------------------------------------------- */
VICTIM(guard_pages)
{
	char *m = map_anon(16 * PAGE);

	for (int i = 0; i < 16; i++)
		fill(m + i * PAGE, PAGE, 110 + i);
	if (madvise(m + 4 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL))
		cannot("no guard pages: %s", strerror(errno));
	SYS(madvise(m + 15 * PAGE, PAGE, MADV_GUARD_INSTALL));
	ready();
	for (int i = 0; i < 16; i++) {
		bool guard = i == 4 || i == 5 || i == 15;

		CHECK(can_touch(m + i * PAGE) == !guard, "page %d is %sa guard page", i,
		      guard ? "no longer " : "");
		if (!guard)
			same_content(m + i * PAGE, PAGE, 110 + i, "page among guard pages");
	}
	SYS(madvise(m, 16 * PAGE, MADV_GUARD_REMOVE));
	CHECK(can_touch(m + 4 * PAGE), "a removed guard page still guards");
}

VICTIM(huge_pages)
{
	enum { HUGE = 2 << 20, N = 3 };
	char *m = map_anon((N + 1) * HUGE), *at = (char *)(((uintptr_t)m + HUGE - 1) & -HUGE);

	SYS(madvise(at, N * HUGE, MADV_HUGEPAGE));
	fill(at, N * HUGE, 121);
	fill(at + HUGE + 5 * PAGE, PAGE, 122);
	SYS(madvise(at + 2 * HUGE + 7 * PAGE, PAGE, MADV_DONTNEED)); /* splits it */
	ready();
	same_content(at, HUGE, 121, "huge page");
	same_content(at + HUGE + 5 * PAGE, PAGE, 122, "written page within a huge page");
	CHECK(!at[2 * HUGE + 7 * PAGE], "dropped page is back");
}

/* --- vdso -------------------------------------------------------------------------------------- */
VICTIM(vdso)
{
	unsigned long at = getauxval(AT_SYSINFO_EHDR);
	struct timespec a, b;
	unsigned cpu;

	CHECK(at, "no vdso");
	clock_gettime(CLOCK_MONOTONIC, &a);
	ready();
	CHECK(getauxval(AT_SYSINFO_EHDR) == at, "the vdso's address changed");
	CHECK(!memcmp((void *)at, "\177ELF", 4), "there is no vdso at %lx", at);
	for (int i = 0; i < 1000; i++) {
		clock_gettime(CLOCK_MONOTONIC, &b);
		CHECK(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec),
		      "time went back");
		a = b;
	}
	SYS(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &b));
	CHECK(b.tv_sec - a.tv_sec < 2, "the vdso's clock is not the kernel's");
	CHECK(!getcpu(&cpu, NULL), "getcpu fails");
}

/* --- size ----------------------------------------------------------------------------------------- */
static long page_tables(void)
{
	return atol(file_lines(TEXT_B, "/proc/self/status", "VmPTE:") + 6);
}

/* Much reserved, little used: cost must follow what is used. */
VICTIM(reservation)
{
	size_t size = 1UL << param("bits", 40), step;
	long pages = param("pages", 1000), before;
	char *m;

	m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (m == MAP_FAILED)
		cannot("cannot reserve %zu bytes: %s", size, strerror(errno));
	SYS(madvise(m, size, MADV_NOHUGEPAGE));
	step = size / pages / PAGE * PAGE;
	for (long i = 0; i < pages; i++)
		fill(m + i * step, PAGE, i);
	before = page_tables();
	ready();
	CHECK(page_tables() <= before + before / 4 + 64, "page tables take %ld kB, took %ld kB",
	      page_tables(), before);
	for (long i = 0; i < pages; i++)
		same_content(m + i * step, PAGE, i, "page of a reservation");
}

VICTIM(many_mappings)
{
	long n = param("count", 20000);
	char *m = map_anon(n * PAGE);

	maps_may_change(); /* too long to compare as text */
	SYS(madvise(m, n * PAGE, MADV_NOHUGEPAGE));
	for (long i = 0; i < n; i += 5)
		fill(m + i * PAGE, 64, i);
	for (long i = 0; i < n; i += 2)
		if (mprotect(m + i * PAGE, PAGE, PROT_READ))
			cannot("no more than %ld mappings: %s", i, strerror(errno));
	ready();
	for (long i = 0; i < n; i += 5)
		same_content(m + i * PAGE, 64, i, "page of many mappings");
	for (long i = 1; i < n; i += 2)
		m[i * PAGE + 100] = 1;
	CHECK(read(SYS(open("/dev/zero", O_RDONLY)), m, 1) < 0 && errno == EFAULT,
	      "a read-only page can be written");
}
