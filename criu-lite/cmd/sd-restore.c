/* sd-restore.c - bring a tree back from a checkpoint, and stand in for its parent. */
#include "base/mem.h"
#include "criu-lite/cmd/options.h"
#include "criu-lite/cmd/report.h"
#include "criu-lite/cmd/stand-in.h"
#include "criu-lite/restore/restore.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>

enum { OPT_AT = 256, OPT_PIDFILE, OPT_SHELL_JOB, OPT_JSON };

static const struct option_row rows[] = {
	{ 'D', "images-dir", "DIR", "the chain's directory, or one image directory" },
	{ OPT_AT, "at", "N", "checkpoint N (default: the newest)" },
	{ 'd', "detach", NULL, "end as soon as the tree runs" },
	{ OPT_PIDFILE, "pidfile", "FILE", "write the root's pid to FILE" },
	{ OPT_SHELL_JOB, "shell-job", NULL, "take this terminal, session and group" },
	{ OPT_JSON, "json", NULL, "print the result as one JSON object" },
	{ 'v', "verbose", NULL, "say what is done" },
	{ 'q', "quiet", NULL, "print nothing but errors" },
	{},
};

struct args {
	struct restore_options restore;
	bool json, verbose, quiet;
};

static int take_at(const char *arg, struct args *a, struct err *err)
{
	long long seq;
	int rc = option_number(arg, 1, UINT32_MAX, &seq, "--at", err);

	if (!rc)
		a->restore.seq = (uint32_t)seq;
	return rc;
}

static int take(int id, const char *arg, void *into, struct err *err)
{
	struct args *a = into;

	switch (id) {
	case 'D':
		a->restore.dir = arg;
		break;
	case OPT_AT:
		return take_at(arg, a, err);
	case 'd':
		a->restore.detach = true;
		break;
	case OPT_PIDFILE:
		a->restore.pidfile = arg;
		break;
	case OPT_SHELL_JOB:
		a->restore.shell_job = true;
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
	.name = "sd-restore",
	.usage = "[options] [DIR]",
	.about = "Bring back the tree of tasks saved in DIR, and wait for it.",
	.rows = rows,
	.take = take,
};

static int check_args(struct args *a, int argc, char **argv, int rest)
{
	if (argc - rest > 1)
		return options_usage(&command, "one DIR only");
	if (argc - rest == 1 && a->restore.dir)
		return options_usage(&command, "DIR is given twice");
	if (argc - rest == 1)
		a->restore.dir = argv[rest];
	if (!a->restore.dir)
		return options_usage(&command, "which DIR?");
	return -1;
}

static void print_line(const struct restored *r)
{
	printf("restored checkpoint %" PRIu32 ": pid %d; %" PRIu64 " task%s, %" PRIu64
	       " thread%s; %" PRIu64 " pages (%" PRIu64 " KiB) in %.1f ms\n",
	       r->seq, r->root, r->tasks, r->tasks == 1 ? "" : "s", r->threads,
	       r->threads == 1 ? "" : "s", r->pages, r->pages * 4, (double)r->total_us / 1000);
}

static void print_json(const struct restored *r)
{
	json_t *phases = json_object();
	json_t *o =
		json_pack("{s:I, s:i, s:I, s:I, s:I, s:I, s:I}", "checkpoint", (json_int_t)r->seq,
			  "pid", (int)r->root, "tasks", (json_int_t)r->tasks, "threads",
			  (json_int_t)r->threads, "pages", (json_int_t)r->pages, "bytes",
			  (json_int_t)(r->pages * 4096), "total_us", (json_int_t)r->total_us);

	for (size_t i = 0; i < r->n_phases; i++)
		json_object_set_new(phases, r->phases[i]->name,
				    json_integer((json_int_t)r->phases[i]->us));
	json_object_set_new(o, "phases_us", phases);
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

int main(int argc, char **argv)
{
	struct args a = {};
	struct report_progress watch = {};
	struct restored done = {};
	struct err err = {};
	struct ward ward;
	int rest, rc;

	rc = options_parse(&command, argc, argv, &a, &rest);
	if (rc < 0)
		rc = check_args(&a, argc, argv, rest);
	if (rc >= 0)
		return rc;
	a.restore.say = a.verbose ? report_say : NULL;
	signal(SIGCHLD, SIG_DFL);
	if (!a.restore.detach)
		stand_in_begin();
	if (!a.quiet)
		report_progress_begin(&watch);
	a.restore.progress = &watch.progress;
	rc = restore(&a.restore, &done, &err);
	report_progress_end(&watch);
	if (rc < 0)
		return command_failed(&command, rc, &err);
	if (a.json)
		print_json(&done);
	else if (!a.quiet)
		print_line(&done);
	fflush(stdout);
	ward = (struct ward) { .root = done.root,
			       .terminal = a.restore.shell_job,
			       .terminal_given = done.terminal_given };
	restored_release(&done);
	return a.restore.detach ? EXIT_DONE : stand_in(&ward);
}
