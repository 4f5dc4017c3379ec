/*
 * seccomp.c - strict mode and filters of threads, seccomp(2).
 *
 * Image order: a thread names its oldest filter, whose prev leads to the next
 * newer one; in the pool the newest of a chain stands first. When all threads of
 * a task have the same filters, the leader alone carries them, marked to be
 * put on every thread (TSYNC).
 *
 * While saving and restoring, filters are suspended (PTRACE_O_SUSPEND_SECCOMP),
 * strict mode too, so installing them early keeps us from nothing.
 */
#include "criu-lite/task/seccomp.h"
#include "base/mem.h"
#include "criu-lite/remote/seccomp.h"
#include "criu-lite/task/bulk.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/row.h"
#include "images/img.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>

#define NO_FILTER UINT32_MAX

/* The filters of one thread. */
struct chain {
	pid_t tid;
	struct seccomp_filters filters; /* oldest first */
	uint32_t oldest;		/* in the pool, once it is there; else NO_FILTER */
	uint32_t sync_oldest;		/* the same with TSYNC */
	bool no_new_privs;
};

struct seccomp_save {
	struct chain *chain;
	size_t n, cap;
	SeccompEntry pool;
	size_t cap_pool;
};

/* --- saving: reading the filters ------------------------------------------------------ */

static struct seccomp_save *save_of(struct saver *s)
{
	if (!s->seccomp) {
		s->seccomp = xcalloc(1, sizeof(*s->seccomp));
		seccomp_entry__init(&s->seccomp->pool);
	}
	return s->seccomp;
}

