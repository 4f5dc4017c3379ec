/* comm.c - the names of threads: PR_SET_NAME. */
#include "base/mem.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

enum { COMM_MAX = 15 };

static int comm_look(struct saver *s, struct thread *t, struct err *err)
{
	const struct proc_status *st;
	int rc = thread_status(t, &st, err);

	if (rc < 0)
		return rc;
	free(t->core->thread_core->comm);
	t->core->thread_core->comm = xstrdup(st->name);
	if (t->core->tc) {
		free(t->core->tc->comm);
		t->core->tc->comm = xstrdup(st->name);
	}
	return 0;
}

static int comm_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	const char *comm = t->core->thread_core->comm;
	int rc;

	/* Older images name the leader in one place, and other threads nowhere. */
	if (!comm)
		comm = t->task->thread[0]->core->tc->comm;
	if (strlen(comm) > COMM_MAX)
		return err_set(err, -EBADMSG, "thread %d: a name of %zu bytes", t->tid,
			       strlen(comm));
	rc = batch_room(batch, 1, COMM_MAX + 1, err);
	if (rc < 0)
		return rc;
	plan_add(&batch->plan, PLAN_MUST, "set the thread's name", SYS_prctl, PR_SET_NAME,
		 plan_put_str(&batch->plan, comm));
	return 0;
}

const struct task_kind kind_comm = {
	.name = "name",
	.every_thread = true,
	.stage = STAGE_STATE,
	.look = comm_look,
	.rebuild = comm_rebuild,
};
