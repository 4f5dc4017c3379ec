/* sd-dump.c - save a running tree as the next checkpoint of a chain. */
#include "base/mem.h"
#include "criu-lite/cmd/options.h"
#include "criu-lite/cmd/report.h"
#include "criu-lite/dump/dump.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { OPT_TRACKER = 256, OPT_FULL, OPT_STOP, OPT_KILL, OPT_TIMEOUT, OPT_UNPROTECTED, OPT_JSON };

static const struct option_row rows[] = {
	{ 'D', "images-dir", "DIR", "the chain's directory (default ./sd-PID)" },
	{ OPT_TRACKER, "tracker", "NAME", "auto, soft-dirty, wp-async, hash or none" },
	{ OPT_FULL, "full", NULL, "write every page, whatever was saved before" },
	{ OPT_STOP, "stop", NULL, "leave the tree stopped" },
	{ OPT_KILL, "kill", NULL, "end the tree once the checkpoint is safe on disk" },
	{ OPT_TIMEOUT, "timeout", "SECONDS", "give up freezing after this long (default 10)" },
	{ OPT_UNPROTECTED, "unprotected", NULL, "dump a task that could not rescue itself too" },
	{ OPT_JSON, "json", NULL, "print the result as one JSON object" },
	{ 'v', "verbose", NULL, "say what is done" },
	{ 'q', "quiet", NULL, "print nothing but errors" },
	{},
};

struct args {
	struct dump_options dump;
	bool stop, kill, json, verbose, quiet;
};

static int take_timeout(const char *arg, struct args *a, struct err *err)
{
	long long seconds;
	int rc = option_number(arg, 1, 3600, &seconds, "--timeout", err);

	if (!rc)
		a->dump.timeout_ms = seconds * 1000;
	return rc;
}

static int take(int id, const char *arg, void *into, struct err *err)
{
	struct args *a = into;

	switch (id) {
	case 'D':
		a->dump.dir = arg;
		break;
	case OPT_TRACKER:
		a->dump.tracker = arg;
		break;
	case OPT_FULL:
		a->dump.full = true;
		break;
	case OPT_STOP:
		a->stop = true;
		break;
	case OPT_KILL:
		a->kill = true;
		break;
	case OPT_TIMEOUT:
		return take_timeout(arg, a, err);
	case OPT_UNPROTECTED:
		a->dump.unprotected = true;
		break;
	case OPT_JSON:
		a->json = true;
		break;
	case 'v':
		a->verbose = true;
		break;
	case 'q':
		a->quiet = true;
		break;
	}
	return 0;
}

static const struct command command = {
	.name = "sd-dump",
	.usage = "[options] PID",
	.about =
		"Save the tree of tasks rooted at PID: everything the first time, then what changed.",
	.rows = rows,
	.take = take,
};

/* What contradicts itself on the command line; -1 when all is well. */
static int check_args(struct args *a, int argc, char **argv, int rest)
{
	struct err err = {};
	long long pid;

	if (argc - rest != 1)
		return options_usage(&command, "one PID is needed");
	if (option_number(argv[rest], 1, 1 << 22, &pid, "PID", &err) < 0)
		return options_usage(&command, "%s", err.text);
	if (a->stop && a->kill)
		return options_usage(&command, "--stop and --kill exclude each other");
	a->dump.pid = pid;
	a->dump.after = a->kill ? THAW_KILL : a->stop ? THAW_STOP : THAW_RUN;
	return -1;
}

int main(int argc, char **argv)
{
	struct args a = { .dump = { .tracker = "auto", .timeout_ms = 10000, .shell_job = true } };
	struct report_progress watch = {};
	SdCheckpoint *made = NULL;
	scoped char *dir = NULL;
	struct err err = {};
	int rest, rc;

	rc = options_parse(&command, argc, argv, &a, &rest);
	if (rc < 0)
		rc = check_args(&a, argc, argv, rest);
	if (rc >= 0)
		return rc;
	if (!a.dump.dir)
		a.dump.dir = dir = xasprintf("./sd-%d", a.dump.pid);
	a.dump.say = a.verbose ? report_say : NULL;
	if (!a.quiet)
		report_progress_begin(&watch);
	a.dump.progress = &watch.progress;

	rc = dump(&a.dump, &made, &err);
	report_progress_end(&watch);
	if (rc < 0)
		return command_failed(&command, rc, &err);
	if (a.json)
		report_dump_json(made);
	else if (!a.quiet)
		report_dump(made, a.dump.dir);
	sd_checkpoint__free_unpacked(made, NULL);
	return EXIT_DONE;
}
