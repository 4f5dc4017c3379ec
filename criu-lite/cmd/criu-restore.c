/* criu-restore.c - `criu-lite restore`. */
#include "base/mem.h"
#include "criu-lite/cmd/criu-run.h"
#include "criu-lite/cmd/criu-stats.h"
#include "criu-lite/cmd/options.h"
#include "criu-lite/cmd/stand-in.h"
#include "criu-lite/file/outside.h"
#include "criu-lite/restore/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct restoring {
	struct criu_run run;
	struct restore_options restore;
	struct restored done;
	struct progress progress; /* counts the pages that were brought back */
	struct file_given *given; /* by --inherit-fd; .fd -1: there is no such descriptor */
	size_t n_given;
	const char *wrong; /* an --inherit-fd that cannot be read */
};

/* --- what is inherited -------------------------------------------------------------------- */

/* "fd[N]:RESOURCE". Before anything is opened: a number that was not given would be one of ours. */
static void take_inherited(struct restoring *r, const struct criu_args *a)
{
	const char *const *arg;

	r->n_given = criu_all(a, "inherit-fd", &arg);
	r->given = xcalloc(r->n_given + 1, sizeof(*r->given));
	for (size_t i = 0; i < r->n_given; i++) {
		struct file_given *g = &r->given[i];
		int end = 0;

		if (sscanf(arg[i], "fd[%d]:%n", &g->fd, &end) != 1 || !end || !arg[i][end]) {
			r->wrong = arg[i];
			end = 0;
		}
		g->name = outside_name(arg[i] + end);
		if (fcntl(g->fd, F_GETFD) < 0)
			g->fd = -1;
	}
}

static int check_inherited(const struct restoring *r, struct err *err)
{
	if (r->wrong)
		return err_set(err, -EINVAL, "--inherit-fd: '%s' is not of the form fd[N]:FILE",
			       r->wrong);
	for (size_t i = 0; i < r->n_given; i++)
		if (r->given[i].fd < 0)
			return err_set(err, -EBADF,
				       "--inherit-fd: the descriptor for %s is not open",
				       r->given[i].name);
	return 0;
}

static void release_inherited(struct restoring *r)
{
	for (size_t i = 0; i < r->n_given; i++)
		free(r->given[i].name);
	free(r->given);
}

/* --- the restore ---------------------------------------------------------------------------- */

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
		.given = r->given,
		.n_given = r->n_given,
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
	for (size_t i = 0; i < r->n_given; i++)
		if (!r->given[i].used)
			say_warn("--inherit-fd: no descriptor of the tree is of %s",
				 r->given[i].name);
	say_info("Restore finished successfully. Tasks resumed.");
	criu_tell_ready(&r->run);
}

static int work(struct restoring *r, const struct criu_args *a, struct err *err)
{
	int rc = criu_begin(&r->run, a, err);

	if (!rc)
		rc = check_inherited(r, err);
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
	take_inherited(&r, args);
	rc = work(&r, args, &err);
	if (rc < 0) {
		say_error("%s", err.text[0] ? err.text : strerror(-rc));
		say_error("Restoring FAILED.");
	}
	ward = (struct ward) { .root = r.done.root,
			       .terminal = r.restore.shell_job,
			       .terminal_given = r.done.terminal_given };
	restored_release(&r.done);
	release_inherited(&r);
	criu_run_release(&r.run);
	if (rc < 0)
		return EXIT_FAILED;
	fflush(NULL);
	return r.restore.detach ? EXIT_DONE : stand_in(&ward);
}
