/* criu-cpuinfo.c - cpuinfo.img: what this processor can, and whether it can what another one could. */
#include "base/mem.h"
#include "criu-lite/arch/x86-64/cpuinfo.h"
#include "criu-lite/cmd/criu-run.h"
#include "criu-lite/cmd/options.h"
#include "images/img.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int criu_cpuinfo_write(int dirfd, struct err *err)
{
	CpuinfoEntry e = CPUINFO_ENTRY__INIT;
	CpuinfoX86Entry *x86 = cpuinfo_here();
	int rc;

	e.x86_entry = &x86;
	e.n_x86_entry = 1;
	rc = img_write_one(&e, err, dirfd, "cpuinfo.img");
	cpuinfo_x86_entry__free_unpacked(x86, NULL);
	return rc;
}

int criu_cpuinfo_compare(int dirfd, struct err *err)
{
	CpuinfoEntry *e;
	int rc = img_read_one(&e, err, dirfd, "cpuinfo.img");

	if (rc < 0)
		return rc;
	if (e->n_x86_entry != 1)
		rc = err_set(err, -EBADMSG, "cpuinfo.img: is not of an x86-64 processor");
	else
		rc = cpuinfo_check(e->x86_entry[0], err);
	cpuinfo_entry__free_unpacked(e, NULL);
	return rc;
}

static int work(struct criu_run *run, const struct criu_args *a, struct err *err)
{
	scoped_fd fd = -1;
	int rc = criu_begin(run, a, err);

	if (rc < 0)
		return rc;
	if (!a->sub || (strcmp(a->sub, "dump") && strcmp(a->sub, "check")))
		return err_set(err, -EINVAL, "cpuinfo: dump or check?");
	fd = open(run->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "%s", run->images);
	if (!strcmp(a->sub, "check"))
		return criu_cpuinfo_compare(fd, err);
	if (unlinkat(fd, "cpuinfo.img", 0) < 0 && errno != ENOENT)
		return err_errno(err, "cpuinfo.img: remove");
	return criu_cpuinfo_write(fd, err);
}

int criu_cpuinfo(const struct criu_args *args)
{
	struct criu_run run = {};
	struct err err = {};
	int rc = work(&run, args, &err);

	if (rc < 0)
		say_error("%s", err.text[0] ? err.text : strerror(-rc));
	criu_run_release(&run);
	return rc < 0 ? EXIT_FAILED : EXIT_DONE;
}
