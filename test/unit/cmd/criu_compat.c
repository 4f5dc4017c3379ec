/* The rows of criu's options: complete, in order, and the document that is made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "criu-lite/cmd/criu-features.h"
#include "criu-lite/cmd/criu-options.h"

#define DOCUMENT "Documentation/criu-compat.md"

static void document_is_made_of_the_table(void **state)
{
	scoped char *want = criu_compat_text();
	size_t len = strlen(want);
	scoped char *is = xcalloc(1, len + 2);
	FILE *f = fopen(DOCUMENT, "r");

	assert_non_null(f);
	is[fread(is, 1, len + 1, f)] = 0;
	fclose(f);
	if (strcmp(is, want))
		fail_msg(DOCUMENT " is not what the table says: make compat");
}

static void rows_are_in_order(void **state)
{
	char seen[128] = "";
	size_t n = 0;

	for (const struct criu_option *o = criu_options; o->name; o++, n++) {
		if (o[1].name)
			assert_true(strcmp(o->name, o[1].name) < 0);
		if (o->letter)
			assert_false(seen[(int)o->letter]++);
		if (o->status == CRIU_NO_EFFECT || o->status == CRIU_WHEN_NEEDED)
			assert_true(*o->note);
		assert_ptr_equal(criu_option_find(o->name), o);
	}
	assert_int_equal(n, 85);
	assert_null(criu_option_find("tre"));
}

/* Those of criu 4.2: a script may ask for any. */
static void features_of_criu(void **state)
{
	static const char names[] =
		"mnt_id mem_dirty_track aio_remap timerfd tun tun_ns userns fdinfo_lock "
		"seccomp_suspend seccomp_filters loginuid cgroupns autofs tcp_half_closed "
		"compat_cr uffd uffd-noncoop can_map_vdso sk_ns sk_unix_file net_diag_raw nsid "
		"link_nsid kcmp_epoll timens external_net_ns clone3_set_tid newifindex nftables "
		"has_ipt_legacy pidfd_store ns_pid apparmor_stacking network_lock_nftables "
		"sockopt_buf_lock memfd_hugetlb move_mount_set_group openat2 get_rseq_conf "
		"ipv6_freebind pagemap_scan timer_cr_ids overlayfs_maps breakpoints "
		"pagemap_scan_guard_pages";
	scoped char *copy = xstrdup(names);
	char *at = copy, *name;
	size_t n = 0;

	for (; (name = strsep(&at, " ")); n++)
		if (!criu_feature_find(name))
			fail_msg("no probe of %s", name);
	assert_null(criu_features[n].name);
}

/* What every Linux that this runs on has is found; a probe comes back. */
static void probes_answer(void **state)
{
	static const char *const certain[] = { "mnt_id", "timerfd", "fdinfo_lock", "ns_pid" };

	for (const struct criu_feature *f = criu_features; f->name; f++)
		(void)f->probe();
	for (size_t i = 0; i < ARRAY_SIZE(certain); i++)
		assert_true(criu_feature_find(certain[i])->probe());
}

/* With an argument: the document, for `make compat`. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(document_is_made_of_the_table),
		cmocka_unit_test(rows_are_in_order),
		cmocka_unit_test(features_of_criu),
		cmocka_unit_test(probes_answer),
	};
	scoped char *text = NULL;

	if (argc == 1)
		return cmocka_run_group_tests(tests, NULL, NULL);
	text = criu_compat_text();
	fputs(text, stdout);
	return 0;
}
