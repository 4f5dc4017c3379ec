/* write.c - one image file after the other. */
#include "criu-lite/dump/write.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/task/clocks.h"
#include "criu-lite/task/seccomp.h"
#include "images/img.h"
#include "proto/inventory.pb-c.h"
#include "proto/pstree.pb-c.h"

#include <time.h>

enum { IMG_VERSION = 2 };

/*
 * The dumper's own ids: readers tell by them which namespaces must be made anew
 * (none: all tasks live in ours), and demand a files_id that is no task's.
 */
static void dumper_ids(const struct task *root, TaskKobjIdsEntry *ids)
{
	*ids = *root->ids;
	ids->vm_id = ids->files_id = ids->fs_id = ids->sighand_id = 1;
}

static void stamp(InventoryEntry *inv)
{
	struct timespec up;

	clock_gettime(CLOCK_BOOTTIME, &up);
	inv->has_dump_uptime = true;
	inv->dump_uptime = (uint64_t)up.tv_sec * 1000000 + up.tv_nsec / 1000;
}

/* Version 0 is what readers know as memory without the rest. */
int write_memory_only(struct saver *s, struct err *err)
{
	InventoryEntry inv = INVENTORY_ENTRY__INIT;

	stamp(&inv);
	inv.has_pre_dump_mode = true;
	inv.pre_dump_mode = 1;
	return img_write_one(&inv, err, s->dirfd, "inventory.img");
}

static int write_inventory(struct saver *s, struct err *err)
{
	InventoryEntry inv = INVENTORY_ENTRY__INIT;
	TaskKobjIdsEntry ids;

	dumper_ids(s->tree->task[0], &ids);
	inv.img_version = IMG_VERSION;
	inv.has_fdinfo_per_id = inv.fdinfo_per_id = true;
	inv.has_ns_per_id = inv.ns_per_id = true;
	inv.root_ids = &ids;
	inv.has_root_cg_set = true;
	inv.root_cg_set = 1;
	inv.has_lsmtype = true;
	inv.lsmtype = LSMTYPE__NO_LSM;
	stamp(&inv);
	return img_write_one(&inv, err, s->dirfd, "inventory.img");
}

static int append_task(struct img_writer *w, const struct task *task, struct err *err)
{
	scoped uint32_t *tids = xcalloc(task->n_threads, sizeof(*tids));
	PstreeEntry e = PSTREE_ENTRY__INIT;
	struct thread *t;

	for_each_thread (t, task)
		tids[t_i] = t->tid;
	e.pid = task->pid;
	e.ppid = task->parent ? task->parent->pid : 0;
	e.pgid = task->pgid;
	e.sid = task->sid;
	e.threads = tids;
	e.n_threads = task->n_threads;
	return img_append(w, &e, err);
}

static int write_pstree(struct saver *s, struct err *err)
{
	scoped_writer w = NULL;
	struct task *task;
	int rc = img_create(&w, err, s->dirfd, "pstree.img");

	for_each_task (task, s->tree) {
		if (rc < 0)
			return rc;
		rc = append_task(w, task, err);
	}
	return rc < 0 ? rc : img_close(&w, err);
}

static int write_fdinfo(struct saver *s, const struct task *task, struct err *err)
{
	scoped_writer w = NULL;
	int rc = img_create(&w, err, s->dirfd, "fdinfo-%u.img", task->ids->files_id);

	for (size_t i = 0; !rc && i < task->n_fdinfo; i++)
		rc = img_append(w, task->fdinfo[i], err);
	return rc < 0 ? rc : img_close(&w, err);
}

struct cores {
	int dirfd;
	struct thread **thread;
};

static int write_core(void *arg, size_t i, struct err *err)
{
	const struct cores *c = arg;
	const struct thread *t = c->thread[i];

	return img_write_one(t->core, err, c->dirfd, "core-%u.img", (unsigned)t->tid);
}

/* Of all threads, the dead ones' too: a file each. */
static int write_cores(struct saver *s, struct err *err)
{
	scoped struct thread **all = NULL;
	struct cores c = { .dirfd = s->dirfd };
	size_t n = 0, cap = 0;
	struct task *task;
	struct thread *t;

	for_each_task (task, s->tree)
		for_each_thread (t, task)
			ARRAY_PUSH(all, n, cap, t);
	c.thread = all;
	return parallel(n, write_core, &c, err);
}

static int write_task(struct saver *s, const struct task *task, struct err *err)
{
	int rc;

	if (task->state == TASK_DEAD)
		return 0;
	rc = img_write_one(task->ids, err, s->dirfd, "ids-%u.img", (unsigned)task->pid);
	if (!rc)
		rc = img_write_one(task->mm, err, s->dirfd, "mm-%u.img", (unsigned)task->pid);
	if (!rc)
		rc = img_write_one(task->fs, err, s->dirfd, "fs-%u.img", (unsigned)task->pid);
	if (!rc)
		rc = write_fdinfo(s, task, err);
	return rc;
}

static int write_extras(struct saver *s, struct err *err)
{
	scoped_writer w = NULL;
	struct task *task;
	struct thread *t;
	int rc = img_create(&w, err, s->dirfd, "criu-lite-tasks.img");

	for_each_task (task, s->tree)
		for_each_thread (t, task)
			if (!rc && t->extra)
				rc = img_append(w, t->extra, err);
	return rc < 0 ? rc : img_close(&w, err);
}

int write_images(struct saver *s, struct err *err)
{
	struct task *task;
	int rc = write_inventory(s, err);

	if (!rc)
		rc = write_pstree(s, err);
	if (!rc)
		rc = write_cores(s, err);
	for_each_task (task, s->tree)
		if (!rc)
			rc = write_task(s, task, err);
	if (!rc)
		rc = files_write(s->files, s->dirfd, err);
	if (!rc)
		rc = seccomp_write(s, err);
	if (!rc)
		rc = clocks_write(s, err);
	if (!rc)
		rc = write_extras(s, err);
	return rc;
}
