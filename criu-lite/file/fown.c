/* fown.c - who gets signals from a descriptor: F_SETOWN_EX, F_SETSIG, O_ASYNC (fcntl(2)). */
#include "base/kernel-abi.h"
#include "criu-lite/file/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool in_tree(const struct tree *tree, const struct f_owner_ex *owner)
{
	struct task *task;
	struct thread *t;

	for_each_task (task, tree) {
		if (owner->type == F_OWNER_PGRP && task->pgid == owner->pid)
			return true;
		if (owner->type == F_OWNER_PID && task->pid == owner->pid)
			return true;
		for_each_thread (t, task)
			if (owner->type == F_OWNER_TID && t->tid == owner->pid)
				return true;
	}
	return false;
}

int file_fown_save(struct file_save *s, int copy, FownEntry *fown, struct err *err)
{
	struct f_owner_ex owner = {};
	uint32_t ids[2] = {};
	int sig = fcntl(copy, F_GETSIG);

	if (sig < 0 || fcntl(copy, F_GETOWN_EX, &owner) < 0)
		return err_errno(err, "owner of the descriptor (fcntl)");
	fown->signum = sig;
	if (!owner.pid)
		return 0;
	if (!in_tree(s->tree, &owner))
		return err_set(err, ERR_REFUSED,
			       "an owner outside of the tree (F_SETOWN %d) is not supported",
			       owner.pid);
	if (fcntl(copy, F_GETOWNER_UIDS, ids) < 0)
		return err_errno(err, "owner of the descriptor (F_GETOWNER_UIDS)");
	fown->pid_type = owner.type;
	fown->pid = owner.pid;
	fown->uid = ids[0];
	fown->euid = ids[1];
	return 0;
}

int file_fown_check(const struct tree *tree, const FileEntry *e, struct err *err)
{
	const FownEntry *fown = file_entry_fown(e);
	struct f_owner_ex owner;

	if (!fown || !fown->pid)
		return 0;
	owner = (struct f_owner_ex) { .type = fown->pid_type, .pid = fown->pid };
	if (in_tree(tree, &owner))
		return 0;
	return err_set(err, ERR_REFUSED,
		       "file %u: an owner outside of the tree (F_SETOWN %d) is not supported",
		       e->id, owner.pid);
}

/*
 * The kernel remembers the caller's uid and euid to judge later whether it may
 * send the signal, so the task takes those for the moment. Its saved uid stays
 * root's and lets it come back.
 */
static void add_owner(const FownEntry *fown, int fd, struct batch *batch)
{
	struct f_owner_ex owner = { .type = fown->pid_type, .pid = fown->pid };
	struct plan *p = &batch->plan;
	uint64_t at = plan_put(p, &owner, sizeof(owner));
	bool other = fown->uid != getuid() || fown->euid != geteuid();

	if (other)
		plan_add(p, PLAN_MUST, "setresuid to the owner's", SYS_setresuid, fown->uid,
			 fown->euid, geteuid());
	plan_add(p, PLAN_MUST, "F_SETOWN_EX", SYS_fcntl, fd, F_SETOWN_EX, at);
	if (other)
		plan_add(p, PLAN_MUST, "setresuid back", SYS_setresuid, getuid(), geteuid(),
			 geteuid());
}

int file_fown_attach(const FownEntry *fown, uint32_t flags, int fd, struct batch *batch,
		     struct err *err)
{
	int rc = batch_room(batch, 5, 64, err);

	if (rc < 0)
		return rc;
	if (fown && fown->signum)
		plan_add(&batch->plan, PLAN_MUST, "F_SETSIG", SYS_fcntl, fd, F_SETSIG,
			 fown->signum);
	if (fown && fown->pid)
		add_owner(fown, fd, batch);
	/* Last: from here signals may come. */
	if (flags & O_ASYNC)
		plan_add(&batch->plan, PLAN_MUST, "O_ASYNC", SYS_fcntl, fd, F_SETFL, flags);
	return 0;
}
