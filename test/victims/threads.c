/* threads.c - victims: what a thread is made of. */
#include "victim.h"

#include <asm/prctl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

/* Start @n threads of @fn, each with its number, and wait for started() from all. */
static pthread_barrier_t all_there;
static int finish;

static void started(void)
{
	pthread_barrier_wait(&all_there);
}

static void wait_finish(void)
{
	/* Thousands that look again and again would leave no time for anything else. */
	while (!__atomic_load_n(&finish, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, &finish, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void end_threads(void)
{
	__atomic_store_n(&finish, 1, __ATOMIC_RELEASE);
	SYS(syscall(SYS_futex, &finish, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
}

static void with_threads(long n, void *(*fn)(void *))
{
	pthread_t *t = calloc(n, sizeof(*t));
	pthread_attr_t attr;

	CHECK(t, "calloc");
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	pthread_barrier_init(&all_there, NULL, n + 1);
	for (long i = 0; i < n; i++)
		CHECK(!pthread_create(&t[i], &attr, fn, (void *)i), "cannot start thread %ld", i);
	started();
	ready();
	end_threads();
	for (long i = 0; i < n; i++)
		CHECK(!pthread_join(t[i], NULL), "cannot join thread %ld", i);
}

/* --- the many small things every thread has -------------------------------- */
static __thread long own_value = -1;

static void *on_own_stack;
static void look_at_stack(int sig)
{
	on_own_stack = __builtin_frame_address(0);
}

static void check_altstack(const stack_t *want)
{
	stack_t now;

	SYS(sigaltstack(NULL, &now));
	CHECK(now.ss_sp == want->ss_sp && now.ss_size == want->ss_size &&
		      now.ss_flags == want->ss_flags,
	      "alternate stack is %p+%zu flags %x, was %p+%zu flags %x", now.ss_sp, now.ss_size,
	      now.ss_flags, want->ss_sp, want->ss_size, want->ss_flags);
}

static void *equipped(void *number)
{
	static const unsigned flags[] = { 0, 1U << 31 /* SS_AUTODISARM */ };
	stack_t stack = { .ss_sp = map_anon(65536), .ss_size = 65536 };
	pid_t tid = gettid(), **address, **address_after;
	void *robust, *robust_after;
	size_t len, len_after;
	sigset_t mask, now;
	char name[16], *tls;

	stack.ss_flags = flags[(long)number % 2];
	SYS(sigaltstack(&stack, NULL));
	snprintf(name, sizeof(name), "no %ld) (x", (long)number);
	SYS(prctl(PR_SET_NAME, name));
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + (long)number % 20);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	own_value = (long)number * 3;
	tls = (char *)&own_value;
	SYS(syscall(SYS_get_robust_list, 0, &robust, &len));
	SYS(prctl(PR_GET_TID_ADDRESS, &address));

	started();
	wait_finish();

	CHECK(gettid() == tid, "tid is %d, was %d", gettid(), tid);
	CHECK(own_value == (long)number * 3 && (char *)&own_value == tls, "TLS changed");
	SYS(prctl(PR_GET_NAME, name));
	CHECK(atol(name + 3) == (long)number, "thread name is \"%s\"", name);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	for (int s = 1; s < 65; s++)
		CHECK(sigismember(&now, s) == sigismember(&mask, s), "mask of signal %d changed",
		      s);
	check_altstack(&stack);
	SYS(syscall(SYS_get_robust_list, 0, &robust_after, &len_after));
	CHECK(robust == robust_after && len == len_after, "robust list moved");
	SYS(prctl(PR_GET_TID_ADDRESS, &address_after));
	CHECK(address == address_after, "clear_child_tid moved");
	return NULL;
}

VICTIM(threads)
{
	long n = param("count", 8);

	if (n > 2000)
		maps_may_change(); /* too long to compare as text */
	with_threads(n, equipped);
}

VICTIM(altstack_used)
{
	stack_t stack = { .ss_sp = map_anon(65536), .ss_size = 65536 };
	struct sigaction sa = { .sa_handler = look_at_stack, .sa_flags = SA_ONSTACK };

	SYS(sigaltstack(&stack, NULL));
	SYS(sigaction(SIGUSR1, &sa, NULL));
	ready();
	raise(SIGUSR1);
	CHECK((char *)on_own_stack >= (char *)stack.ss_sp &&
		      (char *)on_own_stack < (char *)stack.ss_sp + stack.ss_size,
	      "the handler ran on another stack");
}

/* Frozen in the middle of a handler, on the alternate stack, with the handler's mask. */
static void frozen_handler(int sig, siginfo_t *info, void *uc)
{
	sigset_t mask;

	ready();
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	CHECK(sigismember(&mask, SIGUSR2) == 1 && sigismember(&mask, SIGUSR1) == 1,
	      "the handler's mask was lost");
	CHECK(info->si_value.sival_int == 77, "the handler's siginfo was lost");
}

VICTIM(in_handler)
{
	stack_t stack = { .ss_sp = map_anon(262144), .ss_size = 262144 };
	struct sigaction sa = { .sa_sigaction = frozen_handler,
				.sa_flags = SA_ONSTACK | SA_SIGINFO };
	volatile long local = 12345;
	sigset_t mask;

	sigaddset(&sa.sa_mask, SIGUSR2);
	SYS(sigaltstack(&stack, NULL));
	SYS(sigaction(SIGUSR1, &sa, NULL));
	SYS(sigqueue(getpid(), SIGUSR1, (union sigval) { .sival_int = 77 }));
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	CHECK(local == 12345 && !sigismember(&mask, SIGUSR2), "not back from the handler");
	check_altstack(&stack);
}

/* --- registers --------------------------------------------------------------
 * Fill everything, spin on a word in memory, store everything, compare.
 */
struct regs {
	uint64_t gpr[14]; /* rax rbx rcx rdx rsi rdi r8-r12 r14 r15 rbp, without r13 and rsp */
	unsigned char vec[32 * 64];
	uint64_t k[8];
	double st[4];
	uint32_t mxcsr;
	uint16_t fcw;
} __attribute__((aligned(64)));

enum { SSE = 16, AVX = 32, AVX512 = 64 };

#define EACH16(m)                                                                                  \
	m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11) m(12) m(13) m(14) m(15)
#define HIGH16(m)                                                                                  \
	m(16) m(17) m(18) m(19) m(20) m(21) m(22) m(23) m(24) m(25) m(26) m(27) m(28) m(29) m(30)  \
		m(31)
#define EACH8(m)  m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7)
#define LOAD_X(n) "movdqu " #n "*64(%%rax), %%xmm" #n "\n"
#define SAVE_X(n) "movdqu %%xmm" #n ", " #n "*64(%%rax)\n"
#define LOAD_Y(n) "vmovdqu " #n "*64(%%rax), %%ymm" #n "\n"
#define SAVE_Y(n) "vmovdqu %%ymm" #n ", " #n "*64(%%rax)\n"
#define LOAD_Z(n) "vmovdqu64 " #n "*64(%%rax), %%zmm" #n "\n"
#define SAVE_Z(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%%rax)\n"
#define LOAD_K(n) "kmovw " #n "*8(%%rax), %%k" #n "\n"
#define SAVE_K(n) "kmovw %%k" #n ", " #n "*8(%%rax)\n"
#define SPIN	  "1: pause\n cmpl $0, (%1)\n je 1b\n"
#define VECTORS                                                                                    \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",   \
		"xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

static void spin_sse(struct regs *in, struct regs *out, int *go)
{
	__asm__ volatile("mov %2, %%rax\n" EACH16(LOAD_X) SPIN "mov %0, %%rax\n" EACH16(SAVE_X)
			 :
			 : "r"(out->vec), "r"(go), "r"(in->vec)
			 : "rax", "memory", VECTORS);
}

static void spin_avx(struct regs *in, struct regs *out, int *go)
{
	__asm__ volatile("mov %2, %%rax\n" EACH16(LOAD_Y) SPIN
			 "mov %0, %%rax\n" EACH16(SAVE_Y) "vzeroupper\n"
			 :
			 : "r"(out->vec), "r"(go), "r"(in->vec)
			 : "rax", "memory", VECTORS);
}

__attribute__((target("avx512f"))) static void spin_avx512(struct regs *in, struct regs *out,
							   int *go)
{
	__asm__ volatile("mov %2, %%rax\n" EACH16(LOAD_Z)
				 HIGH16(LOAD_Z) "mov %3, %%rax\n" EACH8(LOAD_K) SPIN
			 "mov %0, %%rax\n" EACH16(SAVE_Z)
				 HIGH16(SAVE_Z) "mov %4, %%rax\n" EACH8(SAVE_K) "vzeroupper\n"
			 :
			 : "r"(out->vec), "r"(go), "r"(in->vec), "r"(in->k), "r"(out->k)
			 : "rax", "memory", VECTORS, "k1", "k2", "k3", "k4", "k5", "k6", "k7");
}

static void spin_x87(struct regs *in, struct regs *out, int *go)
{
	__asm__ volatile(
		"fldcw %2\n ldmxcsr %3\n fldl (%4)\n fldl 8(%4)\n fldl 16(%4)\n fldl 24(%4)\n"
		"1: pause\n cmpl $0, (%6)\n je 1b\n"
		"fstpl 24(%5)\n fstpl 16(%5)\n fstpl 8(%5)\n fstpl (%5)\n fnstcw %0\n stmxcsr %1\n"
		"fninit\n"
		: "=m"(out->fcw), "=m"(out->mxcsr)
		: "m"(in->fcw), "m"(in->mxcsr), "r"(in->st), "r"(out->st), "r"(go)
		: "memory");
}

/* r13 holds the block and its flag word; rsp is left alone. */
void spin_gpr(struct regs *in, struct regs *out, int *go);
__asm__(".text\n.globl spin_gpr\n.type spin_gpr, @function\nspin_gpr:\n"
	"push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
	"push %rsi\n push %rdx\n mov %rdi, %r13\n"
	"mov 0(%r13), %rax\n mov 8(%r13), %rbx\n mov 16(%r13), %rcx\n mov 24(%r13), %rdx\n"
	"mov 32(%r13), %rsi\n mov 40(%r13), %rdi\n mov 48(%r13), %r8\n mov 56(%r13), %r9\n"
	"mov 64(%r13), %r10\n mov 72(%r13), %r11\n mov 80(%r13), %r12\n mov 88(%r13), %r14\n"
	"mov 96(%r13), %r15\n mov 104(%r13), %rbp\n"
	"mov (%rsp), %r13\n 1: pause\n cmpl $0, (%r13)\n je 1b\n mov 8(%rsp), %r13\n"
	"mov %rax, 0(%r13)\n mov %rbx, 8(%r13)\n mov %rcx, 16(%r13)\n mov %rdx, 24(%r13)\n"
	"mov %rsi, 32(%r13)\n mov %rdi, 40(%r13)\n mov %r8, 48(%r13)\n mov %r9, 56(%r13)\n"
	"mov %r10, 64(%r13)\n mov %r11, 72(%r13)\n mov %r12, 80(%r13)\n mov %r14, 88(%r13)\n"
	"mov %r15, 96(%r13)\n mov %rbp, 104(%r13)\n"
	"add $16, %rsp\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
	".size spin_gpr, .-spin_gpr\n.section .note.GNU-stack,\"\",@progbits\n.text\n");

static const struct {
	const char *name;
	void (*spin)(struct regs *in, struct regs *out, int *go);
	const char *cpu;
} register_sets[] = {
	{ "general", spin_gpr, "" },
	{ "sse", spin_sse, "" },
	{ "x87", spin_x87, "" },
	{ "avx", spin_avx, "avx" },
	{ "avx512", spin_avx512, "avx512f" },
};
static unsigned register_set;

static bool cpu_has(const char *what)
{
	if (!strcmp(what, "avx"))
		return __builtin_cpu_supports("avx");
	if (!strcmp(what, "avx512f"))
		return __builtin_cpu_supports("avx512f");
	return true;
}

/* How many bytes of each 64-byte vector slot the set keeps. */
static size_t width_of(unsigned set)
{
	static const size_t widths[] = { 0, SSE, 0, AVX, AVX512 };

	return widths[set];
}

static void compare_regs(const struct regs *in, const struct regs *out, unsigned set)
{
	if (!strcmp(register_sets[set].name, "general"))
		CHECK(!memcmp(in->gpr, out->gpr, sizeof(in->gpr)), "general registers changed");
	for (int i = 0; i < (set == 4 ? 32 : 16); i++)
		CHECK(!memcmp(in->vec + 64 * i, out->vec + 64 * i, width_of(set)),
		      "vector register %d changed", i);
	for (int i = 0; set == 4 && i < 8; i++)
		CHECK(in->k[i] == out->k[i], "mask register %d changed", i);
	if (strcmp(register_sets[set].name, "x87"))
		return;
	CHECK(!memcmp(in->st, out->st, sizeof(in->st)), "x87 stack changed");
	CHECK(in->mxcsr == out->mxcsr && in->fcw == out->fcw, "control words changed");
}

static void *spinner(void *number)
{
	struct regs in, out;

	memset(&out, 0, sizeof(out));
	fill(&in, sizeof(in), (long)number + 1);
	for (int i = 0; i < 8; i++)
		in.k[i] &= 0xffff;
	for (int i = 0; i < 4; i++)
		in.st[i] = 1.5 * i + (long)number;
	in.mxcsr = 0x7f80; /* all masked, round to zero */
	in.fcw = 0x0e7f;   /* all masked, round to zero, 53 bits */
	started();
	register_sets[register_set].spin(&in, &out, &finish);
	compare_regs(&in, &out, register_set);
	return NULL;
}

VICTIM(registers)
{
	const char *want = param_text("set", "general");

	for (register_set = 0; strcmp(register_sets[register_set].name, want); register_set++)
		;
	if (!cpu_has(register_sets[register_set].cpu))
		cannot("the CPU has no %s", want);
	with_threads(param("threads", 2), spinner);
}

static int pkey;

static void *with_pkru(void *unused)
{
	unsigned rights, again;

	__asm__ volatile("rdpkru" : "=a"(rights) : "c"(0) : "rdx");
	rights |= 1U << (pkey * 2 + 1); /* no writes through this key */
	__asm__ volatile("wrpkru" ::"a"(rights), "c"(0), "d"(0));
	started();
	wait_finish();
	__asm__ volatile("rdpkru" : "=a"(again) : "c"(0) : "rdx");
	CHECK(rights == again, "PKRU is %x, was %x", again, rights);
	return NULL;
}

VICTIM(pkru)
{
	int last;

	pkey = syscall(SYS_pkey_alloc, 0, 0);
	if (pkey < 0)
		cannot("no protection keys: %s", strerror(errno));
	/* Two are taken, the one in between is free. */
	last = (SYS(pkey_alloc(0, 0)), SYS(pkey_alloc(0, 0)));
	SYS(pkey_free(pkey + 1));
	with_threads(1, with_pkru);
	CHECK(pkey_alloc(0, 0) == pkey + 1, "the free key is not free");
	for (int key; (key = pkey_alloc(0, 0)) >= 0;)
		CHECK(key != pkey && key != last, "key %d is to be had, and was taken", key);
}

/* --- thread-local storage bases ----------------------------------------------- */
static void *with_gs(void *number)
{
	unsigned long base = 0x700000000000 + (long)number * 4096, now;

	SYS(syscall(SYS_arch_prctl, ARCH_SET_GS, base));
	started();
	wait_finish();
	SYS(syscall(SYS_arch_prctl, ARCH_GET_GS, &now));
	CHECK(now == base, "gs base is %lx, was %lx", now, base);
	return NULL;
}

VICTIM(gs_base)
{
	with_threads(3, with_gs);
}

/* --- robust futexes ----------------------------------------------------------- */
static pthread_mutex_t robust_mutex;

static void *die_holding(void *unused)
{
	CHECK(!pthread_mutex_lock(&robust_mutex), "lock");
	started();
	wait_finish();
	return NULL; /* ends without unlocking; the kernel walks the robust list */
}

VICTIM(robust_mutex_held)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust_mutex, &attr);
	with_threads(1, die_holding);
	CHECK(pthread_mutex_lock(&robust_mutex) == EOWNERDEAD, "the dead owner went unnoticed");
}

/* --- rseq ----------------------------------------------------------------------- */
static struct rseq *own_rseq(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* The kernel keeps cpu_id current only while the registration stands. */
static void *follow_cpu(void *unused)
{
	cpu_set_t allowed, one;

	SYS(sched_getaffinity(0, sizeof(allowed), &allowed));
	started();
	wait_finish();
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		SYS(sched_setaffinity(0, sizeof(one), &one));
		WAIT_FOR(__atomic_load_n(&own_rseq()->cpu_id, __ATOMIC_RELAXED) == (unsigned)cpu,
			 "rseq says CPU %u on CPU %d", own_rseq()->cpu_id, cpu);
	}
	return NULL;
}

VICTIM(rseq)
{
	if (!__rseq_size)
		cannot("the C library does not use rseq");
	with_threads(2, follow_cpu);
}

/* --- scheduling --------------------------------------------------------------------- */
static const struct {
	int policy, priority, nice;
} schedules[] = {
	{ SCHED_OTHER, 0, 5 },
	{ SCHED_OTHER, 0, -7 },
	{ SCHED_BATCH, 0, 3 },
	{ SCHED_IDLE, 0, 0 },
	{ SCHED_FIFO, 11, 0 },
	{ SCHED_RR, 3, 0 },
	{ SCHED_RR | SCHED_RESET_ON_FORK, 4, 0 },
};
enum { N_SCHEDULES = sizeof(schedules) / sizeof(schedules[0]) };

static void *scheduled(void *number)
{
	long i = (long)number;
	struct sched_param p = { .sched_priority = schedules[i].priority }, now;

	SYS(setpriority(PRIO_PROCESS, gettid(), schedules[i].nice));
	SYS(sched_setscheduler(gettid(), schedules[i].policy, &p));
	started();
	wait_finish();
	CHECK(sched_getscheduler(0) == schedules[i].policy, "policy is %#x, was %#x",
	      sched_getscheduler(0), schedules[i].policy);
	SYS(sched_getparam(0, &now));
	CHECK(now.sched_priority == p.sched_priority, "priority is %d", now.sched_priority);
	CHECK(getpriority(PRIO_PROCESS, gettid()) == schedules[i].nice, "nice is %d, was %d",
	      getpriority(PRIO_PROCESS, gettid()), schedules[i].nice);
	return NULL;
}

VICTIM(scheduling)
{
	with_threads(N_SCHEDULES, scheduled);
}

static void *bound(void *number)
{
	cpu_set_t want, now;

	SYS(sched_getaffinity(0, sizeof(want), &want));
	for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &want) && seen++ != (long)number)
			CPU_CLR(cpu, &want);
	SYS(sched_setaffinity(0, sizeof(want), &want));
	started();
	wait_finish();
	SYS(sched_getaffinity(0, sizeof(now), &now));
	CHECK(CPU_EQUAL(&want, &now), "affinity changed");
	return NULL;
}

