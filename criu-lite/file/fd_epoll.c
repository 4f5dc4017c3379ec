/*
 * fd_epoll.c - epoll(7): what is watched, for which events.
 *
 * A target is a description *and* the number that it had when it was added. An
 * image has the number only, so it must lead there: in the table of the first
 * task (in the order of the tree) that has the instance and has something under
 * that number. Where it does not any more, another number that does is taken.
 * Restoring adds the target in that task.
 */
#include "base/mem.h"
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/state.h"
#include "criu-lite/proc/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not events but how to report them: all that is left of a one-shot target that has fired. */
#define HOW ((uint32_t)(EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE))

enum { SWALLOW_AT_ONCE = 128 };

/* A target: where does its number lead? */
enum target_state { UNSEEN, LEADS_THERE, LEADS_ELSEWHERE };

/* An instance being saved; its targets are those of the entry, in the kernel's order. */
struct epoll_seen {
	EventpollFileEntry *e;
	const struct task *task; /* the first in the tree that has it */
	int fd;
	struct target {
		uint32_t tfd; /* as the kernel knows it */
		enum target_state state;
	} * target;
};

struct epolls_save {
	struct epoll_seen *epoll; /* ascending ids */
	size_t n, cap;
};

static bool epoll_match(const struct fd_look *l)
{
	struct proc_link link;

	proc_link_parse(l->link, &link);
	return proc_link_is_anon(&link, "eventpoll");
}

static EventpollTfdEntry *target_entry(const struct proc_epoll_item *item)
{
	EventpollTfdEntry *t = xmalloc(sizeof(*t));

	eventpoll_tfd_entry__init(t);
	t->tfd = item->tfd;
	t->events = item->events;
	t->data = item->data;
	t->has_dev = t->has_inode = t->has_pos = true;
	t->dev = item->sdev;
	t->inode = item->ino;
	t->pos = item->pos;
	return t;
}

static int epoll_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
{
	struct epoll_seen seen = { .e = e->epfd, .task = l->task, .fd = l->fd };
	struct epolls_save *all = s->state->epolls;

	if (!all)
		s->state->epolls = all = xcalloc(1, sizeof(*all));
	e->epfd->tfd = xcalloc(l->info->n_epoll, sizeof(*e->epfd->tfd));
	seen.target = xcalloc(l->info->n_epoll, sizeof(*seen.target));
	for (size_t i = 0; i < l->info->n_epoll; i++) {
		e->epfd->tfd[e->epfd->n_tfd++] = target_entry(&l->info->epoll[i]);
		seen.target[i].tfd = l->info->epoll[i].tfd;
	}
	ARRAY_PUSH(all->epoll, all->n, all->cap, seen);
	return 0;
}

/* --- is the number still the way to the target? ------------------------------------------- */

