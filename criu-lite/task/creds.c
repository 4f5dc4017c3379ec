/*
 * creds.c - who a thread is and what it may do: ids, groups, capability sets,
 * securebits, no_new_privs. See credentials(7), capabilities(7).
 *
 * A newborn has our own credentials. Only what differs is set, so that a user
 * without privileges can restore what is his; the order keeps every capability
 * until the last row that needs one:
 *
 *	SECBIT_NO_SETUID_FIXUP   or the change of ids takes them all
 *	groups, gids, uids
 *	inheritable set          while the bounding set still allows it
 *	ambient set              while securebits still allow it
 *	securebits, bounding set (CAP_SETPCAP)
 *	permitted and effective set, no_new_privs
 */
#include "base/mem.h"
#include "criu-lite/task/bulk.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

enum { MAX_GROUPS = 65536, CAP_WORDS = 2, CAPS = 64 };

/* --- saving ---------------------------------------------------------------------- */

static void words_save(uint64_t set, uint32_t **words, size_t *n)
{
	free(*words);
	*words = xcalloc(CAP_WORDS, sizeof(**words));
	(*words)[0] = (uint32_t)set;
	(*words)[1] = (uint32_t)(set >> 32);
	*n = CAP_WORDS;
}

static void status_save(const struct proc_status *st, CredsEntry *e)
{
	e->uid = st->uid[0];
	e->euid = st->uid[1];
	e->suid = st->uid[2];
	e->fsuid = st->uid[3];
	e->gid = st->gid[0];
	e->egid = st->gid[1];
	e->sgid = st->gid[2];
	e->fsgid = st->gid[3];
	e->n_groups = st->n_groups;
	if (st->n_groups)
		e->groups = xmemdup(st->groups, st->n_groups * sizeof(*st->groups));
	words_save(st->cap_inh, &e->cap_inh, &e->n_cap_inh);
	words_save(st->cap_prm, &e->cap_prm, &e->n_cap_prm);
	words_save(st->cap_eff, &e->cap_eff, &e->n_cap_eff);
	words_save(st->cap_bnd, &e->cap_bnd, &e->n_cap_bnd);
	words_save(st->cap_amb, &e->cap_amb, &e->n_cap_amb);
	e->has_no_new_privs = st->no_new_privs;
	e->no_new_privs = st->no_new_privs;
}

/* A label would have to be put on from inside; it comes back by itself when it is ours. */
static int label_look(struct saver *s, struct thread *t, struct err *err)
{
	const struct look_self *self;
	scoped char *label = NULL;
	struct proc_dir *dir;
	char name[LOOK_NAME];
	int rc = look_self(s, &self, err);

	if (rc < 0)
		return rc;
	if (!self->label)
		return 0;
	rc = look_dir(s, t, &dir, err);
	if (!rc)
		rc = look_label(dir, &label, err);
	if (rc < 0)
		return rc;
	if (!label || strcmp(label, self->label))
		refuse(s->refusals,
		       "%s: the security label \"%s\", which differs from ours, is not"
		       " supported; run the dump under the same label",
		       look_name(t, name), label ?: "");
	return 0;
}

static int creds_look(struct saver *s, struct thread *t, struct err *err)
{
	const struct proc_status *st;
	int rc = thread_status(t, &st, err);

	if (rc < 0)
		return rc;
	status_save(st, t->core->thread_core->creds);
	return label_look(s, t, err);
}

static uint64_t creds_ask(struct thread *t, struct plan *p)
{
	return plan_add(p, PLAN_MUST, "ask for securebits", SYS_prctl, PR_GET_SECUREBITS);
}

static int creds_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		      struct err *err)
{
	t->core->thread_core->creds->secbits = (uint32_t)plan_ret(p, asked);
	return 0;
}

/* --- rebuilding ------------------------------------------------------------------- */

struct cap_sets {
	uint64_t inh, prm, eff, bnd, amb;
};

/* From what the newborn has to what the thread had. */
struct change {
	struct thread *t;
	struct batch *batch;
	const CredsEntry *want;
	const struct proc_status *own;
	struct cap_sets have, need;
	uint32_t secbits; /* as they are by now */
};

static uint64_t words_load(const uint32_t *words, size_t n)
{
	return (n > 0 ? words[0] : 0) | (n > 1 ? (uint64_t)words[1] << 32 : 0);
}

static void sets_load(struct change *c)
{
	const CredsEntry *e = c->want;

	c->have = (struct cap_sets) { c->own->cap_inh, c->own->cap_prm, c->own->cap_eff,
				      c->own->cap_bnd, c->own->cap_amb };
	c->need = (struct cap_sets) {
		words_load(e->cap_inh, e->n_cap_inh), words_load(e->cap_prm, e->n_cap_prm),
		words_load(e->cap_eff, e->n_cap_eff), words_load(e->cap_bnd, e->n_cap_bnd),
		words_load(e->cap_amb, e->n_cap_amb),
	};
}

