/* options.c - command lines from tables: getopt_long(3), --help, --version. */
#include "criu-lite/cmd/options.h"
#include "base/mem.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>

static const struct option_row common_rows[] = {
	{ 'h', "help", NULL, "this text" },
	{ 'V', "version", NULL, "the version" },
	{},
};

static void print_rows(const struct option_row *rows)
{
	for (const struct option_row *r = rows; r->name; r++) {
		char left[64];
		char letter[6] = "    ";

		if (r->id < 256)
			snprintf(letter, sizeof(letter), "-%c, ", r->id);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, r->name, r->arg ? " " : "",
			 r->arg ? r->arg : "");
		printf("  %-28s %s\n", left, r->help);
	}
}

static void print_help(const struct command *c)
{
	printf("usage: %s %s\n%s\n\n", c->name, c->usage, c->about);
	print_rows(c->rows);
	print_rows(common_rows);
}

static size_t add_rows(struct option *o, char *letters, const struct option_row *rows)
{
	size_t n = 0;

	for (const struct option_row *r = rows; r->name; r++) {
		o[n++] = (struct option) { r->name, r->arg ? required_argument : no_argument, NULL,
					   r->id };
		if (r->id < 256) {
			size_t l = strlen(letters);

			letters[l] = r->id;
			letters[l + 1] = r->arg ? ':' : 0;
			letters[l + 2] = 0;
		}
	}
	return n;
}

int options_parse(const struct command *c, int argc, char **argv, void *into, int *rest)
{
	struct option longs[64] = {};
	char letters[160] = "";
	struct err err = {};
	size_t n;
	int id;

	n = add_rows(longs, letters, c->rows);
	add_rows(longs + n, letters, common_rows);
	while ((id = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (id == '?')
			return options_usage(c, NULL);
		if (id == 'h') {
			print_help(c);
			return EXIT_DONE;
		}
		if (id == 'V') {
			printf("%s %s\n", c->name, SD_VERSION);
			return EXIT_DONE;
		}
		if (c->take(id, optarg, into, &err) < 0)
			return options_usage(c, "%s", err.text);
	}
	*rest = optind;
	return -1;
}

int options_usage(const struct command *c, const char *fmt, ...)
{
	va_list ap;

	if (fmt) {
		fprintf(stderr, "%s: ", c->name);
		va_start(ap, fmt);
		vfprintf(stderr, fmt, ap);
		va_end(ap);
		fputc('\n', stderr);
	}
	fprintf(stderr, "usage: %s %s\n", c->name, c->usage);
	return EXIT_USAGE;
}

int command_failed(const struct command *c, int rc, const struct err *err)
{
	fprintf(stderr, "%s: %s\n", c->name, err->text[0] ? err->text : strerror(-rc));
	return rc == ERR_REFUSED ? EXIT_REFUSED : EXIT_FAILED;
}

int option_number(const char *text, long long min, long long max, long long *out, const char *what,
		  struct err *err)
{
	const char *bad = NULL;

	*out = strtonum(text, min, max, &bad);
	if (bad)
		return err_set(err, -EINVAL, "%s '%s' is %s (from %lld to %lld)", what, text, bad,
			       min, max);
	return 0;
}