static struct epoll_seen *find(struct epolls_save *all, uint32_t id)
{
	for (size_t lo = 0, hi = all->n; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (all->epoll[mid].e->id == id)
			return &all->epoll[mid];
		if (all->epoll[mid].e->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* How many targets before @i were added under the same number. */
static uint32_t earlier_namesakes(const struct epoll_seen *seen, size_t i)
{
	uint32_t n = 0;

	for (size_t k = 0; k < i; k++)
		n += seen->target[k].tfd == seen->target[i].tfd;
	return n;
}

/* Is target @i of the instance at @epfd what @task has under the number @fd? 1, 0, or an error. */
static int is_target(const struct epoll_seen *seen, size_t i, const struct task *task, int epfd,
		     uint32_t fd, struct err *err)
{
	struct kcmp_epoll_slot slot = { .efd = epfd,
					.tfd = seen->target[i].tfd,
					.toff = earlier_namesakes(seen, i) };
	long rc = syscall(SYS_kcmp, task->pid, task->pid, KCMP_EPOLL_TFD, fd, &slot);

	if (rc < 0)
		return err_errno(err, "task %d: fd %d: target of an epoll (kcmp)", task->pid, epfd);
	return rc == 0;
}

static int settle_in(struct epoll_seen *seen, const struct task *task, int epfd, struct err *err)
{
	for (size_t i = 0; i < seen->e->n_tfd; i++) {
		struct target *t = &seen->target[i];
		int rc;

		if (t->state != UNSEEN || !file_table_row(task, t->tfd))
			continue;
		rc = is_target(seen, i, task, epfd, t->tfd, err);
		if (rc < 0)
			return rc;
		t->state = rc ? LEADS_THERE : LEADS_ELSEWHERE;
	}
	return 0;
}

/* Something else keeps the target open: that number will do as well. */
static int find_other_number(struct epoll_seen *seen, size_t i, struct err *err)
{
	const struct task *task = seen->task;

	for (size_t k = 0; k < task->n_fdinfo; k++) {
		int rc = is_target(seen, i, task, seen->fd, task->fdinfo[k]->fd, err);

		if (rc < 0)
			return rc;
		if (!rc)
			continue;
		seen->e->tfd[i]->tfd = task->fdinfo[k]->fd;
		seen->target[i].state = LEADS_THERE;
		return 0;
	}
	return 0;
}

/* A number that is there but in no table of ours was refused, and that has been said. */
static bool was_refused(const struct task *task, uint32_t fd)
{
	char name[32];

	snprintf(name, sizeof(name), "fd/%u", fd);
	return !file_table_row(task, fd) &&
	       faccessat(proc_dirfd(task->proc), name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int settle_rest(struct file_save *s, struct epoll_seen *seen, struct err *err)
{
	for (size_t i = 0; i < seen->e->n_tfd; i++) {
		struct target *t = &seen->target[i];
		int rc = 0;

		if (t->state != LEADS_THERE)
			rc = find_other_number(seen, i, err);
		if (rc < 0)
			return rc;
		if (t->state != LEADS_THERE && !was_refused(seen->task, t->tfd))
			refuse(s->refusals,
			       "task %d: fd %d: epoll that watches a file that was descriptor %u and is none of the task any more is not supported",
			       seen->task->pid, seen->fd, t->tfd);
	}
	return 0;
}

static int epoll_settle(struct file_save *s, struct err *err)
{
	struct epolls_save *all = s->state->epolls;
	struct task *task;
	int rc = 0;

	if (!all)
		return 0;
	for_each_live_task (task, s->tree)
		for (size_t i = 0; !rc && i < task->n_fdinfo; i++)
			if (task->fdinfo[i]->type == FD_TYPES__EVENTPOLL)
				rc = settle_in(find(all, task->fdinfo[i]->id), task,
					       task->fdinfo[i]->fd, err);
	for (size_t i = 0; !rc && i < all->n; i++)
		rc = settle_rest(s, &all->epoll[i], err);
	return rc;
}

static void epoll_save_release(struct file_save *s)
{
	struct epolls_save *all = s->state->epolls;

	for (size_t i = 0; all && i < all->n; i++)
		free(all->epoll[i].target);
	if (all)
		free(all->epoll);
	free(all);
	s->state->epolls = NULL;
}

/* --- rebuilding -------------------------------------------------------------------------------- */

static int epoll_build(struct file_build *b, const FileEntry *e, int *fd, struct err *err)
{
	*fd = epoll_create1(EPOLL_CLOEXEC);
	if (*fd < 0)
		return err_errno(err, "epoll_create1");
	if (fcntl(*fd, F_SETFL, e->epfd->flags & ~(uint32_t)O_ASYNC) == 0)
		return 0;
	close(*fd);
	*fd = -1;
	return err_errno(err, "epoll: F_SETFL");
}

static bool has_file(const struct task *task, uint32_t id)
{
	for (size_t i = 0; i < task->n_fdinfo; i++)
		if (task->fdinfo[i]->id == id)
			return true;
	return false;
}

/* The task whose table has the target, by the rule on top. */
static const struct task *owner_of(const struct file_build *b, uint32_t id, uint32_t tfd)
{
	const struct task *first = file_slot(b, id)->first;
	struct task *task;

	if (first && file_table_row(first, tfd))
		return first;
	for_each_live_task (task, b->tree)
		if (file_table_row(task, tfd) && has_file(task, id))
			return task;
	return NULL;
}

static bool has_fired(const EventpollTfdEntry *t)
{
	return t->events & EPOLLONESHOT && !(t->events & ~HOW);
}

static int add_target(const EventpollTfdEntry *t, int epfd, struct batch *batch, struct err *err)
{
	struct epoll_event ev = { .events = t->events, .data.u64 = t->data };
	int rc = batch_room(batch, 1, sizeof(ev), err);

	if (rc < 0)
		return rc;
	plan_add(&batch->plan, PLAN_MUST, "epoll_ctl", SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, t->tfd,
		 plan_put(&batch->plan, &ev, sizeof(ev)));
	return 0;
}

/* Add the targets of this task that have fired (or those that have not); counts them in *@n. */
static int add_targets(struct file_build *b, const EventpollFileEntry *e, int epfd, bool fired,
		       struct batch *batch, size_t *n, struct err *err)
{
	*n = 0;
	for (size_t i = 0; i < e->n_tfd; i++) {
		const struct task *owner;
		int rc;

		if (has_fired(e->tfd[i]) != fired)
			continue;
		owner = owner_of(b, e->id, e->tfd[i]->tfd);
		if (!owner)
			return err_set(err, -EBADMSG,
				       "epoll watches descriptor %u, which no task has",
				       e->tfd[i]->tfd);
		if (owner != batch->thread->task)
			continue;
		rc = add_target(e->tfd[i], epfd, batch, err);
		if (rc < 0)
			return rc;
		++*n;
	}
	return 0;
}

/*
 * A one-shot target that has fired has no events any more, not even errors and
 * hang-ups, which the kernel adds for every new target. If there is one already
 * it is taken out here, and the target is as it was. (A later one is seen.)
 */
static int swallow(int epfd, size_t n, struct batch *batch, struct err *err)
{
	for (size_t done = 0; done < n; done += SWALLOW_AT_ONCE) {
		int rc = batch_room(batch, 1, SWALLOW_AT_ONCE * sizeof(struct epoll_event), err);
		uint64_t at;

		if (rc < 0)
			return rc;
		at = plan_put(&batch->plan, NULL, SWALLOW_AT_ONCE * sizeof(struct epoll_event));
		plan_add(&batch->plan, PLAN_MUST, "epoll_wait", SYS_epoll_pwait, epfd, at,
			 SWALLOW_AT_ONCE, 0, 0, 8);
	}
	return 0;
}

/*
 * Edge-triggered targets that are ready are reported once more: nothing in an
 * image tells which edges had been seen, and one too many does no harm.
 */
static int epoll_attach(struct file_build *b, const FileEntry *e, int fd, struct batch *batch,
			struct err *err)
{
	size_t fired, armed;
	int rc = add_targets(b, e->epfd, fd, true, batch, &fired, err);

	/* Only while nothing else is in it: armed targets of other tasks would lose an event. */
	if (!rc && file_slot(b, e->id)->first == batch->thread->task)
		rc = swallow(fd, fired, batch, err);
	if (!rc)
		rc = add_targets(b, e->epfd, fd, false, batch, &armed, err);
	return rc;
}

const struct file_kind fd_epoll = {
	.name = "epoll",
	.type = FD_TYPES__EVENTPOLL,
	.match = epoll_match,
	.save = epoll_save,
	.settle = epoll_settle,
	.build = epoll_build,
	.attach = epoll_attach,
	.save_release = epoll_save_release,
};
