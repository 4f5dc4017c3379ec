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
#include <sys/stat.h>
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

/* --- what a tree is to be in --------------------------------------------------------------- */

/* "NS:PID" or "NS:FILE", perhaps with more behind a comma. Ours is where a tree comes back anyway. */
static int check_join(const char *arg, struct err *err)
{
	const char *where = strchr(arg, ':');
	int ns = where ? (int)(where - arg) : 0, len = where ? (int)strcspn(where + 1, ",") : 0;
	scoped char *own = xasprintf("/proc/self/ns/%.*s", ns, arg), *other = NULL;
	struct stat ours, theirs;

	if (!ns || !len || memchr(arg, '/', (size_t)ns))
		return err_set(err, -EINVAL, "--join-ns: '%s' is not of the form NS:PID or NS:FILE",
			       arg);
	if (strspn(where + 1, "0123456789") >= (size_t)len)
		other = xasprintf("/proc/%.*s/ns/%.*s", len, where + 1, ns, arg);
	else
		other = xasprintf("%.*s", len, where + 1);
	if (stat(own, &ours) < 0)
		return err_errno(err, "--join-ns %s: %s", arg, own);
	if (stat(other, &theirs) < 0)
		return err_errno(err, "--join-ns %s: %s", arg, other);
	if (ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
		return 0;
	return err_set(err, ERR_REFUSED,
		       "--join-ns %s: a tree is restored in the namespaces of this program, and "
		       "that is another one",
		       arg);
}

static size_t read_label(char text[4096])
{
	scoped_file f = fopen("/proc/self/attr/current", "re");

	return f ? fread(text, 1, 4095, f) : 0;
}

/* "TYPE:LABEL". A tree comes back with our own, whichever module that is of. */
static int check_label(const char *arg, struct err *err)
{
	const char *label = strchr(arg, ':');
	char own[4096] = "";

	if (!label)
		return err_set(err, -EINVAL, "--lsm-profile: '%s' is not of the form TYPE:LABEL",
			       arg);
	if (read_label(own))
		own[strcspn(own, "\n")] = 0;
	if (own[0] && !strcmp(label + 1, own))
		return 0;
	return err_set(err, ERR_REFUSED,
		       "--lsm-profile %s: labels are not set, and this program has %s", arg,
		       own[0] ? own : "none");
}

static int check_place(const struct criu_args *a, struct err *err)
{
	const char *const *join;
	size_t n = criu_all(a, "join-ns", &join);
	const char *label = criu_arg(a, "lsm-profile");
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++)
		rc = check_join(join[i], err);
	return !rc && label ? check_label(label, err) : rc;
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
	if (!rc)
		rc = check_place(a, err);
	if (rc < 0 || !criu_on(a, "file-validation"))
		return rc;
	rc = check_files(a, fd, err);
	return rc == -ENOENT ? 0 : rc; /* a restore says better what is missing */
}
