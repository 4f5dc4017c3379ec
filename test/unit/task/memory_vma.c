/* memory_vma.c - which mappings are refused, by name, and which images are not believed. */
#include "base/kernel-abi.h"
#include "base/mem.h"
#include "criu-lite/task/memory_vma.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <cmocka.h>

#define P	 PAGE_SIZE
#define ANON	 (VMA_REGULAR | VMA_ANON_PRIVATE)
#define ANON_MAP (MAP_PRIVATE | MAP_ANONYMOUS)

/* --- refused when saving ----------------------------------------------------------- */

struct seen {
	struct refusals refusals;
	VmaEntry *e;
};

static void see(struct seen *seen, struct proc_vma v, struct proc_smap smap)
{
	struct task task = { .pid = 99 };
	struct saver s = { .refusals = &seen->refusals };
	struct err err = {};

	smap.start = v.start;
	smap.end = v.end;
	assert_int_equal(vma_save(&s, &task, &v, &smap, &seen->e, &err), 0);
}

static void seen_end(struct seen *seen)
{
	refusals_release(&seen->refusals);
	if (seen->e)
		vma_entry__free_unpacked(seen->e, NULL);
	*seen = (struct seen) {};
}

static void refuses_by_name(void **state)
{
	static const struct {
		struct proc_vma v;
		struct proc_smap smap;
		const char *what;
	} cases[] = {
		{ { P, 2 * P }, { .flags = VMF_BIT(VMF_HT) }, "huge pages (hugetlb)" },
		{ { P, 2 * P }, { .flags = VMF_BIT(VMF_SS) }, "a shadow stack" },
		{ { P, 2 * P }, { .flags = VMF_BIT(VMF_UM) }, "memory served by userfaultfd" },
		{ { P, 2 * P }, { .flags = VMF_BIT(VMF_SL) }, "sealed memory (mseal)" },
		{ { P, 2 * P }, { .flags = VMF_BIT(VMF_PF) }, "device memory" },
		{ { P, 2 * P, .prot = PROT_READ }, { .pkey = 3 }, "memory with a protection key" },
		{ { USER_END, USER_END + P }, {}, "an address above 47 bits" },
		{ { P, 2 * P, .path = (char *)"[uprobes]" }, {}, "uprobes" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen = {};
		char want[128];

		snprintf(want, sizeof(want), "task 99: memory at %#" PRIx64 ": %s is not supported",
			 cases[i].v.start, cases[i].what);
		see(&seen, cases[i].v, cases[i].smap);
		assert_null(seen.e);
		assert_int_equal(seen.refusals.n, 1);
		assert_string_equal(seen.refusals.line[0], want);
		seen_end(&seen);
	}
}

static void saves_what_the_kernel_made(void **state)
{
	static const struct {
		const char *path;
		uint64_t flags;
		uint32_t status;
	} cases[] = {
		{ "[vdso]", VMF_BIT(VMF_SL), ANON | VMA_VDSO },
		{ "[vvar]", VMF_BIT(VMF_IO) | VMF_BIT(VMF_PF), ANON | VMA_VVAR },
		{ "[vvar_vclock]", VMF_BIT(VMF_IO) | VMF_BIT(VMF_PF), ANON | VMA_VVAR },
		{ "[heap]", 0, ANON | VMA_HEAP },
		{ "[stack]", 0, ANON },
		{ "[anon:a name]", 0, ANON },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen = {};

		see(&seen, (struct proc_vma) { P, 2 * P, .path = (char *)cases[i].path },
		    (struct proc_smap) { .flags = cases[i].flags });
		assert_int_equal(seen.refusals.n, 0);
		assert_non_null(seen.e);
		assert_int_equal(seen.e->status, cases[i].status);
		assert_int_equal(seen.e->flags, ANON_MAP);
		seen_end(&seen);
	}
}

static void tells_given_names(void **state)
{
	static const struct {
		const char *path, *name;
	} cases[] = {
		{ "[anon:a name]", "a name" }, { "[anon_shmem:b]", "b" }, { "[anon:]", "" },
		{ "[anon:cut", NULL },	       { "[heap]", NULL },	  { NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct proc_vma v = { .path = (char *)cases[i].path };
		scoped char *name = vma_given_name(&v);

		if (cases[i].name)
			assert_string_equal(name, cases[i].name);
		else
			assert_null(name);
	}
}

/* Rows that are not run: the last one's name is compared, then all are done. */
static int name_row(struct batch *b, struct err *err)
{
	const struct plan_row *r = &b->plan.row[b->plan.n - 1];

	assert_int_equal(r->arg[0], PR_SET_VMA);
	assert_int_equal(r->arg[2], P);
	assert_int_equal(r->arg[3], 2 * P);
	assert_string_equal(plan_at(&b->plan, r->arg[4]), "given");
	*(bool *)b->arg = true;
	return 0;
}

static int give_name(char *text, bool *named, struct err *err)
{
	SdVmaName name = { .start = P, .end = 3 * P, .name = text }, *names[] = { &name };
	SdTaskExtra extra = { .n_vma_names = 1, .vma_names = names };
	MmEntry mm = {};
	struct task task = { .pid = 99, .mm = &mm };
	struct thread t = { .task = &task, .tid = 99, .extra = &extra };
	struct batch batch = { .thread = &t, .run = name_row, .arg = named };
	struct builder b = {};
	int rc;

	plan_init(&batch.plan, 0, PLAN_ROWS, PLAN_DATA);
	rc = memory_settle(&b, &batch, err);
	if (!rc)
		rc = batch_flush(&batch, err);
	plan_release(&batch.plan);
	return rc;
}

static void gives_names_back(void **state)
{
	char longest[81];
	bool named = false;
	struct err err = {};

	assert_int_equal(give_name((char *)"given", &named, &err), 0);
	assert_true(named);
	memset(longest, 'n', 80);
	longest[80] = 0;
	assert_int_equal(give_name(longest, &named, &err), -EBADMSG);
}

static void droppable_is_a_kind_of_its_own(void **state)
{
	struct seen seen = {};

	see(&seen, (struct proc_vma) { P, 2 * P, .prot = PROT_READ },
	    (struct proc_smap) { .flags = VMF_BIT(VMF_DP) });
	assert_int_equal(seen.e->flags, MAP_DROPPABLE | MAP_ANONYMOUS);
	seen_end(&seen);
}

static void execute_only_has_the_kernels_key(void **state)
{
	struct seen seen = {};

	see(&seen, (struct proc_vma) { P, 2 * P, .prot = PROT_EXEC },
	    (struct proc_smap) { .pkey = 1 });
	assert_int_equal(seen.refusals.n, 0);
	assert_int_equal(seen.e->prot, PROT_EXEC);
	seen_end(&seen);
}

/* --- not believed when read --------------------------------------------------------- */

static int check(VmaEntry *e, size_t n, struct err *err)
{
	VmaEntry *list[4] = {};
	MmEntry mm = MM_ENTRY__INIT;
	struct file_build files = {};
	struct builder b = { .files = &files };

	for (size_t i = 0; i < n; i++)
		list[i] = &e[i];
	mm.vmas = list;
	mm.n_vmas = n;
	return vmas_check(&b, &mm, err);
}

static VmaEntry vma(uint64_t start, uint64_t end, uint32_t status, uint32_t flags)
{
	VmaEntry e = VMA_ENTRY__INIT;

	e.start = start;
	e.end = end;
	e.status = status;
	e.flags = flags;
	return e;
}

static void believes_what_is_sane(void **state)
{
	VmaEntry list[] = {
		vma(P, 2 * P, ANON, ANON_MAP),
		vma(2 * P, 9 * P, ANON | VMA_HEAP, ANON_MAP | MAP_NORESERVE),
		vma(VSYSCALL_ADDR, VSYSCALL_ADDR + P, VMA_VSYSCALL | VMA_ANON_PRIVATE, ANON_MAP),
		vma(3 * P, 4 * P, VMA_GUARD, 0),
	};

	assert_int_equal(check(list, 4, NULL), 0);
	list[3].end = USER_END + P;
	assert_int_equal(check(list, 4, NULL), -EBADMSG);
}

static void does_not_believe(void **state)
{
	const struct {
		VmaEntry e;
		int rc;
	} cases[] = {
		{ vma(P, P, ANON, ANON_MAP), -EBADMSG },
		{ vma(2 * P, P, ANON, ANON_MAP), -EBADMSG },
		{ vma(P + 1, 2 * P, ANON, ANON_MAP), -EBADMSG },
		{ vma(P, 2 * P - 1, ANON, ANON_MAP), -EBADMSG },
		{ vma(P, USER_END + P, ANON, ANON_MAP), -EBADMSG },
		{ vma(P, 2 * P, VMA_REGULAR, ANON_MAP), -EBADMSG },
		{ vma(P, 2 * P, VMA_ANON_PRIVATE, ANON_MAP), -EBADMSG },
		{ vma(P, 2 * P, ANON, MAP_PRIVATE), -EBADMSG },
		{ vma(P, 2 * P, ANON, MAP_SHARED | MAP_ANONYMOUS), -EBADMSG },
		{ vma(P, 2 * P, ANON | VMA_FILE_PRIVATE, ANON_MAP), -EBADMSG },
		{ vma(P, 2 * P, VMA_REGULAR | VMA_ANON_SHARED, MAP_SHARED), ERR_REFUSED },
		{ vma(P, 2 * P, VMA_AIORING, 0), ERR_REFUSED },
		{ vma(P, 2 * P, ANON | VMA_SHSTK, ANON_MAP), ERR_REFUSED },
		{ vma(P, 2 * P, ANON, ANON_MAP | MAP_HUGETLB), ERR_REFUSED },
		{ vma(P, 2 * P, VMA_VSYSCALL | VMA_ANON_PRIVATE, ANON_MAP), -EBADMSG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		VmaEntry e = cases[i].e;
		struct err err = {};

		if (check(&e, 1, &err) != cases[i].rc)
			fail_msg("case %zu: %s", i, err.text);
	}
}

static void does_not_believe_odd_fields(void **state)
{
	VmaEntry e = vma(P, 2 * P, ANON, ANON_MAP);

	e.prot = 8;
	assert_int_equal(check(&e, 1, NULL), -EBADMSG);
	e.prot = 0;
	e.has_madv = true;
	e.madv = 1ull << MADV_DONTNEED;
	assert_int_equal(check(&e, 1, NULL), ERR_REFUSED);
}

static void wants_them_in_order(void **state)
{
	VmaEntry list[] = { vma(P, 3 * P, ANON, ANON_MAP), vma(2 * P, 4 * P, ANON, ANON_MAP) };
	VmaEntry late[] = { vma(P, 3 * P, VMA_GUARD, 0), vma(4 * P, 5 * P, ANON, ANON_MAP) };

	assert_int_equal(check(list, 2, NULL), -EBADMSG);
	assert_int_equal(check(late, 2, NULL), -EBADMSG);
}

/* --- room ---------------------------------------------------------------------------- */

static void finds_room_that_is_free_everywhere(void **state)
{
	struct tree tree = {};
	struct builder b = { .tree = &tree };
	struct task *task = tree_add_task(&tree, 99);
	VmaEntry e[] = { vma(P, UINT64_C(1) << 40, ANON, ANON_MAP),
			 vma((UINT64_C(1) << 40) + (8 << 20), UINT64_C(1) << 41, ANON, ANON_MAP) };
	VmaEntry *list[] = { &e[0], &e[1] };
	MmEntry mm = MM_ENTRY__INIT;
	uint64_t at = 0, again;
	struct err err = {};

	mm.vmas = list;
	mm.n_vmas = 2;
	task->mm = &mm;
	assert_int_equal(memory_hole(&b, 1 << 20, 0, 0, &at, &err), 0);
	assert_true(at >= UINT64_C(1) << 41 && at + (1 << 20) <= USER_END);
	assert_int_equal(memory_hole(&b, 1 << 20, at, at + P, &again, &err), 0);
	assert_true(again >= at + P || again + (1 << 20) <= at);
	assert_int_equal(memory_hole(&b, USER_END, 0, 0, &at, &err), -ENOMEM);
	task->mm = NULL;
	tree_release(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_by_name),
		cmocka_unit_test(saves_what_the_kernel_made),
		cmocka_unit_test(tells_given_names),
		cmocka_unit_test(gives_names_back),
		cmocka_unit_test(droppable_is_a_kind_of_its_own),
		cmocka_unit_test(execute_only_has_the_kernels_key),
		cmocka_unit_test(believes_what_is_sane),
		cmocka_unit_test(does_not_believe),
		cmocka_unit_test(does_not_believe_odd_fields),
		cmocka_unit_test(wants_them_in_order),
		cmocka_unit_test(finds_room_that_is_free_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
