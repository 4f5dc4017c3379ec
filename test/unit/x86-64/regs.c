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

/* A thread's memory: the code that ends at IP, and a page of data. */
#define DATA_AT 0x7ffe00001000

struct memory {
	uint8_t code[48];
	int64_t data[8];
};

static int peek_memory(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct memory *m = arg;

	if (addr >= IP - sizeof(m->code) && addr + len <= IP)
		memcpy(buf, m->code + (addr - (IP - sizeof(m->code))), len);
	else if (addr >= DATA_AT && addr + len <= DATA_AT + sizeof(m->data))
		memcpy(buf, (char *)m->data + (addr - DATA_AT), len);
	else
		return -EFAULT;
	return 0;
}

/* A second stop in one sleep leaves only the name restart_syscall. */
static void names_restarted_calls(void **state)
{
	static const uint8_t mov[] = { 0xb8, SYS_poll, 0, 0, 0, 0x0f, 0x05 };
	struct memory m = { .data = { 7, 5, 2, 999, 0, -1, -1, -1 } };
	static const struct {
		uint64_t rdi, rsi, rdx, r10;
		bool code;
		int64_t nr; /* -1: cannot be told */
	} calls[] = {
		{ DATA_AT, 2, 100, 0, true, SYS_poll },
		{ DATA_AT, 0, 7, DATA_AT + 16, true, SYS_poll },
		{ DATA_AT, 0, 7, DATA_AT + 16, false, SYS_futex },
		{ DATA_AT, 0, 8, DATA_AT + 16, false, SYS_nanosleep },
		{ 1, 0, DATA_AT + 16, 0, false, SYS_clock_nanosleep },
		{ DATA_AT + 48, 1, 100, 0, false, SYS_poll },
		{ 1ull << 50, 1ull << 50, 0, 0, true, -1 },
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		struct regs r = interrupted(-516, 219);

		memset(m.code, 0, sizeof(m.code));
		if (calls[i].code)
			memcpy(m.code + sizeof(m.code) - sizeof(mov), mov, sizeof(mov));
		r.user.rdi = calls[i].rdi;
		r.user.rsi = calls[i].rsi;
		r.user.rdx = calls[i].rdx;
		r.user.r10 = calls[i].r10;
		assert_int_equal(regs_name_call(&r, peek_memory, &m), calls[i].nr >= 0);
		regs_for_image(&r);
		assert_int_equal(regs_result(&r), calls[i].nr < 0 ? -EINTR : calls[i].nr);
		assert_int_equal(regs_ip(&r), calls[i].nr < 0 ? IP : IP - 2);
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
		cmocka_unit_test(names_restarted_calls),
		cmocka_unit_test(takes_sleep_off_epoll_timeout),
		cmocka_unit_test(knows_native),
		cmocka_unit_test(message_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
