/*
 * options - what a command line may say, as one table per program.
 *
 * The table gives getopt_long(3) its long and short options and --help its
 * text, so that the three cannot differ. A program's options live in a struct
 * of its own that @take fills.
 */
#ifndef CMD_OPTIONS_H
#define CMD_OPTIONS_H

#include "base/err.h"

/* Exit codes of every program here. */
enum exit_code { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_REFUSED = 3 };

struct option_row {
	int id;		  /* a letter that is also the short option, or a number from 256 */
	const char *name; /* long name */
	const char *arg;  /* name of the argument in --help; NULL: takes none */
	const char *help;
};

struct command {
	const char *name;	       /* "sd-dump" */
	const char *usage;	       /* "[options] PID" */
	const char *about;	       /* one line */
	const struct option_row *rows; /* ends with .name NULL; help and version are added */
	/* One option; negative: usage error, said in @err. */
	int (*take)(int id, const char *arg, void *into, struct err *err);
};

/*
 * Parse; *@rest is the index of the first operand. Returns -1 to go on, or the
 * exit code of a program that is done (--help, --version) or called wrongly
 * (said on stderr).
 */
int options_parse(const struct command *c, int argc, char **argv, void *into, int *rest);

/* A usage error of the operands: says it with the usage line, returns EXIT_USAGE. */
int options_usage(const struct command *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* "NAME: message" on stderr; the exit code for @rc (a negative errno or ERR_REFUSED). */
int command_failed(const struct command *c, int rc, const struct err *err);

/* A whole number in [@min, @max] or a negative errno with a message. */
int option_number(const char *text, long long min, long long max, long long *out, const char *what,
		  struct err *err);

#endif
