/* criu-run.c - before and after the work of a verb. */
#include "criu-lite/cmd/criu-run.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- beginning ------------------------------------------------------------------------------ */

static int check_refused(const struct criu_args *a, struct err *err)
{
	for (const struct criu_option *o = criu_options; o->name; o++)
		if (o->status == CRIU_REFUSED && criu_on(a, o->name))
			return err_set(err, -ENOTSUP, "--%s is not supported: %s", o->name,
				       o->note);
	return 0;
}

static void close_given(const struct criu_args *a)
{
	const char *const *fd;
	size_t n = criu_all(a, "close", &fd);

	for (size_t i = 0; i < n; i++)
		close(atoi(fd[i]));
}

static int go_to_work(struct criu_run *run, struct err *err)
{
	const char *images = criu_arg(run->args, "images-dir");
	const char *work = criu_arg(run->args, "work-dir");
	scoped_fd fd = -1;

	run->images = realpath(images ? images : ".", NULL);
	if (!run->images)
		return err_errno(err, "images directory %s", images ? images : ".");
	fd = open(run->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "images directory %s", run->images);
	if (chdir(work ? work : run->images) < 0)
		return err_errno(err, "work directory %s", work ? work : run->images);
	return 0;
}

int criu_begin(struct criu_run *run, const struct criu_args *args, struct err *err)
{
	const char *const *script;
	int rc;

	run->args = args;
	run->scripts = criu_all(args, "action-script", &script) > 0;
	close_given(args);
	rc = go_to_work(run, err);
	if (!rc && criu_arg(args, "log-file"))
		rc = criu_log_open(criu_arg(args, "log-file"), err);
	if (!rc)
		rc = check_refused(args, err);
	return rc;
}

void criu_run_release(struct criu_run *run)
{
	free(run->images);
	run->images = NULL;
}

/* --- scripts ----------------------------------------------------------------------------------- */

/* Signals that we hold back while a tree is in our hands are not the script's to lose. */
static void __attribute__((noreturn)) be_script(const char *script)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl("/bin/sh", "sh", "-c", script, (char *)NULL);
	_exit(127);
}

static int run_script(const char *script, struct err *err)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid)
		be_script(script);
	if (pid < 0)
		return err_errno(err, "starting %s", script);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, "waiting for %s", script);
	if (WIFSIGNALED(status))
		return err_set(err, -ECANCELED, "action script %s: ended by signal %d", script,
			       WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(err, -ECANCELED, "action script %s: exit status %d", script,
			       WEXITSTATUS(status));
	return 0;
}

int criu_scripts(const struct criu_run *run, const char *action, pid_t root, struct err *err)
{
	const char *const *script;
	size_t n = criu_all(run->args, "action-script", &script);
	char number[16];
	int rc = 0;

	snprintf(number, sizeof(number), "%d", root);
	setenv("CRTOOLS_SCRIPT_ACTION", action, 1);
	setenv("CRTOOLS_IMAGE_DIR", run->images, 1);
	if (root)
		setenv("CRTOOLS_INIT_PID", number, 1);
	else
		unsetenv("CRTOOLS_INIT_PID");
	for (size_t i = 0; !rc && i < n; i++) {
		say_debug("%s: %s", action, script[i]);
		rc = run_script(script[i], err);
	}
	return rc < 0 ? err_add(err, rc, "%s", action) : 0;
}

/* --- ending -------------------------------------------------------------------------------------- */

int criu_write_pidfile(const struct criu_run *run, pid_t pid, struct err *err)
{
	const char *path = criu_arg(run->args, "pidfile");
	int fd, rc;

	if (!path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, "%s", path);
	rc = dprintf(fd, "%d\n", pid) < 0 ? -1 : 0;
	if (close(fd) < 0 || rc < 0)
		return err_errno(err, "writing %s", path);
	return 0;
}

void criu_tell_ready(const struct criu_run *run)
{
	int fd = (int)criu_number(run->args, "status-fd", -1);

	if (fd < 0)
		return;
	if (write(fd, "", 1) != 1)
		say_warn("status descriptor %d: %s", fd, strerror(errno));
	close(fd);
}
