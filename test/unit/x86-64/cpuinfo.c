/* cpuinfo.img of this processor, and what of another one is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "criu-lite/arch/x86-64/cpuinfo.h"
#include "criu-lite/arch/x86-64/xstate.h"

enum { SSE = 1 << 1, BNDREGS = 1 << 3 };

static void own(void **state)
{
	CpuinfoX86Entry *e = cpuinfo_here();
	struct err err = {};

	assert_int_equal(e->xfeatures_mask, xstate_host_features() & ~(uint64_t)(SSE | BNDREGS));
	if (cpuinfo_check(e, &err) < 0)
		fail_msg("%s", err.text);
	/* As other writers and older files of ours have it. */
	e->xfeatures_mask = xstate_host_features();
	if (cpuinfo_check(e, &err) < 0)
		fail_msg("%s", err.text);
	cpuinfo_x86_entry__free_unpacked(e, NULL);
}

static void refused_is(CpuinfoX86Entry *e, const char *words)
{
	struct err err = {};

	assert_int_equal(cpuinfo_check(e, &err), ERR_REFUSED);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
	cpuinfo_x86_entry__free_unpacked(e, NULL);
}

static void another(void **state)
{
	CpuinfoX86Entry *e = cpuinfo_here();

	e->xfeatures_mask |= 1ull << 62;
	refused_is(e, "this processor has no");
	e = cpuinfo_here();
	e->xsave_size += 64;
	refused_is(e, "the XSAVE area has");
	/* IA64, which no x86-64 says. */
	e = cpuinfo_here();
	e->capability[0] |= 1u << 30;
	refused_is(e, "lacks bits 0x40000000 of CPUID leaf 0x1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own),
		cmocka_unit_test(another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
