/* Every spelling of a command line that criu's users write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "criu-lite/cmd/criu-args.h"

enum { MAX_WORDS = 32 };

/* A command line, its words apart by blanks, and what came of it. */
struct line {
	char *text;
	char *word[MAX_WORDS];
	int n;
	struct criu_args args;
	struct err err;
	int rc;
};

static struct line *parse_with(const char *text, const struct criu_config *config)
{
	struct line *l = xcalloc(1, sizeof(*l));
	char *at;

	l->text = xasprintf("criu-lite %s", text);
	at = l->text;
	for (char *w; (w = strsep(&at, " "));)
		if (*w)
			l->word[l->n++] = w;
	l->rc = criu_args_parse(&l->args, l->n, l->word, config, &l->err);
	return l;
}

static struct line *parse(const char *text)
{
	static const struct criu_config none;

	return parse_with(text, &none);
}

static void line_free(struct line *l)
{
	criu_args_release(&l->args);
	free(l->text);
	free(l);
}

/* The one way to say all that the others must come to. */
static void is_the_dump(const char *text)
{
	struct line *l = parse(text);

	if (l->rc < 0)
		fail_msg("%s: %s", text, l->err.text);
	assert_non_null(l->args.verb);
	assert_string_equal(l->args.verb->name, "dump");
	assert_int_equal(criu_number(&l->args, "tree", 0), 123);
	assert_string_equal(criu_arg(&l->args, "images-dir"), "dir");
	assert_true(criu_on(&l->args, "leave-running"));
	assert_int_equal(l->args.verbosity, 4);
	line_free(l);
}

static void wrong_is(const char *text, const char *words)
{
	struct line *l = parse(text);

	if (l->rc >= 0)
		fail_msg("%s was taken", text);
	if (!strstr(l->err.text, words))
		fail_msg("%s: \"%s\" does not say \"%s\"", text, l->err.text, words);
	line_free(l);
}

static void spellings_of_one_command(void **state)
{
	static const char *const lines[] = {
		"dump --tree 123 --images-dir dir --leave-running --verbosity=4",
		"--tree 123 --images-dir dir --leave-running --verbosity=4 dump",
		"--tree 123 dump --images-dir dir --leave-running --verbosity=4",
		"dump --tree=123 --images-dir=dir --leave-running --verbosity=4",
		"dump -t 123 -D dir -R -v4",
		"dump -t123 -Ddir -R -v4",
		"dump -Rt123 -Ddir -vv",
		"dump -Rv4 -t 123 -D dir",
		"dump -t 123 -D dir -R -v -v",
		"-v4 -R -t 123 -D dir dump",
		"dump -tree 123 -images-dir dir -leave-running -verbosity=4",
		"dump -tree=123 -images-dir=dir -leave-running -verbosity=4",
		"dump --tre 123 --image dir --leave-r --verb=4",
		"dump -t 99 -D other -t 123 -D dir -R -v4",
		"dump -t 123 -D dir -R -v0 -v4",
		"dump -t 123 -D dir -R -v9",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		is_the_dump(lines[i]);
}

static void verbosity_is(const char *text, int want)
{
	struct line *l = parse(text);

	if (l->rc < 0)
		fail_msg("%s: %s", text, l->err.text);
	if (l->args.verbosity != want)
		fail_msg("%s: verbosity %d, not %d", text, l->args.verbosity, want);
	line_free(l);
}

static void verbosity(void **state)
{
	verbosity_is("check", 2);
	verbosity_is("check -v", 3);
	verbosity_is("check -vv", 4);
	verbosity_is("check -vvvv", 4);
	verbosity_is("check -v0", 0);
	verbosity_is("check -v3", 3);
	verbosity_is("check -verbosity=0", 0);
	verbosity_is("check --verbosity=1", 1);
	verbosity_is("check --verbosity", 3);
	verbosity_is("check -v1 -v", 2);
}

/* --NAME and --no-NAME of every row that knows both; the last one counts. */
static void taken_back(void **state)
{
	for (const struct criu_option *o = criu_options; o->name; o++) {
		scoped char *text = xasprintf("dump --%s --no-%s", o->name, o->name);
		struct line *l;

		if (!o->negatable)
			continue;
		l = parse(text);
		if (l->rc < 0)
			fail_msg("%s: %s", text, l->err.text);
		assert_false(criu_on(&l->args, o->name));
		line_free(l);
	}
	wrong_is("dump --no-leave-running", "--no-leave-running");
	wrong_is("dump --no-help", "--no-help");
}

/* A value that each row takes. */
static const char *value_of(const struct criu_option *o, char buf[32])
{
	if (o->takes == TAKES_NONE || (o->takes == TAKES_MAYBE && !o->words))
		return NULL;
	if (!o->words)
		return "x";
	if (o->words[0] == '#')
		return "1";
	snprintf(buf, 32, "%.*s", (int)strcspn(o->words + (o->words[0] == ','), " "),
		 o->words + (o->words[0] == ','));
	return buf;
}

static void every_option_in_every_way(void **state)
{
	for (const struct criu_option *o = criu_options; o->name; o++) {
		char buf[32];
		const char *value = value_of(o, buf);
		scoped char *glued =
			xasprintf("dump --%s%s%s", o->name, value ? "=" : "", value ? value : "");
		scoped char *one_dash =
			xasprintf("dump -%s%s%s", o->name, value ? "=" : "", value ? value : "");
		const char *const texts[] = { glued, one_dash };

		if (!strcmp(o->name, "config"))
			continue; /* has a test of its own */
		for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
			struct line *l = parse(texts[i]);

			if (l->rc < 0)
				fail_msg("%s: %s", texts[i], l->err.text);
			assert_true(criu_on(&l->args, o->name));
			if (value && o->letter != 'v')
				assert_string_equal(criu_arg(&l->args, o->name), value);
			line_free(l);
		}
	}
}

