/* criu-needs.c - options that are refused only where they would make a difference. */
#include "base/mem.h"
#include "criu-lite/cmd/criu-run.h"
#include "images/img.h"
#include "proto/files.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- cgroups ------------------------------------------------------------------------------- */

/* Which of the options that are about cgroups was given; NULL: none. */
static const char *about_cgroups(const struct criu_args *a)
{
	static const char *const names[] = { "manage-cgroups",	       "cgroup-root",
					     "cgroup-props",	       "cgroup-props-file",
					     "cgroup-dump-controller", "cgroup-yard" };
	const char *mode = criu_arg(a, "manage-cgroups");

	if (mode && !strcmp(mode, "ignore"))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (criu_on(a, names[i]))
			return names[i];
	return NULL;
}

static size_t read_cgroups(const char *of, char text[8192])
{
	scoped char *path = xasprintf("/proc/%s/cgroup", of);
	scoped_file f = fopen(path, "re");

	return f ? fread(text, 1, 8192, f) : 0;
}

int criu_needs_dump(const struct criu_args *args, pid_t root, struct err *err)
{
	const char *option = about_cgroups(args);
	char of_root[8192], own[8192];
	char pid[16];
	size_t n;

	if (!option)
		return 0;
	snprintf(pid, sizeof(pid), "%d", root);
	n = read_cgroups(pid, of_root);
	if (n && (n != read_cgroups("self", own) || memcmp(of_root, own, n)))
		return err_set(err, ERR_REFUSED,
			       "--%s: task %d is in another cgroup than this program, and cgroups "
			       "are not saved",
			       option, root);
	return 0;
}

static int restore_cgroups(const struct criu_args *a, int dirfd, struct err *err)
{
	const char *option = about_cgroups(a);

	if (option && !faccessat(dirfd, "cgroup.img", F_OK, 0))
		return err_set(err, ERR_REFUSED, "--%s: cgroup.img: cgroups are not restored",
			       option);
	return 0;
}

/* --- files that the caller has opened ----------------------------------------------------- */

/* What --inherit-fd calls @e; false: it has no name there. */
static bool inherit_key(const FileEntry *e, char key[512])
{
	key[0] = 0;
	if (e->reg && e->reg->name[0] == '/')
		snprintf(key, 512, "%s", e->reg->name + 1);
	else if (e->pipe)
		snprintf(key, 512, "pipe:[%" PRIu32 "]", e->pipe->pipe_id);
	else if (e->usk)
		snprintf(key, 512, "socket:[%" PRIu32 "]", e->usk->ino);
	return key[0];
}

/* "fd[N]:KEY" */
static const char *key_of(const char *arg)
{
	const char *key = strncmp(arg, "fd[", 3) ? NULL : strstr(arg, "]:");

	return key ? key + 2 : NULL;
}

static int check_inherited(const struct criu_args *a, const FileEntry *e, struct err *err)
{
	const char *const *arg;
	size_t n = criu_all(a, "inherit-fd", &arg);
	char key[512];

	if (!n || !inherit_key(e, key))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (key_of(arg[i]) && !strcmp(key_of(arg[i]), key))
			return err_set(err, ERR_REFUSED,
				       "--inherit-fd: %s is in the images, and is not inherited",
				       key);
	return 0;
}

static int check_build_id(const struct criu_args *a, const FileEntry *e, struct err *err)
{
	const char *how = criu_arg(a, "file-validation");

	if (how && !strcmp(how, "buildid") && e->reg && e->reg->n_build_id)
		return err_set(err, ERR_REFUSED,
			       "--file-validation: the build-ID of %s is not compared",
			       e->reg->name);
	return 0;
}

static int check_files(const struct criu_args *a, int dirfd, struct err *err)
{
	scoped_reader r = NULL;
	FileEntry *e;
	int rc = img_open(&r, err, dirfd, "files.img");

	if (rc < 0)
		return rc;
	while ((rc = img_next(r, &e, err)) > 0) {
		rc = check_inherited(a, e, err);
		if (!rc)
			rc = check_build_id(a, e, err);
		file_entry__free_unpacked(e, NULL);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int check_keys(const struct criu_args *a, struct err *err)
{
	const char *const *arg;
	size_t n = criu_all(a, "inherit-fd", &arg);

	for (size_t i = 0; i < n; i++)
		if (!key_of(arg[i]))
			return err_set(err, -EINVAL,
				       "--inherit-fd: '%s' is not of the form fd[N]:FILE", arg[i]);
	return 0;
}

int criu_needs_restore(const struct criu_run *run, struct err *err)
{
	const struct criu_args *a = run->args;
	scoped_fd fd = open(run->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return err_errno(err, "%s", run->images);
	rc = check_keys(a, err);
	if (!rc)
		rc = restore_cgroups(a, fd, err);
	if (!rc && (criu_on(a, "inherit-fd") || criu_on(a, "file-validation")))
		rc = check_files(a, fd, err);
	return rc == -ENOENT ? 0 : rc; /* a restore says better what is missing */
}
