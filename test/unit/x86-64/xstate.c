/* xstate.c - extended registers of a stopped child, as messages and back. */
#include "criu-lite/arch/x86-64/xstate.h"
#include "base/mem.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define AVX (1ull << 2)

static uint8_t pattern[32];

/* A child that has stopped itself with the pattern in %xmm5 or, with AVX, %ymm5. */
static pid_t stopped_child(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		if (xstate_host_features() & AVX)
			__asm__ volatile("vmovdqu %0, %%ymm5" ::"m"(pattern) : "xmm5");
		else
			__asm__ volatile("movdqu %0, %%xmm5" ::"m"(pattern) : "xmm5");
		/* kill(getpid(), SIGSTOP) without the libc, which may use vectors */
		__asm__ volatile("syscall" ::"a"(62), "D"(getppid() ? getpid() : 0), "S"(SIGSTOP)
				 : "rcx", "r11", "memory");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int setup(void **state)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + 1);
	return 0;
}

static void length_of_legacy_area(void **state)
{
	assert_int_equal(xstate_len(3), 576);
	if (xstate_host_features() & AVX)
		assert_int_equal(xstate_len(3 | AVX), 576 + 256);
}

/* No tool has a use for it: what it lets a thread execute leaves these registers alone. */
static void xstate_set(pid_t pid, const struct xstate *x)
{
	struct iovec v = { x->area, x->len };

	assert_return_code(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &v), errno);
}

static void reads_and_saves(void **state)
{
	pid_t pid = stopped_child();
	UserX86FpregsEntry e = USER_X86_FPREGS_ENTRY__INIT;
	struct xstate x = {};
	struct err err;

	assert_int_equal(xstate_get(pid, &x, &err), 0);
	end(pid);
	xstate_to_entry(&x, &e);
	assert_int_equal(e.n_st_space, 32);
	assert_int_equal(e.n_xmm_space, 64);
	assert_memory_equal(&e.xmm_space[5 * 4], pattern, 16);
	assert_non_null(e.xsave);
	if (x.features & AVX) {
		assert_int_equal(e.xsave->n_ymmh_space, 64);
		assert_memory_equal(&e.xsave->ymmh_space[5 * 4], pattern + 16, 16);
		assert_true(xstate_frame_len(&x) >= 576 + 256);
	}
	free(e.st_space);
	free(e.xmm_space);
	user_x86_xsave_entry__free_unpacked(e.xsave, NULL);
	xstate_release(&x);
}

/* Saved from one child, given to another: that one has the same registers. */
static void goes_round(void **state)
{
	pid_t pid = stopped_child();
	UserX86FpregsEntry e = USER_X86_FPREGS_ENTRY__INIT;
	struct xstate x = {}, made = {}, again = {};
	struct err err;

	assert_int_equal(xstate_get(pid, &x, &err), 0);
	xstate_to_entry(&x, &e);
	assert_int_equal(xstate_from_entry(&made, &e, &err), 0);
	assert_int_equal(xstate_in_use(&made), xstate_in_use(&x) | 3);
	memset(x.area + 160 + 5 * 16, 0, 16); /* %xmm5 */
	xstate_set(pid, &x);
	memcpy(x.area, made.area, made.len < x.len ? made.len : x.len);
	xstate_set(pid, &x);
	assert_int_equal(xstate_get(pid, &again, &err), 0);
	assert_memory_equal(again.area + 160 + 5 * 16, pattern, 16);
	end(pid);
	free(e.st_space);
	free(e.xmm_space);
	user_x86_xsave_entry__free_unpacked(e.xsave, NULL);
	xstate_release(&x);
	xstate_release(&made);
	xstate_release(&again);
}

static uint32_t st[32], xmm[64], short_ymmh[63];

static UserX86FpregsEntry legacy_entry(void)
{
	UserX86FpregsEntry e = USER_X86_FPREGS_ENTRY__INIT;

	e.cwd = 0x37f;
	e.mxcsr = 0x1f80;
	e.n_st_space = 32;
	e.st_space = st;
	e.n_xmm_space = 64;
	e.xmm_space = xmm;
	return e;
}

static void takes_legacy_alone(void **state)
{
	UserX86FpregsEntry e = legacy_entry();
	struct xstate x = {};

	assert_int_equal(xstate_from_entry(&x, &e, NULL), 0);
	assert_int_equal(xstate_in_use(&x), 3);
	xstate_release(&x);
}

/* Few machines have tiles: an area is made up that says so in its header. */
static void refuses_tiles_in_use(void **state)
{
	static uint8_t area[XSTATE_MAX];
	struct xstate x = { .area = area, .len = sizeof(area), .features = 7 | 1ull << 18 };
	uint64_t in_use = 3;
	struct err err = {};

	memcpy(area + 512, &in_use, sizeof(in_use));
	assert_int_equal(xstate_check(9, &x, &err), 0);
	in_use |= 1ull << 18;
	memcpy(area + 512, &in_use, sizeof(in_use));
	assert_int_equal(xstate_check(9, &x, &err), ERR_REFUSED);
	assert_string_equal(err.text, "thread 9: AMX registers are in use");
}

/* --- other processors than this one --------------------------------------------------- */

static bool has_osxsave, has_leaf_d;
static uint32_t avx_len, avx_at;

