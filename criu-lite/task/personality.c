/* personality.c - the execution domain and its compatibility bits, personality(2), of each thread. */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

/* The argument that asks and changes nothing. */
#define ASK_ONLY 0xffffffffu

static uint64_t personality_ask(struct thread *t, struct plan *p)
{
	return plan_add(p, PLAN_MUST, "ask for the personality", SYS_personality, ASK_ONLY);
}

static int personality_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
			    struct err *err)
{
	uint32_t value = (uint32_t)plan_ret(p, asked);

	t->extra->has_personality = true;
	t->extra->personality = value;
	if (t->core->tc)
		t->core->tc->personality = value;
	return 0;
}

static int personality_rebuild(struct builder *b, struct thread *t, struct batch *batch,
			       struct err *err)
{
	const TaskCoreEntry *tc = t->task->thread[0]->core->tc;
	uint32_t value = tc->personality;
	int rc = batch_room(batch, 1, 0, err);

	if (rc < 0)
		return rc;
	if (t->extra && t->extra->has_personality)
		value = t->extra->personality;
	/* Late: one of its bits makes every readable mapping executable when it is made. */
	plan_add(&batch->plan, PLAN_MUST, "set the personality", SYS_personality, value);
	return 0;
}

const struct task_kind kind_personality = {
	.name = "personality",
	.every_thread = true,
	.stage = STAGE_LAST,
	.ask = personality_ask,
	.save = personality_save,
	.rebuild = personality_rebuild,
};
