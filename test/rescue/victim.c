/*
 * victim.c - threads that notice when anything of theirs is changed.
 *
 *	victim FILE THREADS [allow|deny|calm]
 *
 * Registers and vector halves, the red zone, signal mask and alternate stack,
 * time slept, bytes read; and in the first thread memory, the list of mappings
 * and descriptors. What is found goes into FILE (report.h). "allow" puts it under a
 * seccomp filter that lets a rescue through, "deny" under one that does not. "calm": threads
 * that compute rest most of the time, for a test that only asks whether they go on.
 */
#include "base/mem.h"
#include "test/rescue/report.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#define SPINS	   3000000ull
#define NAP_MS	   40
#define REST_MS	   20
#define TICK_MS	   10 /* to which the kernel tells when a thread went to sleep in epoll_wait */
#define STACK_SIZE 16384
#define PAGES	   1024

static struct report *report;
static int feed[2], epoll;
static bool calm;
static char alt_stacks[REPORT_THREADS][STACK_SIZE] __attribute__((aligned(64)));

static void damage(long id, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(report->last, sizeof(report->last), "thread %ld: %s", id, text);
	__atomic_fetch_add(&report->damage, 1, __ATOMIC_SEQ_CST);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- registers ------------------------------------------------------------------------- */

struct pattern {
	uint64_t general[8];  /* r8 to r15 */
	uint64_t vector[256]; /* 32 registers of 64 bytes */
} __attribute__((aligned(64)));

#define LOAD_GENERAL                                                                               \
	"mov 0(%[in]), %%r8\n\tmov 8(%[in]), %%r9\n\t"                                             \
	"mov 16(%[in]), %%r10\n\tmov 24(%[in]), %%r11\n\t"                                         \
	"mov 32(%[in]), %%r12\n\tmov 40(%[in]), %%r13\n\t"                                         \
	"mov 48(%[in]), %%r14\n\tmov 56(%[in]), %%r15\n\t"                                         \
	"mov %%r8, -8(%%rsp)\n\tmov %%r9, -128(%%rsp)\n\t"

#define SPIN "stc\n1:\tdec %[n]\n\tjnz 1b\n\tsetc %[carry]\n\t"

#define STORE_GENERAL                                                                              \
	"mov %%r8, 0(%[out])\n\tmov %%r9, 8(%[out])\n\t"                                           \
	"mov %%r10, 16(%[out])\n\tmov %%r11, 24(%[out])\n\t"                                       \
	"mov %%r12, 32(%[out])\n\tmov %%r13, 40(%[out])\n\t"                                       \
	"mov %%r14, 48(%[out])\n\tmov %%r15, 56(%[out])\n\t"                                       \
	"mov -8(%%rsp), %%r8\n\tmov -128(%%rsp), %%r9\n\t"                                         \
	"xor 0(%[in]), %%r8\n\txor 8(%[in]), %%r9\n\tor %%r9, %%r8\n\tmov %%r8, %[red]\n\t"

#define YMMS "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define ZMMS YMMS ",16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

#define SPIN_WITH(load, store)                                                                     \
	__asm__ volatile(load LOAD_GENERAL SPIN store STORE_GENERAL "vzeroupper"                   \
			 : [n] "+r"(n), [carry] "=m"(carry), [red] "=m"(red)                       \
			 : [in] "r"(in), [out] "r"(out)                                            \
			 : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc")

static void spin(long id, const struct pattern *in, struct pattern *out, bool wide)
{
	uint64_t n = SPINS, red = 1;
	uint8_t carry = 0;
	size_t len = wide ? sizeof(in->vector) : 16 * 64;

	memcpy(out->vector, in->vector, sizeof(out->vector));
	if (wide)
		SPIN_WITH(".irp i," ZMMS "\n\tvmovdqu64 64+64*\\i(%[in]), %%zmm\\i\n\t.endr\n\t",
			  ".irp i," ZMMS "\n\tvmovdqu64 %%zmm\\i, 64+64*\\i(%[out])\n\t.endr\n\t");
	else
		SPIN_WITH(".irp i," YMMS "\n\tvmovdqu 64+64*\\i(%[in]), %%ymm\\i\n\t.endr\n\t",
			  ".irp i," YMMS "\n\tvmovdqu %%ymm\\i, 64+64*\\i(%[out])\n\t.endr\n\t");
	if (!carry)
		damage(id, "flags changed");
	if (red)
		damage(id, "red zone changed");
	if (memcmp(in->general, out->general, sizeof(in->general)) != 0)
		damage(id, "general registers changed");
	if (memcmp(in->vector, out->vector, len) != 0)
		damage(id, "vector registers changed");
}

static void spin_for_ever(long id)
{
	const struct timespec rest = { .tv_nsec = REST_MS * 1000000 };
	struct pattern in, out;
	uint64_t *word = (uint64_t *)&in;
	bool wide = __builtin_cpu_supports("avx512f") && id % 8 >= 4;

	if (!__builtin_cpu_supports("avx"))
		exit(77);
	for (size_t i = 0; i < sizeof(in) / sizeof(*word); i++)
		word[i] = (uint64_t)(id + 1) * 0x9e3779b97f4a7c15u + i * 0x0101010101010101u;
	for (;;) {
		spin(id, &in, &out, wide);
		report->round[id]++;
		if (calm)
			nanosleep(&rest, NULL);
	}
}

/* --- sleeps ------------------------------------------------------------------------------ */

/* @rc of a sleep of NAP_MS that began at @start: in full, or EINTR by a rescue. */
static void judge_sleep(long id, const char *what, int kind, int rc, uint64_t start)
{
	if (rc == EINTR)
		__atomic_fetch_add(&report->eintr, 1, __ATOMIC_SEQ_CST);
	else if (rc)
		damage(id, "%s: %s", what, strerror(rc));
	else if (now_ns() - start < (NAP_MS - (kind < 2 ? 1 : TICK_MS)) * 1000000ull)
		__atomic_fetch_add(&report->early, 1, __ATOMIC_SEQ_CST);
}

static int nap(int kind)
{
	struct timespec t = { .tv_nsec = NAP_MS * 1000000 };
	struct epoll_event event;
	uint32_t word = 0;
	long rc;

	switch (kind) {
	case 0:
		rc = nanosleep(&t, NULL);
		return rc < 0 ? errno : 0;
	case 1:
		rc = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
		return rc < 0 && errno != ETIMEDOUT ? errno : 0;
	default:
		rc = epoll_wait(epoll, &event, 1, NAP_MS);
		return rc < 0 ? errno : (int)-rc;
	}
}

static void sleep_for_ever(long id, const char *what, int kind)
{
	for (;;) {
		uint64_t start = now_ns();
		int rc = nap(kind);

		judge_sleep(id, what, kind, rc, start);
		report->round[id]++;
	}
}

/* A read that is restarted by the kernel: no EINTR, nothing lost or doubled. */
static void read_for_ever(long id)
{
	char c;

	for (;;) {
		if (read(feed[0], &c, 1) != 1 || c != 'x')
			damage(id, "read: %s", strerror(errno));
		report->round[id]++;
	}
}

/* --- what belongs to a thread, to the task --------------------------------------------------- */

static uint64_t own_mask(long id)
{
	return (1ull << (SIGUSR1 - 1)) | (1ull << (34 + id % 20));
}

static void set_own(long id)
{
	stack_t alt = { .ss_sp = alt_stacks[id], .ss_size = STACK_SIZE - 64 * (size_t)(id % 7) };
	uint64_t mask = own_mask(id);

	sigaltstack(&alt, NULL);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

static void *watch_neighbours(void *arg);

static void *thread(void *arg)
{
	long id = (long)arg;

	set_own(id);
	switch (id % 5) {
	case 1:
		spin_for_ever(id);
		break;
	case 2:
		sleep_for_ever(id, "epoll_wait", 2);
		break;
	case 3:
		read_for_ever(id);
		break;
	case 4:
		return watch_neighbours(arg);
	default:
		sleep_for_ever(id, "nanosleep", 0);
	}
	return NULL;
}

static void check_own(long id)
{
	uint64_t mask = 0;
	stack_t alt;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask));
	if (mask != own_mask(id))
		damage(id, "signal mask is %lx", mask);
	sigaltstack(NULL, &alt);
	if (alt.ss_sp != alt_stacks[id] || alt.ss_size != STACK_SIZE - 64 * (size_t)(id % 7))
		damage(id, "alternate stack is %p, %zu bytes", alt.ss_sp, alt.ss_size);
}

static void *watch_neighbours(void *arg)
{
	long id = (long)arg;

	for (;;) {
		uint64_t start = now_ns();

		judge_sleep(id, "futex", 1, nap(1), start);
		check_own(id);
		report->round[id]++;
	}
	return NULL;
}

/* A mapping as "range flags offset path": which device a file lies on is no matter. */
static void drop_device(char *line)
{
	char *device = line, *path;

	for (int field = 0; field < 3; field++)
		device += strcspn(device, " ") + 1;
	path = device + strcspn(device, " ") + 1;
	path += strcspn(path, " \n");
	path += strspn(path, " "); /* fewer behind a longer number */
	memmove(device, path, strlen(path) + 1);
}

/* /proc/self/maps without the lines that grow by themselves. */
static size_t read_maps(char *buf, size_t len)
{
	char line[512];
	size_t n = 0;
	FILE *f = fopen("/proc/self/maps", "re");

	while (f && fgets(line, sizeof(line), f)) {
		size_t l;

		drop_device(line);
		l = strlen(line);
		if (strstr(line, "[stack]") || strstr(line, "[heap]") || n + l >= len)
			continue;
		memcpy(buf + n, line, l + 1);
		n += l;
	}
	if (f)
		fclose(f);
	return n;
}

static int count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void feed_readers(uint32_t threads)
{
	for (uint32_t id = 0; id < threads; id++)
		if (id % 5 == 3 && write(feed[1], "x", 1) != 1)
			damage(0, "write: %s", strerror(errno));
}

/* Every page says where it lies and when it was last written; some are, each round. */
static void check_memory(uint64_t round)
{
	static uint64_t memory[PAGES][512] __attribute__((aligned(4096)));
	static uint64_t written[PAGES];

	for (size_t i = 0; i < PAGES; i++)
		for (size_t word = 0; word < 512; word += 73)
			if (written[i] && memory[i][word] != (written[i] << 32 | i << 10 | word))
				damage(0, "page %zu of its memory changed", i);
	for (size_t n = 0; n < PAGES / 16; n++) {
		size_t i = (round * 37 + n * n) % PAGES;

		written[i] = round + 1;
		for (size_t word = 0; word < 512; word += 73)
			memory[i][word] = written[i] << 32 | i << 10 | word;
	}
}

static void lead(uint32_t threads)
{
	static char maps[65536], maps_now[65536];
	int descriptors = count_descriptors();

	set_own(0);
	read_maps(maps, sizeof(maps));
	report->threads = threads;
	for (;;) {
		uint64_t start = now_ns();

		judge_sleep(0, "nanosleep", 0, nap(0), start);
		feed_readers(threads);
		check_own(0);
		check_memory(report->round[0]);
		read_maps(maps_now, sizeof(maps_now));
		if (strcmp(maps, maps_now) != 0)
			damage(0, "mappings changed: %s", maps_now);
		if (count_descriptors() != descriptors)
			damage(0, "%d descriptors, not %d", count_descriptors(), descriptors);
		report->round[0]++;
	}
}

/* --- start ----------------------------------------------------------------------------------- */

static void filter(bool deny)
{
	struct sock_filter insn[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, deny ? SYS_munmap : SYS_socket, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = ARRAY_SIZE(insn), .filter = insn };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		exit(77);
}

int main(int argc, char **argv)
{
	uint32_t threads = argc > 2 ? (uint32_t)atoi(argv[2]) : 1;
	pthread_attr_t attr;
	pthread_t t;
	int fd;

	if (argc < 3 || threads < 1 || threads > REPORT_THREADS)
		return 2;
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*report)) < 0 || pipe(feed) < 0)
		return 1;
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	epoll = epoll_create1(0);
	if (report == MAP_FAILED || epoll < 0)
		return 1;
	close(fd);
	calm = argc > 3 && strcmp(argv[3], "calm") == 0;
	if (argc > 3 && !calm)
		filter(strcmp(argv[3], "deny") == 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (uintptr_t id = 1; id < threads; id++)
		if (pthread_create(&t, &attr, thread, (void *)id) != 0)
			return 1;
	lead(threads);
}
