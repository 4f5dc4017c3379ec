/*
 * dumpable.c - whether a task may dump core and be traced by its user, PR_SET_DUMPABLE.
 *
 * The value 2 (root only) is not for prctl(2): the kernel gives it where
 * fs.suid_dumpable says so, to a task that changes its credentials. A
 * restored task does so too, and for the rest a change of the file system group
 * there and back is enough.
 */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { ROOT_ONLY = 2 };

static uint64_t dumpable_ask(struct thread *t, struct plan *p)
{
	return plan_add(p, PLAN_MUST, "ask whether it is dumpable", SYS_prctl, PR_GET_DUMPABLE);
}

static int dumpable_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			 struct err *err)
{
	t->extra->has_dumpable = true;
	t->extra->dumpable = (uint32_t)plan_ret(p, asked);
	if (t->task->mm) {
		t->task->mm->has_dumpable = true;
		t->task->mm->dumpable = (int32_t)t->extra->dumpable;
	}
	return 0;
}

static int suid_dumpable(void)
{
	int fd = open("/proc/sys/fs/suid_dumpable", O_RDONLY | O_CLOEXEC);
	char c = '0';

	if (fd < 0)
		return 0;
	if (read(fd, &c, 1) != 1)
		c = '0';
	close(fd);
	return c - '0';
}

static int root_only(struct thread *t, struct err *err)
{
	if (suid_dumpable() == ROOT_ONLY)
		return 0;
	return err_set(err, ERR_REFUSED,
		       "task %d: may dump core for root only: set fs.suid_dumpable to 2 here too",
		       t->task->pid);
}

/* Any change of fsgid makes the kernel set the mark anew; it needs no more than two of our ids. */
static void add_change(struct plan *p, const CredsEntry *creds)
{
	uint32_t other = creds->gid != creds->fsgid    ? creds->gid
			 : creds->sgid != creds->fsgid ? creds->sgid
						       : creds->fsgid + 1;

	plan_add(p, PLAN_MAY, "change the file system group", SYS_setfsgid, other);
	plan_add(p, PLAN_MAY, "change the file system group back", SYS_setfsgid, creds->fsgid);
}

/* What the mark came out as is asked, and judged: the change may have been refused. */
static void add_judge(struct plan *p, int64_t value)
{
	size_t row = plan_add(p, PLAN_IS, "make it dumpable as it was", SYS_prctl, PR_GET_DUMPABLE);

	p->note[row].expect = value;
}

static int dumpable_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			    struct err *err)
{
	const MmEntry *mm = t->task->mm;
	const CredsEntry *creds = t->core->thread_core->creds;
	uint32_t value;
	int rc = batch_room(batch, 3, 0, err);

	if (rc < 0)
		return rc;
	if (t->extra && t->extra->has_dumpable)
		value = t->extra->dumpable;
	else if (mm && mm->has_dumpable)
		value = (uint32_t)mm->dumpable;
	else
		return 0;
	if (value < ROOT_ONLY) {
		plan_add(&batch->plan, PLAN_MUST, "set whether it is dumpable", SYS_prctl,
			 PR_SET_DUMPABLE, value);
		return 0;
	}
	if (value > ROOT_ONLY || !creds)
		return err_set(err, -EBADMSG, "task %d: dumpable %u", t->task->pid, value);
	rc = root_only(t, err);
	if (rc < 0)
		return rc;
	add_change(&batch->plan, creds);
	add_judge(&batch->plan, value);
	return 0;
}

const struct task_kind kind_dumpable = {
	.name = "dumpable",
	.stage = STAGE_LAST,
	.ask = dumpable_ask,
	.save = dumpable_save,
	.rebuild = dumpable_rebuild,
};
