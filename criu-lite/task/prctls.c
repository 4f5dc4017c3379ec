/*
 * prctls.c - marks that are one number each, asked by one call and set by
 * another: timer slack, machine check policy, TSC and CPUID faulting,
 * speculation, huge pages, merging, memory-deny-write-execute.
 *
 * What has no more to it than a getter and a setter is a row here.
 */
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/row.h"

#include <asm/prctl.h>
#include <string.h>
#include <sys/prctl.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65 /* since 6.3 */
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67 /* since 6.4 */
#define PR_GET_MEMORY_MERGE 68
#endif
#ifndef PR_SPEC_L1D_FLUSH
#define PR_SPEC_L1D_FLUSH 2
#endif

/* Where a value is kept in SdTaskExtra. */
struct place {
	size_t has, at, size;
};
#define PLACE(field)                                                                               \
	{                                                                                          \
		offsetof(SdTaskExtra, has_##field), offsetof(SdTaskExtra, field),                  \
			sizeof(((SdTaskExtra *)0)->field)                                          \
	}

enum answer { BY_RESULT, BY_POINTER };

struct mark {
	const char *ask, *set; /* what the rows are for */
	struct place place;
	enum answer answer;
	uint64_t get[2];       /* system call, first argument */
	uint64_t get_arg;      /* second, unless BY_POINTER */
	uint64_t put[3];       /* system call, first argument, second unless the value is */
	int value_arg;	       /* 1 or 2: which argument the value is */
	uint64_t usual;	       /* a value that a newborn has anyway: not insisted on */
	uint64_t needs, strip; /* bits that tell it can be set; bits that cannot */
};

#define SPECULATION(which, usual_, field, name)                                                    \
	{                                                                                          \
		"ask for " name, "set " name, PLACE(field), BY_RESULT,                             \
			{ SYS_prctl, PR_GET_SPECULATION_CTRL }, (which),                           \
			{ SYS_prctl, PR_SET_SPECULATION_CTRL, (which) }, 2, (usual_),              \
			PR_SPEC_PRCTL, PR_SPEC_PRCTL                                               \
	}

/* At most 16: they are rows of every thread. */
static const struct mark thread_marks[] = {
	{ "ask for the timer slack",
	  "set the timer slack",
	  PLACE(timer_slack_ns),
	  BY_RESULT,
	  { SYS_prctl, PR_GET_TIMERSLACK },
	  0,
	  { SYS_prctl, PR_SET_TIMERSLACK },
	  1,
	  0,
	  0,
	  0 },
	{ "ask for the machine check policy",
	  "set the machine check policy",
	  PLACE(mce_kill),
	  BY_RESULT,
	  { SYS_prctl, PR_MCE_KILL_GET },
	  0,
	  { SYS_prctl, PR_MCE_KILL, PR_MCE_KILL_SET },
	  2,
	  PR_MCE_KILL_DEFAULT,
	  0,
	  0 },
	{ "ask whether the TSC is readable",
	  "set whether the TSC is readable",
	  PLACE(tsc_mode),
	  BY_POINTER,
	  { SYS_prctl, PR_GET_TSC },
	  0,
	  { SYS_prctl, PR_SET_TSC },
	  1,
	  PR_TSC_ENABLE,
	  0,
	  0 },
	{ "ask for CPUID faulting",
	  "set CPUID faulting",
	  PLACE(cpuid_faulting),
	  BY_RESULT,
	  { SYS_arch_prctl, ARCH_GET_CPUID },
	  0,
	  { SYS_arch_prctl, ARCH_SET_CPUID },
	  1,
	  1,
	  0,
	  0 },
	SPECULATION(PR_SPEC_STORE_BYPASS, PR_SPEC_PRCTL | PR_SPEC_ENABLE, speculation_store_bypass,
		    "speculative store bypass"),
	SPECULATION(PR_SPEC_INDIRECT_BRANCH, PR_SPEC_PRCTL | PR_SPEC_ENABLE,
		    speculation_indirect_branch, "indirect branch speculation"),
	SPECULATION(PR_SPEC_L1D_FLUSH, PR_SPEC_PRCTL | PR_SPEC_DISABLE, speculation_l1d_flush,
		    "L1D flushing"),
};

static const struct mark early_marks[] = {
	{ "ask for memory merging",
	  "set memory merging",
	  PLACE(memory_merge),
	  BY_RESULT,
	  { SYS_prctl, PR_GET_MEMORY_MERGE },
	  0,
	  { SYS_prctl, PR_SET_MEMORY_MERGE },
	  1,
	  0,
	  0,
	  0 },
};

/* Cannot be taken back, and would be in the way of building memory. */
static const struct mark late_marks[] = {
	{ "ask for memory-deny-write-execute",
	  "set memory-deny-write-execute",
	  PLACE(mdwe),
	  BY_RESULT,
	  { SYS_prctl, PR_GET_MDWE },
	  0,
	  { SYS_prctl, PR_SET_MDWE },
	  1,
	  0,
	  0,
	  0 },
};

static uint64_t marks_ask(struct plan *p, const struct mark *mark, size_t n)
{
	size_t first = p->n;

	for (size_t i = 0; i < n; i++) {
		const struct mark *m = &mark[i];
		uint64_t arg = m->get_arg;

		if (m->answer == BY_POINTER)
			arg = plan_put(p, NULL, sizeof(int));
		plan_add(p, PLAN_MAY, m->ask, m->get[0], m->get[1], arg);
	}
	return first;
}

/* A question that the kernel does not know leaves the field absent. */
static void marks_save(struct thread *t, const struct plan *p, uint64_t first,
		       const struct mark *mark, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct mark *m = &mark[i];
		int64_t ret = plan_ret(p, first + i);
		uint64_t value = (uint64_t)ret;

		if (ret < 0)
			continue;
		if (m->answer == BY_POINTER)
			value = (uint32_t) * (int *)row_answer(p, first + i, 1);
		*(protobuf_c_boolean *)((char *)t->extra + m->place.has) = true;
		memcpy((char *)t->extra + m->place.at, &value, m->place.size);
	}
}

