/* gadget.c - instructions are found where they are, in bytes and in ourselves. */
#include "criu-lite/arch/x86-64/gadget.h"
#include "criu-lite/proc/proc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void finds_in_bytes(void **state)
{
	const uint8_t text[] = {
		0x90, 0xff, 0xd0, 0x0f, 0x05, 0xc3, 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05
	};
	struct gadgets g = {};

	gadgets_scan(text, sizeof(text), 0x1000, &g);
	assert_int_equal(g.call, 0x1001);
	assert_int_equal(g.syscall_ret, 0x1003);
	assert_int_equal(g.sigreturn, 0x1006);
}

static void half_a_pattern_is_none(void **state)
{
	const uint8_t text[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f };
	struct gadgets g = {};

	gadgets_scan(text, sizeof(text), 0x1000, &g);
	assert_int_equal(g.call | g.syscall_ret | g.sigreturn, 0);
}

static void first_hit_stays(void **state)
{
	const uint8_t text[] = { 0xff, 0xd0 };
	struct gadgets g = { .call = 42 };

	gadgets_scan(text, sizeof(text), 0x1000, &g);
	assert_int_equal(g.call, 42);
}

static void finds_all_in_ourselves(void **state)
{
	struct proc_dir *self = NULL;
	struct proc_vma *v = NULL;
	struct gadgets g;
	size_t n;

	assert_int_equal(proc_open(&self, NULL, getpid(), NULL), 0);
	assert_int_equal(proc_maps_read(self, &v, &n, NULL), 0);
	gadgets_find(getpid(), v, n, &g);
	assert_true(g.call && g.syscall_ret && g.sigreturn);
	assert_memory_equal((void *)g.syscall_ret, "\x0f\x05\xc3", 3);
	assert_true(gadgets_hold(getpid(), &g));
	g.sigreturn++;
	assert_false(gadgets_hold(getpid(), &g));
	free(v);
	proc_close(self);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_in_bytes),
		cmocka_unit_test(half_a_pattern_is_none),
		cmocka_unit_test(first_hit_stays),
		cmocka_unit_test(finds_all_in_ourselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
