/* regs.c - what becomes of interrupted calls, and messages of registers. */
#include "criu-lite/arch/x86-64/regs.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <cmocka.h>

#define IP 0x401002

static struct regs interrupted(int64_t result, uint64_t nr)
{
	return (struct regs) {
		.user = { .rax = (uint64_t)result, .orig_rax = nr, .rip = IP, .cs = 0x33 },
	};
}

static const struct settled {
	const char *what;
	int64_t result;
	int64_t nr;
	bool interrupted;
	int64_t resumed;  /* rax for the kernel */
	int64_t in_frame; /* rax, with the instruction pointer back by two; -1: untouched */
	int64_t in_image;
} table[] = {
	{ "read", -512, SYS_read, true, -512, SYS_read, SYS_read },
	{ "clone", -513, SYS_clone, true, -513, SYS_clone, SYS_clone },
	{ "pause", -514, SYS_pause, true, -514, SYS_pause, SYS_pause },
	{ "nanosleep", -516, SYS_nanosleep, true, -516, 219, SYS_nanosleep },
	{ "epoll_wait", -EINTR, SYS_epoll_wait, true, -514, SYS_epoll_wait, SYS_epoll_wait },
	{ "semtimedop", -EINTR, SYS_semtimedop, true, -514, SYS_semtimedop, SYS_semtimedop },
	{ "sigtimedwait", -EINTR, SYS_rt_sigtimedwait, true, -514, SYS_rt_sigtimedwait,
	  SYS_rt_sigtimedwait },
	{ "close has closed", -EINTR, SYS_close, false, -EINTR, -1, -1 },
	{ "an ioctl's own EINTR", -EINTR, SYS_ioctl, false, -EINTR, -1, -1 },
	{ "a result", 17, SYS_read, false, 17, -1, -1 },
	{ "no call", -512, -1, false, -512, -1, -1 },
	{ "no call, EINTR by chance", -EINTR, -1, false, -EINTR, -1, -1 },
};

static void assert_again(const struct regs *regs, const struct regs *before, int64_t nr,
			 const char *what)
{
	int64_t rax = nr < 0 ? regs_result(before) : nr;
	uint64_t ip = nr < 0 ? IP : IP - 2;

	if (regs_result(regs) != rax || regs_ip(regs) != ip)
		fail_msg("%s: rax %ld at %lx", what, (long)regs_result(regs), (long)regs_ip(regs));
}

static void settles(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct settled *s = &table[i];
		const struct regs before = interrupted(s->result, (uint64_t)s->nr);
		struct regs r = before;

		assert_int_equal(regs_interrupted(&before), s->interrupted);
		assert_int_equal(regs_resume(&r, 0), s->resumed != s->result);
		if (regs_result(&r) != s->resumed || regs_ip(&r) != IP)
			fail_msg("%s: resumed with rax %ld", s->what, (long)regs_result(&r));
		/* Settled for the kernel first, as every stopped thread is: the same in the end. */
		regs_for_frame(&r);
		assert_again(&r, &before, s->in_frame, s->what);
		r = before;
		regs_for_image(&r);
		assert_again(&r, &before, s->in_image, s->what);
	}
}

static void takes_sleep_off_epoll_timeout(void **state)
{
	struct regs r = interrupted(-EINTR, SYS_epoll_wait);

	r.user.r10 = 3000;
	regs_resume(&r, 1200400000);
	assert_int_equal(r.user.r10, 1800);
	r = interrupted(-EINTR, SYS_epoll_pwait);
	r.user.r10 = 3000;
	regs_resume(&r, 5000000000);
	assert_int_equal(r.user.r10, 0);
	r = interrupted(-EINTR, SYS_epoll_wait);
	r.user.r10 = (uint64_t)-1; /* no timeout */
	regs_resume(&r, 5000000000);
	assert_int_equal((int32_t)r.user.r10, -1);
	r = interrupted(-EINTR, SYS_semtimedop);
	r.user.r10 = 3000; /* a pointer here */
	regs_resume(&r, 1000000000);
	assert_int_equal(r.user.r10, 3000);
}

static void knows_native(void **state)
{
	struct regs r = interrupted(0, SYS_read);

	assert_true(regs_native(&r));
	r.user.orig_rax |= 0x40000000;
	assert_false(regs_native(&r));
	r.user.orig_rax = (uint64_t)-1;
	assert_true(regs_native(&r));
	r.user.cs = 0x23;
	assert_false(regs_native(&r));
}

static void message_and_back(void **state)
{
	UserX86RegsEntry entry = USER_X86_REGS_ENTRY__INIT;
	struct regs r, back = {};
	uint64_t *word = (uint64_t *)&r.user;

	for (size_t i = 0; i < sizeof(r) / sizeof(*word); i++)
		word[i] = 0x100 + i;
	regs_to_entry(&r, &entry);
	assert_int_equal(entry.ip, r.user.rip);
	assert_int_equal(entry.fs_base, r.user.fs_base);
	assert_int_equal(entry.orig_ax, r.user.orig_rax);
	assert_int_equal(entry.mode, USER_X86_REGS_MODE__NATIVE);
	regs_from_entry(&back, &entry);
	assert_memory_equal(&r, &back, sizeof(r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settles),
		cmocka_unit_test(takes_sleep_off_epoll_timeout),
		cmocka_unit_test(knows_native),
		cmocka_unit_test(message_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
