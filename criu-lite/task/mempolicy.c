/*
 * mempolicy.c - on which nodes a thread's memory is taken: set_mempolicy(2).
 *
 * That of single mappings (mbind(2)) is not kept: it decides where pages lie, not
 * what is in them, and to find it takes a walk through all page tables.
 */
#include "base/mem.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>

enum { NODE_BYTES = 1024 / 8, NODE_BITS = NODE_BYTES * 8 }; /* as many as any kernel is built for */

static uint64_t policy_ask(struct thread *t, struct plan *p)
{
	uint64_t mode = plan_put(p, NULL, sizeof(int)), nodes = plan_put(p, NULL, NODE_BYTES);

	return plan_add(p, PLAN_MAY, "ask for the memory policy", SYS_get_mempolicy, mode, nodes,
			NODE_BITS, 0, 0);
}

static size_t bytes_used(const uint8_t *nodes)
{
	size_t n = NODE_BYTES;

	while (n && !nodes[n - 1])
		n--;
	return n;
}

static int policy_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		       struct err *err)
{
	const uint8_t *nodes;

	if (plan_ret(p, asked) < 0) /* a kernel that knows no nodes */
		return 0;
	nodes = row_answer(p, asked, 1);
	t->extra->has_mem_policy = true;
	memcpy(&t->extra->mem_policy, row_answer(p, asked, 0), sizeof(int));
	t->extra->mem_nodes.len = bytes_used(nodes);
	if (!t->extra->mem_nodes.len)
		return 0;
	t->extra->has_mem_nodes = true;
	t->extra->mem_nodes.data = xmemdup(nodes, t->extra->mem_nodes.len);
	return 0;
}

static int policy_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	const SdTaskExtra *x = t->extra;
	uint8_t nodes[NODE_BYTES] = {};
	bool usual;
	int rc;

	if (!x || !x->has_mem_policy)
		return 0;
	if (x->mem_nodes.len > NODE_BYTES)
		return err_set(err, -EBADMSG, "thread %d: %zu bytes of nodes", t->tid,
			       x->mem_nodes.len);
	rc = batch_room(batch, 1, NODE_BYTES + 16, err);
	if (rc < 0)
		return rc;
	if (x->mem_nodes.len)
		memcpy(nodes, x->mem_nodes.data, x->mem_nodes.len);
	usual = x->mem_policy == MPOL_DEFAULT;
	plan_add(&batch->plan, usual ? PLAN_MAY : PLAN_MUST,
		 "set the memory policy (its nodes may not be here)", SYS_set_mempolicy,
		 x->mem_policy, usual ? 0 : plan_put(&batch->plan, nodes, NODE_BYTES),
		 usual ? 0 : NODE_BITS);
	return 0;
}

const struct task_kind kind_mempolicy = {
	.name = "memory policy",
	.every_thread = true,
	.stage = STAGE_STATE,
	.ask = policy_ask,
	.save = policy_save,
	.rebuild = policy_rebuild,
};