static int marks_rebuild(struct thread *t, struct batch *batch, const struct mark *mark, size_t n,
			 struct err *err)
{
	int rc = batch_room(batch, n, 0, err);

	if (rc < 0 || !t->extra)
		return rc;
	for (size_t i = 0; i < n; i++) {
		const struct mark *m = &mark[i];
		uint64_t value = 0, arg[3] = { m->put[1], m->put[2], 0 };

		if (!*(protobuf_c_boolean *)((char *)t->extra + m->place.has))
			continue;
		memcpy(&value, (char *)t->extra + m->place.at, m->place.size);
		if ((value & m->needs) != m->needs)
			continue;
		arg[m->value_arg] = value & ~m->strip;
		plan_add(&batch->plan, value == m->usual ? PLAN_MAY : PLAN_MUST, m->set, m->put[0],
			 arg[0], arg[1], arg[2]);
	}
	return 0;
}

#define MARKS(list) (list), sizeof(list) / sizeof((list)[0])

static uint64_t thread_ask(struct thread *t, struct plan *p)
{
	return marks_ask(p, MARKS(thread_marks));
}

static int thread_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		       struct err *err)
{
	marks_save(t, p, asked, MARKS(thread_marks));
	return 0;
}

static int thread_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	return marks_rebuild(t, batch, MARKS(thread_marks), err);
}

static uint64_t late_ask(struct thread *t, struct plan *p)
{
	return marks_ask(p, MARKS(late_marks));
}

static int late_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		     struct err *err)
{
	marks_save(t, p, asked, MARKS(late_marks));
	return 0;
}

/* The filling of memory has its own wishes about huge pages, so the setting comes after it. */
static int late_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	const MmEntry *mm = t->task->mm;
	uint32_t thp = mm && mm->has_thp_disabled && mm->thp_disabled;
	int rc = batch_room(batch, 1, 0, err);

	if (rc < 0)
		return rc;
	if (t->extra && t->extra->has_thp_flags)
		thp = t->extra->thp_flags;
	/* The answer's lowest bit is the setting, the others are its flags. */
	plan_add(&batch->plan, thp ? PLAN_MUST : PLAN_MAY, "set the huge page setting", SYS_prctl,
		 PR_SET_THP_DISABLE, thp & 1, thp & ~1u);
	return marks_rebuild(t, batch, MARKS(late_marks), err);
}

/*
 * Huge pages: besides on and off, "off but where advised" (6.18) is a flag that
 * goes into another argument.
 */
static uint64_t early_ask(struct thread *t, struct plan *p)
{
	size_t first = plan_add(p, PLAN_MAY, "ask for the huge page setting", SYS_prctl,
				PR_GET_THP_DISABLE);

	marks_ask(p, MARKS(early_marks));
	return first;
}

static int early_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		      struct err *err)
{
	int64_t thp = plan_ret(p, asked);

	if (thp >= 0) {
		t->extra->has_thp_disabled = t->extra->has_thp_flags = true;
		t->extra->thp_disabled = thp != 0;
		t->extra->thp_flags = (uint32_t)thp;
		if (t->task->mm) {
			t->task->mm->has_thp_disabled = true;
			t->task->mm->thp_disabled = thp != 0;
		}
	}
	marks_save(t, p, asked + 1, MARKS(early_marks));
	return 0;
}

static int early_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	return marks_rebuild(t, batch, MARKS(early_marks), err);
}

const struct task_kind kind_prctl_thread = {
	.name = "marks of threads",
	.every_thread = true,
	.stage = STAGE_STATE,
	.ask = thread_ask,
	.save = thread_save,
	.rebuild = thread_rebuild,
};

const struct task_kind kind_prctl_early = {
	.name = "marks of memory",
	.stage = STAGE_EARLY,
	.ask = early_ask,
	.save = early_save,
	.rebuild = early_rebuild,
};

const struct task_kind kind_prctl_late = {
	.name = "last marks of memory",
	.stage = STAGE_LAST,
	.ask = late_ask,
	.save = late_save,
	.rebuild = late_rebuild,
};