static void letters(void **state)
{
	for (const struct criu_option *o = criu_options; o->name; o++) {
		char buf[32];
		const char *value = o->takes == TAKES_ONE ? value_of(o, buf) : "";
		scoped char *glued = xasprintf("dump -%c%s", o->letter, value);
		scoped char *apart = xasprintf("dump -%c %s", o->letter, value);
		struct line *l;

		if (!o->letter)
			continue;
		l = parse(glued);
		if (l->rc < 0 || !criu_on(&l->args, o->name))
			fail_msg("%s: %s", glued, l->err.text);
		line_free(l);
		l = parse(apart);
		if (l->rc < 0 || !criu_on(&l->args, o->name))
			fail_msg("%s: %s", apart, l->err.text);
		line_free(l);
	}
}

static void what_adds_up(void **state)
{
	struct line *l = parse("restore --external a --action-script=1 --external b -D x -D y");
	const char *const *args;

	assert_int_equal(l->rc, 0);
	assert_int_equal(criu_all(&l->args, "external", &args), 2);
	assert_string_equal(args[0], "a");
	assert_string_equal(args[1], "b");
	assert_int_equal(criu_all(&l->args, "action-script", &args), 1);
	assert_string_equal(criu_arg(&l->args, "images-dir"), "y");
	line_free(l);
}

static void numbers(void **state)
{
	struct line *l = parse("dump --ghost-limit 3K --timeout 7");

	assert_int_equal(l->rc, 0);
	assert_int_equal(criu_number(&l->args, "ghost-limit", 0), 3072);
	assert_int_equal(criu_number(&l->args, "timeout", 0), 7);
	assert_int_equal(criu_number(&l->args, "status-fd", -1), -1);
	line_free(l);
	l = parse("dump --ghost-limit 2g");
	assert_int_equal(criu_number(&l->args, "ghost-limit", 0), 2ll << 30);
	line_free(l);
}

