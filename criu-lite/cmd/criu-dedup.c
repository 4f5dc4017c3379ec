/* criu-dedup.c - `criu-lite dedup` and --auto-dedup. */
#include "base/mem.h"
#include "criu-lite/cmd/criu-run.h"
#include "criu-lite/cmd/options.h"
#include "images/chain.h"

#include <fcntl.h>
#include <errno.h>
#include <string.h>

int criu_dedup_parents(const char *dir, struct err *err)
{
	scoped_fd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t pages = 0;
	int rc;

	if (fd < 0)
		return err_errno(err, "%s", dir);
	rc = chain_dedup(fd, &pages, err);
	if (rc < 0)
		return err_add(err, rc, "dedup");
	say_info("%llu pages of parents given back", (unsigned long long)pages);
	return 0;
}

int criu_dedup(const struct criu_args *args)
{
	struct criu_run run = {};
	struct err err = {};
	int rc = criu_begin(&run, args, &err);

	if (!rc)
		rc = criu_dedup_parents(run.images, &err);
	if (rc < 0)
		say_error("%s", err.text[0] ? err.text : strerror(-rc));
	criu_run_release(&run);
	return rc < 0 ? EXIT_FAILED : EXIT_DONE;
}
