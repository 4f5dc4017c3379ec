/* frame.c - our signal frames against one that the kernel has made. */
#include "criu-lite/arch/x86-64/frame.h"
#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>
#include <cmocka.h>

static ucontext_t seen;
static uint8_t seen_sw[48];
static uint8_t buf[32768] __attribute__((aligned(64)));

#define MAGIC1_AT 464 /* in the xstate area */

static void handler(int sig, siginfo_t *info, void *context)
{
	seen = *(ucontext_t *)context;
	memcpy(seen_sw, (uint8_t *)seen.uc_mcontext.fpregs + MAGIC1_AT, sizeof(seen_sw));
}

static struct regs regs_seen(void)
{
	const greg_t *g = seen.uc_mcontext.gregs;
	uint16_t segment[4]; /* cs, gs, fs, ss */

	memcpy(segment, &g[REG_CSGSFS], sizeof(segment));
	return (struct regs) {
		.user = {
			.r8 = (uint64_t)g[REG_R8],
			.r9 = (uint64_t)g[REG_R9],
			.r10 = (uint64_t)g[REG_R10],
			.r11 = (uint64_t)g[REG_R11],
			.r12 = (uint64_t)g[REG_R12],
			.r13 = (uint64_t)g[REG_R13],
			.r14 = (uint64_t)g[REG_R14],
			.r15 = (uint64_t)g[REG_R15],
			.rdi = (uint64_t)g[REG_RDI],
			.rsi = (uint64_t)g[REG_RSI],
			.rbp = (uint64_t)g[REG_RBP],
			.rbx = (uint64_t)g[REG_RBX],
			.rdx = (uint64_t)g[REG_RDX],
			.rax = (uint64_t)g[REG_RAX],
			.rcx = (uint64_t)g[REG_RCX],
			.rsp = (uint64_t)g[REG_RSP],
			.rip = (uint64_t)g[REG_RIP],
			.eflags = (uint64_t)g[REG_EFL],
			.cs = segment[0],
			.ss = segment[3],
		},
	};
}

static int setup(void **state)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	sigaction(SIGUSR1, &action, NULL);
	return raise(SIGUSR1);
}

static void registers_lie_where_the_kernel_has_them(void **state)
{
	struct regs regs = regs_seen();
	struct frame f = { .regs = &regs, .mask = 0x1234, .flags = FRAME_FLAGS };
	const ucontext_t *made = (const ucontext_t *)buf;
	uint64_t mask;

	assert_int_equal(frame_build(buf, 0x7000, &f), frame_size(NULL));
	assert_memory_equal(made->uc_mcontext.gregs, seen.uc_mcontext.gregs,
			    (REG_CSGSFS + 1) * sizeof(greg_t));
	memcpy(&mask, &made->uc_sigmask, sizeof(mask));
	assert_int_equal(mask, 0x1234);
	assert_null(made->uc_mcontext.fpregs);
	assert_int_equal(made->uc_flags, FRAME_FLAGS);
}

static void alternate_stack(void **state)
{
	struct regs regs = regs_seen();
	struct frame_altstack alt = { .sp = 0x5000, .flags = SS_DISABLE, .size = 0x3000 };
	struct frame f = { .regs = &regs, .altstack = &alt };
	const ucontext_t *made = (const ucontext_t *)buf;

	frame_build(buf, 0x7000, &f);
	assert_ptr_equal(made->uc_stack.ss_sp, (void *)0x5000);
	assert_int_equal(made->uc_stack.ss_flags, SS_DISABLE);
	assert_int_equal(made->uc_stack.ss_size, 0x3000);
	f.altstack = NULL; /* must be one that the kernel declines */
	frame_build(buf, 0x7000, &f);
	assert_true(made->uc_stack.ss_size < (size_t)MINSIGSTKSZ);
	assert_int_equal(made->uc_stack.ss_flags, 0);
}

/* Only what is in use is announced, within the size that the kernel itself would write. */
static void xstate_is_as_small_as_may_be(void **state)
{
	struct regs regs = regs_seen();
	uint64_t host = xstate_host_features(), in_use = host & 7, features;
	struct xstate x = { .features = host, .len = xstate_len(host) };
	struct frame f = { .regs = &regs, .xstate = &x };
	uint32_t magic[2], kernel_size, size, magic2;
	const ucontext_t *made = (const ucontext_t *)buf;
	uint8_t *area;

	x.area = xcalloc(1, x.len);
	x.area[0] = 0x7f;
	memcpy(x.area + 512, &in_use, sizeof(in_use));
	assert_true(frame_build(buf, 0x7000, &f) <= sizeof(buf));
	area = buf + ((uint64_t)made->uc_mcontext.fpregs - 0x7000);
	assert_int_equal((uint64_t)made->uc_mcontext.fpregs % 64, 0);
	assert_int_equal(area[0], 0x7f);
	memcpy(magic, area + MAGIC1_AT, sizeof(magic));
	memcpy(&features, area + MAGIC1_AT + 8, sizeof(features));
	memcpy(&size, area + MAGIC1_AT + 16, sizeof(size));
	memcpy(&magic2, area + size, sizeof(magic2));
	memcpy(&kernel_size, seen_sw + 16, sizeof(kernel_size));
	assert_memory_equal(magic, seen_sw, 4);
	assert_int_equal(magic[1], size + 4);
	assert_int_equal(magic2, 0x46505845);
	assert_true(size <= kernel_size);
	assert_int_equal(features, in_use | 3 | (host & (1 << 9)));
	free(x.area);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_lie_where_the_kernel_has_them),
		cmocka_unit_test(alternate_stack),
		cmocka_unit_test(xstate_is_as_small_as_may_be),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