/* Nobody can give what he does not have: say which capability it was. */
static int missing_cap(const struct change *c, uint64_t missing, const char *set, struct err *err)
{
	int cap = __builtin_ctzll(missing);
	char *known = cap_to_name(cap);
	scoped char *name = known ? xstrdup(known) : xasprintf("%d", cap);

	cap_free(known);
	return err_set(err, ERR_REFUSED,
		       "thread %d: capability %s in its %s set, which this program does not have;"
		       " restore with it, or dump a tree that runs without it",
		       c->t->tid, name, set);
}

static int check_sets(const struct change *c, struct err *err)
{
	const struct cap_sets *h = &c->have, *n = &c->need;

	if (n->prm & ~h->prm)
		return missing_cap(c, n->prm & ~h->prm, "permitted", err);
	if (n->eff & ~n->prm)
		return err_set(err, -EBADMSG, "thread %d: effective capabilities not permitted",
			       c->t->tid);
	if (n->bnd & ~h->bnd)
		return missing_cap(c, n->bnd & ~h->bnd, "bounding", err);
	if (n->inh & ~(h->inh | h->bnd))
		return missing_cap(c, n->inh & ~(h->inh | h->bnd), "inheritable", err);
	if (n->amb & ~(n->prm & n->inh))
		return err_set(err, -EBADMSG, "thread %d: ambient capabilities not inheritable",
			       c->t->tid);
	return 0;
}

/* To the calls, -1 means "as it is". */
static int check_ids(const struct change *c, struct err *err)
{
	const CredsEntry *e = c->want;
	const uint32_t id[] = { e->uid, e->euid, e->suid, e->fsuid,
				e->gid, e->egid, e->sgid, e->fsgid };

	for (size_t i = 0; i < ARRAY_SIZE(id); i++)
		if (id[i] == UINT32_MAX)
			return err_set(err, -EBADMSG, "thread %d: an id of -1", c->t->tid);
	return 0;
}

static int add_prctl(struct change *c, const char *what, uint64_t option, uint64_t a, uint64_t b,
		     struct err *err)
{
	int rc = batch_room(c->batch, 1, 0, err);

	if (!rc)
		plan_add(&c->batch->plan, PLAN_MUST, what, SYS_prctl, option, a, b);
	return rc;
}

static int add_secbits(struct change *c, uint32_t bits, struct err *err)
{
	if (c->secbits == bits)
		return 0;
	c->secbits = bits;
	return add_prctl(c, "set securebits", PR_SET_SECUREBITS, bits, 0, err);
}

static int add_groups(struct change *c, struct err *err)
{
	const CredsEntry *e = c->want;
	struct bulk list;
	int rc;

	if (e->n_groups == c->own->n_groups &&
	    (!e->n_groups || !memcmp(e->groups, c->own->groups, e->n_groups * sizeof(*e->groups))))
		return 0;
	if (e->n_groups > MAX_GROUPS)
		return err_set(err, -EBADMSG, "thread %d: %zu groups", c->t->tid, e->n_groups);
	rc = bulk_put(&list, c->batch, 1, e->groups, e->n_groups * sizeof(*e->groups), err);
	if (rc < 0)
		return rc;
	plan_add(&c->batch->plan, PLAN_MUST, "set groups", SYS_setgroups, e->n_groups, list.addr);
	return bulk_drop(&list, c->batch, err);
}

/* setfsuid(2) and setfsgid(2) tell nothing but what it was: asked once more, the answer is known. */
static void add_fsid(struct change *c, const char *what, uint64_t nr, uint32_t id)
{
	struct plan *p = &c->batch->plan;
	size_t row;

	plan_add(p, PLAN_MAY, what, nr, id);
	row = plan_add(p, PLAN_IS, what, nr, (uint64_t)-1);
	p->note[row].expect = id;
}

static int add_ids(struct change *c, struct err *err)
{
	const CredsEntry *e = c->want;
	const uint32_t gid[4] = { e->gid, e->egid, e->sgid, e->fsgid };
	const uint32_t uid[4] = { e->uid, e->euid, e->suid, e->fsuid };
	struct plan *p = &c->batch->plan;
	int rc = batch_room(c->batch, 6, 0, err);

	if (rc < 0)
		return rc;
	if (memcmp(gid, c->own->gid, sizeof(gid))) {
		plan_add(p, PLAN_MUST, "set group ids", SYS_setresgid, e->gid, e->egid, e->sgid);
		if (e->fsgid != e->egid)
			add_fsid(c, "set the file system group id", SYS_setfsgid, e->fsgid);
	}
	if (memcmp(uid, c->own->uid, sizeof(uid))) {
		plan_add(p, PLAN_MUST, "set user ids", SYS_setresuid, e->uid, e->euid, e->suid);
		if (e->fsuid != e->euid)
			add_fsid(c, "set the file system user id", SYS_setfsuid, e->fsuid);
	}
	return 0;
}

