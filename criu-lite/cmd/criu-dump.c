/* criu-dump.c - `criu-lite dump` and `criu-lite pre-dump`. */
#include "base/mem.h"
#include "criu-lite/cmd/criu-run.h"
#include "criu-lite/cmd/criu-stats.h"
#include "criu-lite/cmd/options.h"
#include "criu-lite/dump/dump.h"
#include "criu-lite/file/outside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_TIMEOUT = 10, MAX_TIMEOUT = 24 * 3600 };

struct dumping {
	struct criu_run run;
	struct dump_options dump;
	char **external; /* names as outside.h has them */
	size_t n_external;
};

static int more_images(void *arg, int dirfd, struct err *err)
{
	return criu_cpuinfo_write(dirfd, err);
}

static int published(void *arg, struct err *err)
{
	const struct dumping *d = arg;

	return criu_scripts(&d->run, "post-dump", d->dump.pid, err);
}

static bool wants_cpuinfo(const struct criu_args *a)
{
	const char *caps = criu_arg(a, "cpu-cap");

	return criu_on(a, "cpu-cap") && (!caps || strcmp(caps, "none"));
}

/* What is not to be followed by an increment need not be tracked. */
static const char *tracker_for(const struct criu_args *a, bool memory_only)
{
	return memory_only || criu_on(a, "track-mem") || criu_arg(a, "prev-images-dir") ? "auto"
											: "none";
}

static enum thaw afterwards(const struct criu_args *a, bool memory_only)
{
	if (memory_only || criu_on(a, "leave-running"))
		return THAW_RUN;
	return criu_on(a, "leave-stopped") ? THAW_STOP : THAW_KILL;
}

static void take_external(struct dumping *d)
{
	const char *const *arg;

	d->n_external = criu_all(d->run.args, "external", &arg);
	d->external = xcalloc(d->n_external + 1, sizeof(*d->external));
	for (size_t i = 0; i < d->n_external; i++)
		d->external[i] = outside_name(arg[i]);
}

static int set_options(struct dumping *d, bool memory_only, struct err *err)
{
	const struct criu_args *a = d->run.args;
	long long seconds = criu_number(a, "timeout", 0);

	if (!criu_arg(a, "tree"))
		return err_set(err, -EINVAL, "which task? -t PID is missing");
	if (criu_on(a, "leave-running") && criu_on(a, "leave-stopped"))
		return err_set(err, -EINVAL, "-R and -s exclude each other");
	if (seconds > MAX_TIMEOUT)
		return err_set(err, -EINVAL, "--timeout: more than a day");
	take_external(d);
	d->dump = (struct dump_options) {
		.pid = (pid_t)criu_number(a, "tree", 0),
		.dir = d->run.images,
		.plain = true,
		.prev = criu_arg(a, "prev-images-dir"),
		.memory_only = memory_only,
		.shell_job = criu_on(a, "shell-job"),
		.external = (const char *const *)d->external,
		.n_external = d->n_external,
		.pipes_outside = true,
		.tracker = tracker_for(a, memory_only),
		.timeout_ms = (unsigned)(seconds ? seconds : DEFAULT_TIMEOUT) * 1000,
		.after = afterwards(a, memory_only),
		.say = criu_log_say,
		.more = !memory_only && wants_cpuinfo(a) ? more_images : NULL,
		.published = !memory_only && d->run.scripts ? published : NULL,
		.arg = d,
	};
	return 0;
}

/* criu's users do not declare pipes. A restore that is not given them says so again. */
static void warn_of_pipes(const struct dumping *d, const SdCheckpoint *c)
{
	for (size_t i = 0; i < c->n_outside; i++)
		if (!outside_has(d->dump.external, d->n_external, c->outside[i]))
			say_warn("%s leads out of the tree: a restore needs --inherit-fd fd[N]:%s",
				 c->outside[i], c->outside[i]);
}

static void say_failed(int rc, const struct err *err)
{
	if (rc < 0)
		say_error("the checkpoint is whole, but: %s",
			  err->text[0] ? err->text : strerror(-rc));
}

/*
 * The checkpoint stands, and the tree may have ended: what cannot be told about it is said, and
 * changes nothing. Who is told of a failure believes that the tree goes on.
 */
static void tell(const struct dumping *d, const SdCheckpoint *c)
{
	const struct criu_args *a = d->run.args;
	struct err err = {};

	say_failed(criu_stats_dump(c, criu_on(a, "display-stats"), &err), &err);
	if (c->full_reason)
		say_warn("every page was written, whatever the parent has: %s", c->full_reason);
	for (size_t i = 0; i < c->n_untracked; i++)
		say_warn("all of its pages are written each time: %s", c->untracked[i]);
	if (!d->dump.memory_only)
		warn_of_pipes(d, c);
	say_info("%llu pages written, %llu in the parent, tracker %s",
		 (unsigned long long)c->pages_written, (unsigned long long)c->pages_parent,
		 c->tracker);
	err = (struct err) {};
	say_failed(criu_write_pidfile(&d->run, d->dump.pid, &err), &err);
	err = (struct err) {};
	if (criu_on(a, "auto-dedup"))
		say_failed(criu_dedup_parents(d->run.images, &err), &err);
}

static int work(struct dumping *d, const struct criu_args *a, bool memory_only, struct err *err)
{
	SdCheckpoint *made = NULL;
	int rc = criu_begin(&d->run, a, err);

	if (!rc)
		rc = set_options(d, memory_only, err);
	if (!rc && !memory_only)
		rc = criu_needs_dump(a, d->dump.pid, err);
	if (!rc && !memory_only)
		rc = criu_scripts(&d->run, "pre-dump", d->dump.pid, err);
	if (!rc)
		rc = dump(&d->dump, &made, err);
	if (rc < 0)
		return rc;
	tell(d, made);
	sd_checkpoint__free_unpacked(made, NULL);
	criu_tell_ready(&d->run);
	return 0;
}

int criu_dump(const struct criu_args *args, bool memory_only)
{
	const char *what = memory_only ? "Pre-dumping" : "Dumping";
	struct dumping d = {};
	struct err err = {};
	int rc = work(&d, args, memory_only, &err);

	if (rc < 0) {
		say_error("%s", err.text[0] ? err.text : strerror(-rc));
		say_error("%s FAILED.", what);
	} else {
		say_info("%s finished successfully", what);
	}
	for (size_t i = 0; i < d.n_external; i++)
		free(d.external[i]);
	free(d.external);
	criu_run_release(&d.run);
	return rc < 0 ? EXIT_FAILED : EXIT_DONE;
}