VICTIM(affinity)
{
	cpu_set_t allowed;

	SYS(sched_getaffinity(0, sizeof(allowed), &allowed));
	with_threads(CPU_COUNT(&allowed) < 2 ? 1 : 2, bound);
}

/* --- threads that come and go during the freeze ----------------------------------------- */
static void *nothing(void *unused)
{
	return NULL;
}

static void *thread_churn_one(void *unused)
{
	pthread_t t;

	started();
	while (!__atomic_load_n(&finish, __ATOMIC_ACQUIRE)) {
		CHECK(!pthread_create(&t, NULL, nothing, NULL), "cannot start a thread");
		CHECK(!pthread_join(t, NULL), "cannot join a thread");
	}
	return NULL;
}

VICTIM(thread_churn)
{
	maps_may_change();
	with_threads(2, thread_churn_one);
}

/* Threads in children, too: every task of the tree has its own set. */
static void child_with_threads(void *unused)
{
	pthread_t t[4];

	pthread_barrier_init(&all_there, NULL, 5);
	for (long i = 0; i < 4; i++)
		CHECK(!pthread_create(&t[i], NULL, equipped, (void *)i), "cannot start a thread");
	started();
	child_ready();
	wait_go();
	end_threads();
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

VICTIM(threads_in_children)
{
	pid_t a = child(child_with_threads, NULL), b = child(child_with_threads, NULL);

	ready();
	join(a);
	join(b);
}