static int add_capset(struct change *c, uint64_t eff, uint64_t prm, uint64_t inh, struct err *err)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[CAP_WORDS] = {
		{ (uint32_t)eff, (uint32_t)prm, (uint32_t)inh },
		{ (uint32_t)(eff >> 32), (uint32_t)(prm >> 32), (uint32_t)(inh >> 32) },
	};
	struct plan *p = &c->batch->plan;
	int rc = batch_room(c->batch, 1, sizeof(head) + sizeof(data) + 2 * 16, err);
	uint64_t at;

	if (rc < 0)
		return rc;
	at = plan_put(p, &head, sizeof(head));
	plan_add(p, PLAN_MUST, "set capabilities", SYS_capset, at, plan_put(p, data, sizeof(data)));
	return 0;
}

static int add_ambient(struct change *c, struct err *err)
{
	int rc = 0;

	if (c->have.amb == c->need.amb)
		return 0;
	if (c->have.amb & ~c->need.amb)
		rc = add_prctl(c, "clear ambient capabilities", PR_CAP_AMBIENT,
			       PR_CAP_AMBIENT_CLEAR_ALL, 0, err);
	for (uint64_t cap = 0; !rc && cap < CAPS; cap++)
		if (c->need.amb >> cap & 1)
			rc = add_prctl(c, "raise an ambient capability", PR_CAP_AMBIENT,
				       PR_CAP_AMBIENT_RAISE, cap, err);
	return rc;
}

static int add_bounding(struct change *c, struct err *err)
{
	uint64_t drop = c->have.bnd & ~c->need.bnd;
	int rc = 0;

	for (uint64_t cap = 0; !rc && cap < CAPS; cap++)
		if (drop >> cap & 1)
			rc = add_prctl(c, "drop from the bounding set", PR_CAPBSET_DROP, cap, 0,
				       err);
	return rc;
}

static int add_caps(struct change *c, struct err *err)
{
	const struct cap_sets *h = &c->have, *n = &c->need;
	int rc = 0;

	if (h->inh != n->inh)
		rc = add_capset(c, h->eff, h->prm, n->inh, err);
	if (!rc)
		rc = add_ambient(c, err);
	if (!rc)
		rc = add_secbits(c, c->want->secbits, err);
	if (!rc)
		rc = add_bounding(c, err);
	if (!rc && (h->prm != n->prm || h->eff != n->eff))
		rc = add_capset(c, n->eff, n->prm, n->inh, err);
	return rc;
}

static bool uids_differ(const struct change *c)
{
	const CredsEntry *e = c->want;
	const uint32_t uid[4] = { e->uid, e->euid, e->suid, e->fsuid };

	return memcmp(uid, c->own->uid, sizeof(uid));
}

static int change_add(struct change *c, struct err *err)
{
	int rc = check_ids(c, err);

	if (!rc)
		rc = check_sets(c, err);
	if (!rc && uids_differ(c))
		rc = add_secbits(c, c->secbits | SECBIT_NO_SETUID_FIXUP, err);
	if (!rc)
		rc = add_groups(c, err);
	if (!rc)
		rc = add_ids(c, err);
	if (!rc)
		rc = add_caps(c, err);
	if (!rc && c->want->has_no_new_privs && c->want->no_new_privs)
		rc = add_prctl(c, "set no_new_privs", PR_SET_NO_NEW_PRIVS, 1, 0, err);
	return rc;
}

/* Newborns are what we are. A tree of thousands of threads asks once. */
static int read_own(struct builder *b, const struct proc_status **out, struct err *err)
{
	scoped_proc me = NULL;
	int rc = 0;

	if (!b->self) {
		b->self = xcalloc(1, sizeof(*b->self));
		rc = proc_open(&me, NULL, getpid(), err);
		if (!rc)
			rc = proc_status_read(me, b->self, err);
	}
	*out = b->self;
	return rc;
}

static int creds_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	struct change c = { .t = t, .batch = batch, .want = t->core->thread_core->creds };
	int rc;

	if (!c.want)
		return err_set(err, -EBADMSG, "thread %d: no credentials", t->tid);
	rc = read_own(b, &c.own, err);
	if (rc < 0)
		return rc;
	c.secbits = (uint32_t)prctl(PR_GET_SECUREBITS);
	sets_load(&c);
	return change_add(&c, err);
}

const struct task_kind kind_creds = {
	.name = "credentials",
	.every_thread = true,
	.stage = STAGE_CREDS,
	.look = creds_look,
	.ask = creds_ask,
	.save = creds_save,
	.rebuild = creds_rebuild,
};
