/* clocks.c - the clocks that begin with the machine, saved and set (timens-0.img). */
#include "criu-lite/task/clocks.h"
#include "base/mem.h"
#include "criu-lite/proc/timens.h"
#include "criu-lite/task/kinds.h"
#include "images/img.h"
#include "proto/time.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define SECOND	    1000000000ll
#define LONGEST_SEC (1ull << 31) /* 68 years of uptime */

enum { MONOTONIC, BOOTTIME, N_CLOCKS };

static const struct {
	clockid_t id;
	const char *name;
} clocks[N_CLOCKS] = {
	[MONOTONIC] = { CLOCK_MONOTONIC, "monotonic" },
	[BOOTTIME] = { CLOCK_BOOTTIME, "boottime" },
};

static int64_t to_ns(const struct timespec *t)
{
	return t->tv_sec * SECOND + t->tv_nsec;
}

/* How far the clocks of @dir's task are ahead of the machine's; nowhere without time namespaces. */
static int offsets_of(const struct proc_dir *dir, int64_t ns[N_CLOCKS], struct err *err)
{
	struct proc_timens t = {};
	int rc = proc_timens_read(dir, &t, err);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	ns[MONOTONIC] = to_ns(&t.monotonic);
	ns[BOOTTIME] = to_ns(&t.boottime);
	return 0;
}

/* What the machine's own clocks say, wherever we live ourselves. */
static int machine_now(int64_t ns[N_CLOCKS], struct err *err)
{
	scoped_proc self = NULL;
	int64_t ours[N_CLOCKS];
	int rc = proc_open(&self, NULL, getpid(), err);

	if (!rc)
		rc = offsets_of(self, ours, err);
	for (int i = 0; !rc && i < N_CLOCKS; i++) {
		struct timespec now;

		clock_gettime(clocks[i].id, &now);
		ns[i] = to_ns(&now) - ours[i];
	}
	return rc;
}

/* --- save ------------------------------------------------------------------------------ */

/* All tasks of a tree live in one time namespace: see namespaces.c. */
static int clocks_look(struct saver *s, struct thread *t, struct err *err)
{
	int64_t now[N_CLOCKS], ahead[N_CLOCKS];
	int rc;

	if (t->task->parent)
		return 0;
	rc = machine_now(now, err);
	if (!rc)
		rc = offsets_of(t->task->proc, ahead, err);
	for (int i = 0; !rc && i < N_CLOCKS; i++)
		s->clock_ns[i] = now[i] + ahead[i];
	return rc;
}

int clocks_write(struct saver *s, struct err *err)
{
	TimensEntry e = TIMENS_ENTRY__INIT;
	Timespec at[N_CLOCKS];

	for (int i = 0; i < N_CLOCKS; i++) {
		timespec__init(&at[i]);
		at[i].tv_sec = (uint64_t)s->clock_ns[i] / SECOND;
		at[i].tv_nsec = (uint64_t)s->clock_ns[i] % SECOND;
	}
	e.monotonic = &at[MONOTONIC];
	e.boottime = &at[BOOTTIME];
	return img_write_one(&e, err, s->dirfd, "timens-0.img");
}

/* --- rebuild ---------------------------------------------------------------------------- */

/* 1: @saved is filled; 0: the checkpoint says nothing of clocks. */
static int saved_clocks(int dirfd, int64_t saved[N_CLOCKS], struct err *err)
{
	TimensEntry *e = NULL;
	int rc = img_read_one(&e, err, dirfd, "timens-0.img");

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	for (int i = 0; i < N_CLOCKS; i++) {
		const Timespec *t = i == MONOTONIC ? e->monotonic : e->boottime;

		if (t->tv_sec >= LONGEST_SEC || t->tv_nsec >= SECOND)
			rc = err_set(err, -EBADMSG, "timens-0.img: no machine runs that long");
		saved[i] = (int64_t)(t->tv_sec * SECOND + t->tv_nsec);
	}
	timens_entry__free_unpacked(e, NULL);
	return rc < 0 ? rc : 1;
}

static int set_offsets(const int64_t ahead[N_CLOCKS], struct err *err)
{
	scoped_fd fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);

	for (int i = 0; i < N_CLOCKS; i++) {
		int64_t sec = ahead[i] / SECOND - (ahead[i] % SECOND < 0);

		if (fd < 0 || dprintf(fd, "%s %lld %lld\n", clocks[i].name, (long long)sec,
				      (long long)(ahead[i] - sec * SECOND)) < 0)
			return err_errno(err, "setting the clock '%s' of the tree", clocks[i].name);
	}
	return 0;
}

/* The kernel gives us no time namespace. */
static int without(const int64_t ahead[N_CLOCKS], void (*say)(const char *line), struct err *err)
{
	for (int i = 0; i < N_CLOCKS; i++)
		if (ahead[i] > 0)
			return err_set(err, ERR_REFUSED,
				       "the clock '%s' here is behind that of the checkpoint, and "
				       "no time namespace can be made: %s",
				       clocks[i].name, strerror(errno));
	if (say)
		say("no time namespace can be made: the clocks of the tree jump ahead");
	return 0;
}

int clocks_enter(int *home, int dirfd, void (*say)(const char *line), struct err *err)
{
	int64_t saved[N_CLOCKS], ahead[N_CLOCKS];
	int rc = saved_clocks(dirfd, saved, err);

	*home = -1;
	if (rc > 0)
		rc = machine_now(ahead, err) < 0 ? -EIO : 1;
	if (rc <= 0)
		return rc;
	for (int i = 0; i < N_CLOCKS; i++)
		ahead[i] = saved[i] - ahead[i];
	*home = open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC);
	if (*home < 0 || unshare(CLONE_NEWTIME) < 0)
		return without(ahead, say, err);
	return set_offsets(ahead, err);
}

/*
 * Best effort: the kernel does not let a program with threads come back. What it clones
 * from then on (a tracker's keeper) has the tree's clocks, and no use for them.
 */
void clocks_leave(int *home)
{
	if (*home < 0)
		return;
	(void)setns(*home, CLONE_NEWTIME);
	close(*home);
	*home = -1;
}

const struct task_kind kind_clocks = {
	.name = "clocks",
	.look = clocks_look,
};
