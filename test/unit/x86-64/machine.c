/* machine.c - what is said of this machine holds here, and each thing that differs is named. */
#include "criu-lite/arch/x86-64/machine.h"
#include "base/mem.h"
#include "criu-lite/arch/x86-64/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static SdCheckpoint *here(void)
{
	SdCheckpoint *c = xmalloc(sizeof(*c));

	sd_checkpoint__init(c);
	assert_int_equal(machine_describe(c, NULL), 0);
	return c;
}

/* The set that every x86-64 of the last fifteen years has. */
static void names_the_features(void **state)
{
	SdCheckpoint *c = here();
	bool popcnt = false;

	for (size_t i = 0; i < c->n_cpu_features; i++) {
		assert_true(cpu_has(c->cpu_features[i]));
		popcnt |= !strcmp(c->cpu_features[i], "popcnt");
	}
	assert_true(popcnt);
	assert_false(cpu_has("popcnt2"));
	sd_checkpoint__free_unpacked(c, NULL);
}

/* A line of /proc/cpuinfo says the same, by the kernel's own reading of CPUID. */
static void agrees_with_the_kernel(void **state)
{
	scoped_file f = fopen("/proc/cpuinfo", "re");
	scoped char *line = NULL;
	size_t cap = 0;
	SdCheckpoint *c = here();

	assert_non_null(f);
	while (getline(&line, &cap, f) > 0 && strncmp(line, "flags", 5))
		;
	line[strcspn(line, "\n")] = ' ';
	for (size_t i = 0; i < c->n_cpu_features; i++) {
		scoped char *word = xasprintf(" %s ", c->cpu_features[i]);

		if (!strstr(line, word))
			fail_msg("%s is not among the flags of /proc/cpuinfo", c->cpu_features[i]);
	}
	sd_checkpoint__free_unpacked(c, NULL);
}

static void goes_on_here(void **state)
{
	SdCheckpoint *c = here();
	struct err err = {};

	assert_int_equal(machine_check(c, &err), 0);
	c->n_cpu_features--; /* of a lesser processor */
	assert_int_equal(machine_check(c, &err), 0);
	c->n_cpu_features++;
	sd_checkpoint__free_unpacked(c, NULL);
}

/* Of an older writer, who said less. */
static void needs_nothing_that_is_not_said(void **state)
{
	SdCheckpoint none = SD_CHECKPOINT__INIT;

	assert_int_equal(machine_check(&none, NULL), 0);
}

/* Programs that save registers without XSAVEC have room for those of their machine only. */
static void more_registers_need_room(void **state)
{
	char *xsavec[] = { "xsavec" };
	SdCheckpoint c = SD_CHECKPOINT__INIT;
	struct err err = {};

	if (!cpu_has("xsavec"))
		skip();
	c.has_xfeatures = true;
	c.xfeatures = 3; /* x87 and SSE */
	assert_int_equal(machine_check(&c, &err), ERR_REFUSED);
	assert_non_null(strstr(err.text, "registers for AVX (xstate component 2), for which"));
	c.cpu_features = xsavec;
	c.n_cpu_features = 1;
	assert_int_equal(machine_check(&c, &err), 0);
}

static void names_all_that_differs(void **state)
{
	char *lacking[] = { "pni", "no-such-1", "no-such-2" };
	SdCheckpoint c = SD_CHECKPOINT__INIT;
	struct err err = {};

	c.cpu_features = lacking;
	c.n_cpu_features = ARRAY_SIZE(lacking);
	c.has_xfeatures = true;
	c.xfeatures = 1ull << 62 | 3;
	c.has_vdso_hash = c.has_vdso_size = true;
	c.vdso_size = 4096;
	c.kernel_release = "0.99";
	assert_int_equal(machine_check(&c, &err), ERR_REFUSED);
	assert_non_null(strstr(err.text, "lacks: no-such-1 no-such-2;"));
	assert_non_null(strstr(err.text, "xstate component 62"));
	assert_non_null(strstr(err.text, "the vdso of kernel 0.99"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_features),
		cmocka_unit_test(agrees_with_the_kernel),
		cmocka_unit_test(goes_on_here),
		cmocka_unit_test(needs_nothing_that_is_not_said),
		cmocka_unit_test(more_registers_need_room),
		cmocka_unit_test(names_all_that_differs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