static bool cpuid_made_up(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	bool avx = leaf == 0xd && subleaf == 2;

	r[0] = avx ? avx_len : 0;
	r[1] = avx ? avx_at : 0;
	r[2] = leaf == 1 && has_osxsave ? bit_OSXSAVE : 0;
	r[3] = 0;
	return leaf == 1 || (leaf == 0xd && has_leaf_d);
}

static uint64_t xcr0_made_up(void)
{
	assert_true(has_osxsave); /* else the instruction is not there */
	return 3 | AVX;
}

static int check_made_up(struct xstate_layout *l, struct err *err)
{
	const struct xstate_processor cpu = { cpuid_made_up, xcr0_made_up };

	xstate_layout_ask(l, &cpu);
	return xstate_layout_check(l, err);
}

static void knows_the_layout(void **state)
{
	struct xstate_layout l;

	has_osxsave = has_leaf_d = true;
	avx_len = 256;
	avx_at = 576;
	assert_int_equal(check_made_up(&l, NULL), 0);
	assert_true(l.xsave);
	assert_int_equal(l.features, 3 | AVX);
	assert_int_equal(l.component[2].at, 576);
	assert_int_equal(l.component[2].len, 256);
	assert_int_equal(l.component[3].len, 0);
	assert_int_equal(xstate_host_check(NULL), 0);
}

static void refuses_without_xsave(void **state)
{
	struct xstate_layout l;
	struct err err = {};

	has_osxsave = false;
	has_leaf_d = true;
	assert_int_equal(check_made_up(&l, &err), ERR_REFUSED);
	assert_non_null(strstr(err.text, "has no XSAVE"));
	assert_int_equal(l.features, 3);
	has_osxsave = true;
	has_leaf_d = false;
	assert_int_equal(check_made_up(&l, &err), ERR_REFUSED);
	assert_non_null(strstr(err.text, "has no XSAVE"));
}

static void refuses_a_layout_that_is_not_known(void **state)
{
	static const uint32_t wrong[][2] = { { 0, 0 },
					     { 128, 576 },
					     { 256, 512 },
					     { 256, XSTATE_MAX - 255 },
					     { UINT32_MAX, UINT32_MAX } };
	struct xstate_layout l;
	struct err err;

	has_osxsave = has_leaf_d = true;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		avx_len = wrong[i][0];
		avx_at = wrong[i][1];
		err = (struct err) {};
		assert_int_equal(check_made_up(&l, &err), ERR_REFUSED);
		assert_non_null(strstr(err.text, "AVX in a layout that is not known"));
	}
}

/* As if the kernel showed less than there is. */
static void refuses_an_area_that_is_short(void **state)
{
	static uint8_t area[576 + 256];
	struct xstate x = { .area = area, .len = sizeof(area) - 1, .features = 3 | AVX };
	uint64_t in_use = 3 | AVX;
	struct err err = {};

	memcpy(area + 512, &in_use, sizeof(in_use));
	assert_int_equal(xstate_check(9, &x, &err), ERR_REFUSED);
	assert_non_null(strstr(err.text, "thread 9: registers of AVX are in use"));
	x.len++;
	assert_int_equal(xstate_check(9, &x, &err), xstate_host_features() & AVX ? 0 : ERR_REFUSED);
}

static void refuses_wrong_lengths(void **state)
{
	UserX86FpregsEntry e = legacy_entry();
	UserX86XsaveEntry xsave = USER_X86_XSAVE_ENTRY__INIT;
	struct xstate x = {};
	struct err err;

	e.n_xmm_space = 63;
	assert_int_equal(xstate_from_entry(&x, &e, &err), -EINVAL);
	e = legacy_entry();
	e.xsave = &xsave;
	xsave.ymmh_space = short_ymmh;
	xsave.n_ymmh_space = 63;
	assert_int_equal(xstate_from_entry(&x, &e, &err), -EINVAL);
	assert_non_null(strstr(err.text, "AVX"));
	assert_null(x.area);
}

static void refuses_what_the_machine_lacks(void **state)
{
	UserX86FpregsEntry e = legacy_entry();
	UserX86XsaveEntry xsave = USER_X86_XSAVE_ENTRY__INIT;
	struct xstate x = {};
	struct err err;

	e.xsave = &xsave;
	xsave.xstate_bv = 3 | (1ull << 18);
	assert_int_equal(xstate_from_entry(&x, &e, &err), ERR_REFUSED);
	assert_non_null(strstr(err.text, "AMX tile data"));
	xsave.xstate_bv = 1ull << 62;
	assert_int_equal(xstate_from_entry(&x, &e, &err), ERR_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(length_of_legacy_area),
		cmocka_unit_test(reads_and_saves),
		cmocka_unit_test(goes_round),
		cmocka_unit_test(takes_legacy_alone),
		cmocka_unit_test(refuses_tiles_in_use),
		cmocka_unit_test(knows_the_layout),
		cmocka_unit_test(refuses_without_xsave),
		cmocka_unit_test(refuses_a_layout_that_is_not_known),
		cmocka_unit_test(refuses_an_area_that_is_short),
		cmocka_unit_test(refuses_wrong_lengths),
		cmocka_unit_test(refuses_what_the_machine_lacks),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
