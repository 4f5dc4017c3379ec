/*
 * loginuid.c - who logged in, for the audit log: /proc/PID/loginuid. A task may
 * set its own only, and only when we differ from it is there anything to set.
 */
#include "criu-lite/proc/values.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int loginuid_look(struct saver *s, struct thread *t, struct err *err)
{
	uint32_t uid;
	int rc = proc_loginuid_read(t->task->proc, &uid, err);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	t->core->tc->has_loginuid = true;
	t->core->tc->loginuid = uid;
	return 0;
}

/* The newborn's own, which is ours; false where the kernel keeps none. */
static bool own_loginuid(uint32_t *uid)
{
	scoped_proc me = NULL;

	return proc_open(&me, NULL, getpid(), NULL) == 0 && proc_loginuid_read(me, uid, NULL) == 0;
}

static int loginuid_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			    struct err *err)
{
	static const char path[] = "/proc/thread-self/loginuid";
	struct plan *p = &batch->plan;
	uint32_t own;
	char text[16];
	size_t row;
	int rc;

	if (!t->core->tc->has_loginuid || !own_loginuid(&own) || own == t->core->tc->loginuid)
		return 0;
	snprintf(text, sizeof(text), "%u", t->core->tc->loginuid);
	rc = batch_room(batch, 3, sizeof(path) + sizeof(text) + 2 * 16, err);
	if (rc < 0)
		return rc;
	row = plan_add(p, PLAN_MUST, "open /proc/thread-self/loginuid", SYS_openat,
		       (uint64_t)AT_FDCWD, plan_put_str(p, path), O_WRONLY | O_CLOEXEC);
	p->row[row].flags |= ROW_KEEP;
	row = plan_add(p, PLAN_MUST, "set the login uid (needs CAP_AUDIT_CONTROL once it is set)",
		       SYS_write, 0, plan_put_str(p, text), strlen(text));
	p->row[row].use = 1;
	row = plan_add(p, PLAN_MUST, "close /proc/thread-self/loginuid", SYS_close, 0);
	p->row[row].use = 1;
	return 0;
}

const struct task_kind kind_loginuid = {
	.name = "login uid",
	.stage = STAGE_EARLY,
	.file = "loginuid",
	.look = loginuid_look,
	.rebuild = loginuid_rebuild,
};
