/*
 * criu-run - what every verb of criu-lite begins and ends with: directories, the log,
 * action scripts, the pid file, the status descriptor.
 */
#ifndef CMD_CRIU_RUN_H
#define CMD_CRIU_RUN_H

#include "criu-lite/cmd/criu-args.h"
#include "criu-lite/cmd/criu-log.h"

struct criu_run {
	const struct criu_args *args;
	char *images; /* absolute */
	bool scripts; /* there are some */
};

/*
 * Close, go to the work directory, open the log. What the options ask for and this
 * program never does is refused here: -ENOTSUP.
 */
int criu_begin(struct criu_run *run, const struct criu_args *args, struct err *err);
void criu_run_release(struct criu_run *run);

/* All --action-script in turn; one that does not exit with 0 is an error. @root 0: not known. */
int criu_scripts(const struct criu_run *run, const char *action, pid_t root, struct err *err);
/* --pidfile and --status-fd, where they were given. */
int criu_write_pidfile(const struct criu_run *run, pid_t pid, struct err *err);
void criu_tell_ready(const struct criu_run *run);

/* The verbs: exit codes. What went wrong has been said. */
int criu_dump(const struct criu_args *args, bool memory_only);
int criu_restore(const struct criu_args *args);
int criu_check(const struct criu_args *args);
int criu_cpuinfo(const struct criu_args *args);
int criu_dedup(const struct criu_args *args);

/*
 * Options that ask for what is not done, where it would make a difference: ERR_REFUSED names
 * the option and what in the tree, or in the images, it is about.
 */
int criu_needs_dump(const struct criu_args *args, pid_t root, struct err *err);
int criu_needs_restore(const struct criu_run *run, struct err *err);

/* cpuinfo.img of this machine into @dirfd; does what lies there fit this machine? */
int criu_cpuinfo_write(int dirfd, struct err *err);
int criu_cpuinfo_compare(int dirfd, struct err *err);

/* What the parents of the plain directory @dir hold in vain is given back to the disk. */
int criu_dedup_parents(const char *dir, struct err *err);

#endif
