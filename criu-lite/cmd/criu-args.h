/*
 * criu-args - a command line, and the files that it leads to, as criu reads them.
 *
 * Options in any order and spelling: the verb before, after or between them; --name=value,
 * --name value, -name=value; letters alone, together and with their value; names cut short as
 * long as they stay unique; --no-name. Given twice, the last one counts, but
 * for those that add up (action-script, external, ...). Configuration files come
 * first, so that the command line has the last word.
 */
#ifndef CMD_CRIU_ARGS_H
#define CMD_CRIU_ARGS_H

#include "base/err.h"
#include "criu-lite/cmd/criu-options.h"

#include <stddef.h>
#include <sys/types.h>

struct criu_given; /* of one row: how often, and with which arguments */

struct criu_args {
	const struct criu_verb *verb; /* NULL: none */
	const char *sub;	      /* the word after `cpuinfo` */
	int verbosity;
	struct criu_given *given; /* as many as there are rows */
	char **texts;		  /* words of configuration files, owned */
	size_t n_texts, cap_texts;
};

/* Where configuration files lie; NULL: none. */
struct criu_config {
	const char *system, *user;
};

/*
 * -EINVAL: what is wrong is in @err. @a must be zeroed, and is to be released
 * in any case. @argv stays the caller's and must outlive @a.
 */
int criu_args_parse(struct criu_args *a, int argc, char **argv, const struct criu_config *config,
		    struct err *err);
void criu_args_release(struct criu_args *a);

/* By the whole name, which must be one of the table. Was it given, and not taken back by --no-? */
bool criu_on(const struct criu_args *a, const char *name);
/* The last argument; NULL: none was given. */
const char *criu_arg(const struct criu_args *a, const char *name);
/* All arguments, in order. */
size_t criu_all(const struct criu_args *a, const char *name, const char *const **args);
/* A number or size that the parser has checked; @otherwise when it was not given. */
long long criu_number(const struct criu_args *a, const char *name, long long otherwise);

#endif
