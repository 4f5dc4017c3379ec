/* criu-restore.c - `criu-lite restore`. */
#include "base/mem.h"
#include "criu-lite/cmd/criu-run.h"
#include "criu-lite/cmd/criu-stats.h"
#include "criu-lite/cmd/options.h"
#include "criu-lite/cmd/stand-in.h"
#include "criu-lite/restore/restore.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct restoring {
	struct criu_run run;
	struct restore_options restore;
	struct restored done;
	struct progress progress; /* counts the pages that were brought back */
};

/* Both while nothing runs yet: whoever copies files may do it in either. */
static int ready(void *arg, pid_t root, struct err *err)
{
	const struct restoring *r = arg;
	int rc = criu_scripts(&r->run, "post-restore", root, err);

	return rc ? rc : criu_scripts(&r->run, "pre-resume", root, err);
}

static int set_options(struct restoring *r, struct err *err)
{
	const struct criu_args *a = r->run.args;

	if (criu_on(a, "restore-sibling") && !criu_on(a, "restore-detached"))
		return err_set(err, -EINVAL,
			       "--restore-sibling needs --restore-detached: only "
			       "a parent can wait");
	r->restore = (struct restore_options) {
		.dir = r->run.images,
		.plain = true,
		.detach = criu_on(a, "restore-detached"),
		.sibling = criu_on(a, "restore-sibling"),
		.stop = criu_on(a, "leave-stopped"),
		.any_mode = criu_on(a, "skip-file-rwx-check"),
		.shell_job = criu_on(a, "shell-job"),
		.pidfile = criu_arg(a, "pidfile"),
		.say = criu_log_say,
		.progress = &r->progress,
		.ready = r->run.scripts ? ready : NULL,
		.arg = r,
	};
	return 0;
}

/* The tree runs: what cannot be told about it is said, and changes nothing. */
static void tell(struct restoring *r)
{
	uint64_t pages = atomic_load(&r->progress.done);
	struct err err = {};

	if (criu_scripts(&r->run, "post-resume", r->done.root, &err) < 0)
		say_error("%s", err.text);
	if (criu_stats_restore(&r->done, pages, criu_on(r->run.args, "display-stats"), &err) < 0)
		say_error("%s", err.text);
	say_info("Restore finished successfully. Tasks resumed.");
	criu_tell_ready(&r->run);
}

static int work(struct restoring *r, const struct criu_args *a, struct err *err)
{
	int rc = criu_begin(&r->run, a, err);

	if (!rc)
		rc = set_options(r, err);
	if (!rc)
		rc = criu_needs_restore(&r->run, err);
	if (!rc)
		rc = criu_scripts(&r->run, "pre-restore", 0, err);
	if (rc < 0)
		return rc;
	if (!r->restore.detach)
		stand_in_begin();
	rc = restore(&r->restore, &r->done, err);
	if (!rc)
		tell(r);
	return rc;
}

int criu_restore(const struct criu_args *args)
{
	struct restoring r = {};
	struct err err = {};
	struct ward ward;
	int rc;

	signal(SIGCHLD, SIG_DFL);
	rc = work(&r, args, &err);
	if (rc < 0) {
		say_error("%s", err.text[0] ? err.text : strerror(-rc));
		say_error("Restoring FAILED.");
	}
	ward = (struct ward) { .root = r.done.root,
			       .terminal = r.restore.shell_job,
			       .terminal_given = r.done.terminal_given };
	restored_release(&r.done);
	criu_run_release(&r.run);
	if (rc < 0)
		return EXIT_FAILED;
	fflush(NULL);
	return r.restore.detach ? EXIT_DONE : stand_in(&ward);
}
