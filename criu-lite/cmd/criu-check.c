/* criu-check.c - `criu-lite check`: what this kernel lacks. */
#include "base/mem.h"
#include "criu-lite/cmd/criu-features.h"
#include "criu-lite/cmd/criu-run.h"
#include "criu-lite/cmd/options.h"
#include "criu-lite/track/track.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int check_one(const char *name)
{
	const struct criu_feature *f = criu_feature_find(name);
	bool yes;

	if (!f) {
		say_error("there is no feature '%s'", name);
		return EXIT_FAILED;
	}
	yes = f->probe();
	printf("%s is %ssupported\n", name, yes ? "" : "not ");
	return yes ? EXIT_DONE : EXIT_FAILED;
}

/* How many of a kind are missing; each is named. */
static size_t missing(enum criu_need need, int level)
{
	size_t n = 0;

	for (const struct criu_feature *f = criu_features; f->name; f++) {
		if (f->need != need || f->probe())
			continue;
		criu_log(level, __FILE__, __LINE__, "this kernel, or this user, has no %s",
			 f->name);
		n++;
	}
	return n;
}

/* What trees of some kinds need is a lack, but no reason to give up. */
static int check_all(bool extra)
{
	size_t must = missing(NEED_ALWAYS, LOG_ERROR);
	size_t may = extra ? missing(NEED_SOME, LOG_WARN) : 0;

	say_info("increments by the tracker %s", track_choice("auto"));
	if (must) {
		puts("Does not look good.");
		return EXIT_FAILED;
	}
	puts(may ? "Looks good but some features are missing." : "Looks good.");
	return may ? EXIT_FAILED : EXIT_DONE;
}

static int check_features(const struct criu_args *a)
{
	const char *const *name;
	size_t n = criu_all(a, "feature", &name);
	int worst = EXIT_DONE;

	for (size_t i = 0; i < n; i++) {
		int rc = check_one(name[i]);

		worst = rc ? rc : worst;
	}
	return worst;
}

int criu_check(const struct criu_args *args)
{
	struct criu_run run = {};
	struct err err = {};
	int rc = criu_begin(&run, args, &err);

	criu_run_release(&run);
	if (rc < 0) {
		say_error("%s", err.text);
		return EXIT_FAILED;
	}
	if (criu_arg(args, "feature"))
		return check_features(args);
	return check_all(criu_on(args, "extra") || criu_on(args, "all"));
}
