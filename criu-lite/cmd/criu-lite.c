/* criu-lite.c - called as criu is: the same verbs and options on the engine of sd-dump and sd-restore. */
#include "base/mem.h"
#include "criu-lite/cmd/criu-run.h"
#include "criu-lite/cmd/options.h"

#include <stdio.h>
#include <string.h>

static void print_usage(FILE *f)
{
	fputs("usage: criu-lite VERB [options]\n", f);
	for (const struct criu_verb *v = criu_verbs; v->name; v++)
		if (v->status == CRIU_DONE)
			fprintf(f, "  %-10s %s\n", v->name, v->note);
	fputs("criu-lite --help lists the options\n", f);
}

static void print_help(void)
{
	print_usage(stdout);
	putchar('\n');
	for (const struct criu_option *o = criu_options; o->name; o++) {
		char letter[6] = "    ";

		if (o->letter)
			snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		printf("  %s--%s%s\n", letter, o->name,
		       o->takes == TAKES_ONE	 ? " ARG"
		       : o->takes == TAKES_MAYBE ? "[=ARG]"
						 : "");
	}
}

static int wrong_usage(const char *what)
{
	print_usage(stderr);
	if (what)
		say_error("%s", what);
	return EXIT_FAILED;
}

static int refused(const struct criu_verb *v)
{
	say_error("%s is not supported%s%s", v->name, *v->note ? ": " : "", v->note);
	return EXIT_FAILED;
}

static int run(const struct criu_args *a)
{
	const char *verb = a->verb->name;

	if (a->verb->status == CRIU_REFUSED)
		return refused(a->verb);
	if (!strcmp(verb, "dump"))
		return criu_dump(a, false);
	if (!strcmp(verb, "pre-dump"))
		return criu_dump(a, true);
	if (!strcmp(verb, "restore"))
		return criu_restore(a);
	if (!strcmp(verb, "check"))
		return criu_check(a);
	if (!strcmp(verb, "cpuinfo"))
		return criu_cpuinfo(a);
	return criu_dedup(a);
}

static int parse_and_run(struct criu_args *a, int argc, char **argv)
{
	const char *home = getenv("HOME");
	scoped char *user = home ? xasprintf("%s/.criu/default.conf", home) : NULL;
	struct criu_config config = { "/etc/criu/default.conf", user };
	struct err err = {};

	if (criu_args_parse(a, argc, argv, &config, &err) < 0)
		return wrong_usage(err.text);
	criu_log_level(a->verbosity);
	if (criu_on(a, "help")) {
		print_help();
		return EXIT_DONE;
	}
	if (criu_on(a, "version")) {
		printf("Version: %s (criu-lite %s)\n", CRIU_VERSION, SD_VERSION);
		return EXIT_DONE;
	}
	return a->verb ? run(a) : wrong_usage(NULL);
}

int main(int argc, char **argv)
{
	struct criu_args a = {};
	int rc = parse_and_run(&a, argc, argv);

	criu_args_release(&a);
	return rc;
}