/* The word behind a verb, and as many as `exec` wants. */
static void words_behind_the_verb(void **state)
{
	static const struct {
		const char *text, *verb, *sub;
	} lines[] = {
		{ "cpuinfo dump", "cpuinfo", "dump" },
		{ "-v4 cpuinfo -D x check", "cpuinfo", "check" },
		{ "cpuinfo", "cpuinfo", NULL },
		{ "swrk 3", "swrk", "3" },
		{ "exec a b c", "exec", "a" },
		{ "pre-dump", "pre-dump", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct line *l = parse(lines[i].text);

		if (l->rc < 0)
			fail_msg("%s: %s", lines[i].text, l->err.text);
		assert_string_equal(l->args.verb->name, lines[i].verb);
		if (lines[i].sub)
			assert_string_equal(l->args.sub, lines[i].sub);
		else
			assert_null(l->args.sub);
		line_free(l);
	}
}

static void is_taken(const char *text)
{
	struct line *l = parse(text);

	if (l->rc < 0)
		fail_msg("%s: %s", text, l->err.text);
	line_free(l);
}

static void values_at_the_edge(void **state)
{
	is_taken("dump --cpu-cap=fpu,ins,^all");
	is_taken("dump -t 4194304");
	wrong_is("dump -t 4194305", "--tree");
	is_taken("dump --ghost-limit 8191g");
	wrong_is("dump --ghost-limit 1KK", "--ghost-limit");
	wrong_is("dump --ghost-limit 9223372036854775807G", "--ghost-limit");
	wrong_is("dump --timeout +5", "--timeout");
	wrong_is("dump --pre-dump-mode spXice",
		 "--pre-dump-mode: 'spXice' is not valid here: splice read");
	wrong_is("dump --cpu-cap=fpu,xxx", "valid here: all cpu");
	wrong_is("dump --cpu-cap=fpu,", "--cpu-cap");
	wrong_is("dump -t x", "valid here, a number is");
}

static void what_is_wrong_is_said(void **state)
{
	wrong_is("burn", "no verb 'burn'");
	wrong_is("dump dump", "'dump' is one word too many");
	wrong_is("cpuinfo dump more", "'more'");
	wrong_is("dump --no-such", "--no-such");
	wrong_is("dump --tls-c x", "--tls-c");
	wrong_is("dump -t", "'-t' needs an argument");
	wrong_is("dump --tree", "'--tree' needs an argument");
	wrong_is("dump -t 0", "--tree");
	wrong_is("dump -t x", "--tree: 'x' is not valid");
	wrong_is("dump -t -5", "--tree");
	wrong_is("dump -t 12x", "--tree");
	wrong_is("dump -t 99999999999999999999", "--tree");
	wrong_is("dump --timeout 1.5", "--timeout");
	wrong_is("dump --ghost-limit 1T", "--ghost-limit");
	wrong_is("dump --ghost-limit K", "--ghost-limit");
	wrong_is("dump --pre-dump-mode write", "splice read");
	wrong_is("dump --cpu-cap=fpu,x", "--cpu-cap");
	wrong_is("dump --cpu-cap=", "--cpu-cap");
	wrong_is("dump --file-validation none", "filesize buildid");
	wrong_is("dump --verbosity=loud", "'loud' is no number");
	wrong_is("dump --track-mem=yes", "no option");
}

/* --- configuration files ------------------------------------------------------------------ */

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* More than any configuration has; or something else by that name. */
static void put_much(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	for (int i = 0; i < 1 << 20; i++)
		fputs("#\n", f);
	assert_int_equal(fclose(f), 0);
}

/* Three configuration files in a folder of their own. */
struct files {
	char dir[32];
	char *system, *user, *own;
	struct criu_config config;
};

static void files_new(struct files *f)
{
	strcpy(f->dir, "/tmp/unit-args-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->system = xasprintf("%s/system", f->dir);
	f->user = xasprintf("%s/user", f->dir);
	f->own = xasprintf("%s/own", f->dir);
	f->config = (struct criu_config) { f->system, f->user };
}

static void files_free(struct files *f)
{
	unlink(f->system);
	unlink(f->user);
	unlink(f->own);
	assert_int_equal(rmdir(f->dir), 0);
	free(f->system);
	free(f->user);
	free(f->own);
}

/* @said: what its error has in it; NULL: there is none. "": there is one. */
static void dump_says(const struct files *f, const char *text, const char *said)
{
	struct line *l = parse_with(text, &f->config);

	if (!said)
		assert_int_equal(l->rc, 0);
	else
		assert_true(l->rc < 0);
	if (said)
		assert_non_null(strstr(l->err.text, said));
	line_free(l);
}

static void configuration_files(void **state)
{
	scoped char *text = NULL, *none = NULL;
	const char *const *args;
	struct files f;
	struct line *l;

	files_new(&f);
	put(f.system, "# all of us\n\n  tcp-established\nlog-file system.log # why\nexternal 1\n"
		      "verbosity 1\n");
	put(f.user, "log-file \"of a user.log\"\nno-tcp-established\nexternal=2\n");
	put(f.own, "work-dir 'a b'\ntimeout=9\nexternal 3");
	text = xasprintf("dump --config %s --external 4 --timeout 5 -v4", f.own);
	none = xasprintf("dump --no-default-config --config %s", f.own);

	l = parse_with(text, &f.config);
	if (l->rc < 0)
		fail_msg("%s", l->err.text);
	assert_false(criu_on(&l->args, "tcp-established"));
	assert_string_equal(criu_arg(&l->args, "log-file"), "of a user.log");
	assert_string_equal(criu_arg(&l->args, "work-dir"), "a b");
	assert_int_equal(criu_number(&l->args, "timeout", 0), 5);
	assert_int_equal(l->args.verbosity, 4);
	assert_int_equal(criu_all(&l->args, "external", &args), 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(args[i][0], '1' + i);
	line_free(l);

	l = parse_with(none, &f.config);
	assert_int_equal(l->rc, 0);
	assert_null(criu_arg(&l->args, "log-file"));
	assert_string_equal(criu_arg(&l->args, "work-dir"), "a b");
	line_free(l);
	files_free(&f);
}

/* The defaults may be missing; one that was named may not. */
static void missing_configuration(void **state)
{
	scoped char *named = NULL;
	struct files f;

	files_new(&f);
	named = xasprintf("dump --config %s", f.own);
	put(f.user, "timeout 1\n");
	dump_says(&f, "dump", NULL);
	dump_says(&f, named, "");
	put(f.own, "timeout 1\n");
	dump_says(&f, named, NULL);
	unlink(f.user);
	dump_says(&f, "dump", NULL);
	files_free(&f);
}

static void broken_configuration(void **state)
{
	struct files f;
	struct line *l;

	files_new(&f);
	put(f.user, "no-such-thing\n");
	dump_says(&f, "dump", "no-such-thing");
	put(f.user, "log-file a b\n");
	dump_says(&f, "dump", "");
	put_much(f.user);
	dump_says(&f, "dump", "is no configuration file");
	put(f.user, "log-file \"\"\n");
	l = parse_with("dump", &f.config);
	assert_int_equal(l->rc, 0);
	assert_string_equal(criu_arg(&l->args, "log-file"), "");
	line_free(l);
	files_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spellings_of_one_command),
		cmocka_unit_test(verbosity),
		cmocka_unit_test(taken_back),
		cmocka_unit_test(every_option_in_every_way),
		cmocka_unit_test(letters),
		cmocka_unit_test(what_adds_up),
		cmocka_unit_test(numbers),
		cmocka_unit_test(words_behind_the_verb),
		cmocka_unit_test(values_at_the_edge),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(configuration_files),
		cmocka_unit_test(missing_configuration),
		cmocka_unit_test(broken_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