/* A program that can ask another process for its verdict depends on that process. */
static bool notifies(const struct seccomp_filter *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (BPF_CLASS(f->insn[i].code) == BPF_RET && BPF_RVAL(f->insn[i].code) == BPF_K &&
		    (f->insn[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			return true;
	return false;
}

static int read_chain(struct saver *s, struct thread *t, bool no_new_privs, struct err *err)
{
	struct chain c = { .tid = t->tid,
			   .oldest = NO_FILTER,
			   .sync_oldest = NO_FILTER,
			   .no_new_privs = no_new_privs };
	struct seccomp_save *save = save_of(s);
	char name[LOOK_NAME];
	int rc = seccomp_read(t->tid, &c.filters, err);

	if (rc < 0)
		return rc;
	if (!c.filters.n)
		return err_set(err, -EIO, "filter mode without a seccomp filter");
	for (size_t i = 0; i < c.filters.n; i++)
		if (notifies(&c.filters.filter[i])) {
			refuse(s->refusals,
			       "%s: a seccomp filter that notifies another process is not supported",
			       look_name(t, name));
			break;
		}
	ARRAY_PUSH(save->chain, save->n, save->cap, c);
	return 0;
}

static int seccomp_look(struct saver *s, struct thread *t, struct err *err)
{
	ThreadCoreEntry *th = t->core->thread_core;
	const struct proc_status *st;
	int rc = thread_status(t, &st, err);

	if (rc < 0)
		return rc;
	if (st->seccomp > SECCOMP_MODE_FILTER)
		return err_set(err, -EIO, "seccomp mode %u", st->seccomp);
	th->has_seccomp_mode = true;
	th->seccomp_mode = (SeccompMode)st->seccomp;
	if (st->seccomp != SECCOMP_MODE_FILTER)
		return 0;
	return read_chain(s, t, st->no_new_privs, err);
}

/* --- saving: the pool ------------------------------------------------------------------ */

static struct chain *chain_of(const struct seccomp_save *save, pid_t tid)
{
	for (size_t i = 0; save && i < save->n; i++)
		if (save->chain[i].tid == tid)
			return &save->chain[i];
	return NULL;
}

static size_t filter_len(const struct seccomp_filter *f)
{
	return f->n * sizeof(*f->insn);
}

static bool chains_equal(const struct chain *a, const struct chain *b)
{
	if (a->filters.n != b->filters.n)
		return false;
	for (size_t i = 0; i < a->filters.n; i++) {
		const struct seccomp_filter *f = &a->filters.filter[i], *g = &b->filters.filter[i];

		if (f->flags != g->flags || f->n != g->n || memcmp(f->insn, g->insn, filter_len(f)))
			return false;
	}
	return true;
}

static SeccompFilter *pool_filter(const struct seccomp_filter *from, uint32_t flags)
{
	SeccompFilter *f = xmalloc(sizeof(*f));

	seccomp_filter__init(f);
	f->filter.len = filter_len(from);
	f->filter.data = xmemdup(from->insn, f->filter.len);
	f->flags = (uint32_t)from->flags | flags;
	f->has_flags = f->flags != 0;
	return f;
}

/* Append a chain, newest first, and return the index of its oldest filter. */
static uint32_t pool_append(struct seccomp_save *save, const struct chain *c, uint32_t flags)
{
	SeccompEntry *pool = &save->pool;

	for (size_t i = c->filters.n; i-- > 0;) {
		SeccompFilter *f = pool_filter(&c->filters.filter[i], flags);

		if (i + 1 < c->filters.n) {
			f->has_prev = true;
			f->prev = (uint32_t)pool->n_seccomp_filters - 1;
		}
		ARRAY_PUSH(pool->seccomp_filters, pool->n_seccomp_filters, save->cap_pool, f);
	}
	return (uint32_t)pool->n_seccomp_filters - 1;
}

static uint32_t *pool_place(struct chain *c, bool sync)
{
	return sync ? &c->sync_oldest : &c->oldest;
}

/* Equal chains of many threads and tasks stand in the pool once. */
static uint32_t pool_index(struct seccomp_save *save, struct chain *c, bool sync)
{
	for (size_t i = 0; i < save->n && *pool_place(c, sync) == NO_FILTER; i++) {
		struct chain *other = &save->chain[i];

		if (*pool_place(other, sync) != NO_FILTER && chains_equal(c, other))
			*pool_place(c, sync) = *pool_place(other, sync);
	}
	if (*pool_place(c, sync) == NO_FILTER)
		*pool_place(c, sync) = pool_append(save, c, sync ? SECCOMP_FILTER_FLAG_TSYNC : 0);
	return *pool_place(c, sync);
}

static bool whole_task_alike(const struct seccomp_save *save, const struct task *task)
{
	const struct chain *lead = chain_of(save, task->pid);
	struct thread *t;

	if (!lead || task->n_threads < 2)
		return false;
	for_each_thread (t, task) {
		const struct chain *c = chain_of(save, t->tid);

		if (!c || c->no_new_privs != lead->no_new_privs || !chains_equal(c, lead))
			return false;
	}
	return true;
}

/* All chains are read by now; the leader's turn fills the entries of the whole task. */
static int seccomp_save(struct saver *s, struct thread *leader, struct plan *p, uint64_t asked,
			struct err *err)
{
	struct thread *t;
	bool sync;

	if (!leader->core->tc)
		return 0;
	sync = whole_task_alike(s->seccomp, leader->task);
	for_each_thread (t, leader->task) {
		ThreadCoreEntry *th = t->core->thread_core;
		struct chain *c = chain_of(s->seccomp, t->tid);

		if (!c)
			continue;
		if (sync && t != leader) {
			th->seccomp_mode = SECCOMP_MODE__disabled;
			continue;
		}
		th->has_seccomp_filter = true;
		th->seccomp_filter = pool_index(s->seccomp, c, sync);
	}
	return 0;
}

const SeccompEntry *seccomp_pool(const struct saver *s)
{
	return s->seccomp && s->seccomp->pool.n_seccomp_filters ? &s->seccomp->pool : NULL;
}

int seccomp_write(struct saver *s, struct err *err)
{
	const SeccompEntry *pool = seccomp_pool(s);

	return pool ? img_write_one(pool, err, s->dirfd, "seccomp.img") : 0;
}

void seccomp_save_release(struct saver *s)
{
	struct seccomp_save *save = s->seccomp;

	if (!save)
		return;
	for (size_t i = 0; i < save->n; i++)
		seccomp_release(&save->chain[i].filters);
	free(save->chain);
	for (size_t i = 0; i < save->pool.n_seccomp_filters; i++)
		seccomp_filter__free_unpacked(save->pool.seccomp_filters[i], NULL);
	free(save->pool.seccomp_filters);
	free(save);
	s->seccomp = NULL;
}

/* --- rebuilding ------------------------------------------------------------------------- */

static int add_filter(struct batch *batch, const SeccompFilter *f, struct err *err)
{
	size_t n = f->filter.len / sizeof(struct sock_filter);
	struct {
		uint16_t len;
		uint64_t prog;
	} fprog = { .len = (uint16_t)n };
	uint32_t flags = f->has_flags ? f->flags : 0;
	struct bulk prog;
	int rc;

	if (f->filter.len % sizeof(struct sock_filter) || n == 0 || n > BPF_MAXINSNS)
		return err_set(err, -EBADMSG, "a seccomp filter of %zu bytes", f->filter.len);
	if (flags & ~(uint32_t)(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG |
				SECCOMP_FILTER_FLAG_SPEC_ALLOW))
		return err_set(err, ERR_REFUSED, "seccomp filter flags %#x are not supported",
			       flags);
	rc = batch_room(batch, 3, f->filter.len <= 4096 ? f->filter.len + 64 : 64, err);
	if (!rc)
		rc = bulk_put(&prog, batch, 3, f->filter.data, f->filter.len, err);
	if (rc < 0)
		return rc;
	fprog.prog = prog.addr;
	/* With TSYNC a positive result is the thread that could not follow. */
	plan_add(&batch->plan, PLAN_IS, "install a seccomp filter", SYS_seccomp,
		 SECCOMP_SET_MODE_FILTER, flags, plan_put(&batch->plan, &fprog, sizeof(fprog)));
	return bulk_drop(&prog, batch, err);
}

/* Follow prev from the oldest; bounded by the size of the pool, should it lead in a circle. */
static int add_filters(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	size_t n = b->seccomp ? b->seccomp->n_seccomp_filters : 0;
	uint32_t at = t->core->thread_core->seccomp_filter;

	for (size_t steps = 0; steps < n; steps++) {
		const SeccompFilter *f;
		int rc;

		if (at >= n)
			break;
		f = b->seccomp->seccomp_filters[at];
		rc = add_filter(batch, f, err);
		if (rc < 0)
			return rc;
		if (!f->has_prev)
			return 0;
		at = f->prev;
	}
	return err_set(err, -EBADMSG, "thread %d: seccomp filter %u of %zu", t->tid, at, n);
}

static int seccomp_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			   struct err *err)
{
	const ThreadCoreEntry *th = t->core->thread_core;
	int rc;

	if (!th->has_seccomp_mode || th->seccomp_mode == SECCOMP_MODE__disabled)
		return 0;
	rc = batch_room(batch, 1, 0, err);
	if (rc < 0)
		return rc;
	if (th->seccomp_mode == SECCOMP_MODE__strict) {
		plan_add(&batch->plan, PLAN_MUST, "enter strict mode", SYS_prctl, PR_SET_SECCOMP,
			 SECCOMP_MODE_STRICT);
		return 0;
	}
	/* Without CAP_SYS_ADMIN the kernel takes filters only after this. */
	if (th->creds && th->creds->has_no_new_privs && th->creds->no_new_privs)
		plan_add(&batch->plan, PLAN_MUST, "set no_new_privs", SYS_prctl,
			 PR_SET_NO_NEW_PRIVS, 1);
	return add_filters(b, t, batch, err);
}

const struct task_kind kind_seccomp = {
	.name = "seccomp",
	.every_thread = true,
	.stage = STAGE_SECCOMP,
	.look = seccomp_look,
	.save = seccomp_save,
	.rebuild = seccomp_rebuild,
};
