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

/* --- files ------------------------------------------------------------------------------- */

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
		rc = check_build_id(a, e, err);
		file_entry__free_unpacked(e, NULL);
		if (rc < 0)
			return rc;
	}
	return rc;
}

int criu_needs_restore(const struct criu_run *run, struct err *err)
{
	const struct criu_args *a = run->args;
	scoped_fd fd = open(run->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return err_errno(err, "%s", run->images);
	rc = restore_cgroups(a, fd, err);
	if (!rc && criu_on(a, "file-validation"))
		rc = check_files(a, fd, err);
	return rc == -ENOENT ? 0 : rc; /* a restore says better what is missing */
}
