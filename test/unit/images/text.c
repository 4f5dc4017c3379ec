/* Messages as text and JSON: numbers in the base that reads well, nothing that upsets a terminal. */
#include "tmp.h"

#include "images/text.h"
#include "proto/core.pb-c.h"
#include "proto/mm.pb-c.h"
#include "proto/pagemap.pb-c.h"
#include "proto/pipe.pb-c.h"
#include "proto/reg-file.pb-c.h"
#include "proto/seccomp.pb-c.h"

static char *printed(const void *message)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	text_print(f, message, 0);
	fclose(f);
	return text;
}

static void every_kind_of_value(void **state)
{
	ThreadCoreEntry e = THREAD_CORE_ENTRY__INIT;
	ThreadSasEntry sas = THREAD_SAS_ENTRY__INIT;
	char *text;

	e.futex_rla = 0x7f0012345678;
	e.futex_rla_len = 24;
	e.has_sched_nice = true;
	e.sched_nice = -5;
	e.sas = &sas;
	sas.ss_flags = 2;
	e.has_seccomp_mode = true;
	e.seccomp_mode = SECCOMP_MODE__filter;
	e.comm = (char *)"a \"b\"\n\x1b[31m\xff";
	text = printed(&e);
	assert_string_equal(text, "futex_rla: 0x7f0012345678\n"
				  "futex_rla_len: 24\n"
				  "sched_nice: -5\n"
				  "sas\n"
				  "\tss_sp: 0\n"
				  "\tss_size: 0\n"
				  "\tss_flags: 2\n"
				  "seccomp_mode: filter\n"
				  "comm: \"a \\\"b\\\"\\x0a\\x1b[31m\\xff\"\n");
	free(text);
}

static void lists_and_bytes(void **state)
{
	SeccompFilter a = SECCOMP_FILTER__INIT, b = SECCOMP_FILTER__INIT, *list[] = { &a, &b };
	SeccompEntry e = SECCOMP_ENTRY__INIT;
	MmEntry mm = MM_ENTRY__INIT;
	uint64_t auxv[] = { 33, 0xfff };
	char *text;

	a.filter.data = (uint8_t *)"\x01\xab";
	a.filter.len = 2;
	e.seccomp_filters = list;
	e.n_seccomp_filters = 2;
	text = printed(&e);
	assert_string_equal(text, "seccomp_filters\n\tfilter: 01ab\n"
				  "seccomp_filters\n\tfilter: (empty)\n");
	free(text);
	mm.mm_saved_auxv = auxv;
	mm.n_mm_saved_auxv = 2;
	text = printed(&mm);
	assert_non_null(strstr(text, "mm_saved_auxv: 0x21 0xfff\n"));
	free(text);
}

static void expect_json(json_t *j, const char *want)
{
	json_t *w = json_loads(want, 0, NULL);
	char *got = json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER);

	assert_non_null(w);
	if (!json_equal(j, w))
		fail_msg("%s", got);
	free(got);
	json_decref(w);
	json_decref(j);
}

static void json_values(void **state)
{
	RlimitEntry r = RLIMIT_ENTRY__INIT;
	FownEntry fown = FOWN_ENTRY__INIT;
	RegFileEntry f = REG_FILE_ENTRY__INIT;

	r.cur = 1024;
	r.max = UINT64_MAX;
	expect_json(text_json(&r.base), "{\"cur\": 1024, \"max\": \"0xffffffffffffffff\"}");
	f.fown = &fown;
	f.flags = 0x8002;
	f.name = (char *)"/not\xffutf8";
	f.has_ext = f.ext = true;
	expect_json(
		text_json(&f.base),
		"{\"id\": 0, \"flags\": \"0x8002\", \"pos\": 0, \"fown\": {\"uid\": 0, \"euid\": 0, "
		"\"signum\": 0, \"pid_type\": 0, \"pid\": 0}, "
		"\"name\": {\"hex\": \"2f6e6f74ff75746638\"}, \"ext\": true}");
}

static void whole_images(void **state)
{
	struct tmp *t = *state;
	PipeDataEntry e = PIPE_DATA_ENTRY__INIT;
	struct img_writer *w = NULL;
	struct err err = {};
	char *text = NULL;
	json_t *j = NULL;
	size_t n;
	FILE *f;

	e.pipe_id = 5;
	e.bytes = 3;
	assert_int_equal(img_create(&w, &err, t->fd, "pipes-data.img"), 0);
	assert_int_equal(img_append(w, &e, &err), 0);
	assert_int_equal(img_append_raw(w, "abc", 3, &err), 0);
	assert_int_equal(img_close(&w, &err), 0);
	assert_int_equal(text_image_json(&j, t->fd, "pipes-data.img", &err), 0);
	expect_json(j, "{\"file\": \"pipes-data.img\", \"entries\": "
		       "[{\"pipe_id\": 5, \"bytes\": 3, \"payload_bytes\": 3}]}");
	f = open_memstream(&text, &n);
	assert_int_equal(text_image_print(f, t->fd, "pipes-data.img", &err), 0);
	fclose(f);
	assert_string_equal(text,
			    "pipes-data.img\n\tpipe_data_entry\n\t\tpipe_id: 5\n\t\tbytes: 3\n"
			    "\t\tfollowed by 3 bytes\n");
	free(text);

	put(t->fd, "pages-1.img", "raw", 3);
	assert_int_equal(text_image_json(&j, t->fd, "pages-1.img", &err), 0);
	expect_json(j, "{\"file\": \"pages-1.img\", \"raw_bytes\": 3}");
	put(t->fd, "pipes-data.img", "damaged", 7);
	assert_int_equal(text_image_json(&j, t->fd, "pipes-data.img", &err), -EBADMSG);
	assert_int_equal(text_image_json(&j, t->fd, "no-image", &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_value),
		cmocka_unit_test(lists_and_bytes),
		cmocka_unit_test(json_values),
		IMAGE_TEST(whole_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
