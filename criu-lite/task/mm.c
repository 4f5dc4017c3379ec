/* mm.c - the kind "mm": where code, data, heap and arguments lie, auxv, and the exe link. */
#include "base/mem.h"
#include "criu-lite/proc/auxv.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/look.h"
#include "criu-lite/task/memory_vma.h"
#include "criu-lite/task/row.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* What readers of mm-PID.img accept, and what we do, in words. */
#define AUXV_IN_IMAGE 44u
#define AUXV_MAX      128u

/* --- saving ---------------------------------------------------------------------- */

static void take_places(MmEntry *mm, const struct proc_stat *st)
{
	mm->mm_start_code = st->start_code;
	mm->mm_end_code = st->end_code;
	mm->mm_start_data = st->start_data;
	mm->mm_end_data = st->end_data;
	mm->mm_start_stack = st->start_stack;
	mm->mm_start_brk = st->start_brk;
	mm->mm_arg_start = st->arg_start;
	mm->mm_arg_end = st->arg_end;
	mm->mm_env_start = st->env_start;
	mm->mm_env_end = st->env_end;
}

/* All of it in our own image, what older readers take in mm-PID.img. */
static int take_auxv(struct thread *t, MmEntry *mm, struct err *err)
{
	scoped struct proc_auxv *v = NULL;
	size_t n;
	int rc = proc_auxv_read(t->task->proc, &v, &n, err);

	if (rc < 0)
		return rc;
	if (2 * n > AUXV_MAX)
		return err_set(err, -EINVAL, "auxv has %zu entries", n);
	if (!t->extra)
		t->extra = extra_new(t);
	t->extra->n_auxv = 2 * n;
	t->extra->auxv = xmemdup(v, n * sizeof(*v));
	mm->n_mm_saved_auxv = 2 * n < AUXV_IN_IMAGE ? 2 * n : AUXV_IN_IMAGE;
	mm->mm_saved_auxv = xmemdup(v, n * sizeof(*v));
	return 0;
}

static bool known_before(const struct task_memory *m, const struct proc_smap *v)
{
	for (size_t i = 0; i < m->n_smaps; i++)
		if (m->smap[i].start == v->start && m->smap[i].end == v->end)
			return true;
	return false;
}

/*
 * Whether mlockall(MCL_FUTURE) is in force is nowhere to be read, but a mapping made
 * since shows it: our scratch. Only where more is locked than before is it looked at.
 */
static int take_lock_future(struct thread *t, struct err *err)
{
	struct task_memory *m = memory_of(t->task);
	scoped struct proc_smap *v = NULL;
	struct proc_status now;
	uint64_t now_kb;
	size_t n;
	int rc = proc_status_read(t->task->proc, &now, err);

	if (rc < 0)
		return rc;
	now_kb = now.vm_locked_kb;
	proc_status_release(&now);
	if (now_kb <= m->locked_kb)
		return 0;
	rc = proc_smaps_read(t->task->proc, &v, &n, err);
	for (size_t i = 0; !rc && i < n; i++) {
		if (!(v[i].flags & VMF_BIT(VMF_LO)) || known_before(m, &v[i]))
			continue;
		t->extra->has_lock_future = true;
		t->extra->lock_future |= MCL_FUTURE;
		if (v[i].flags & VMF_BIT(VMF_LF))
			t->extra->lock_future |= MCL_ONFAULT;
	}
	return rc;
}

static int mm_look(struct saver *s, struct thread *t, struct err *err)
{
	MmEntry *mm = memory_mm(t->task);
	const struct proc_status *status;
	const struct proc_stat *st;
	int rc = look_stat(s, t, &st, err);

	if (!rc)
		rc = thread_status(t, &status, err);
	if (rc < 0)
		return rc;
	take_places(mm, st);
	memory_of(t->task)->locked_kb = status->vm_locked_kb;
	rc = take_auxv(t, mm, err);
	if (rc < 0)
		return rc;
	rc = file_add_link(s->files, t->task, "exe", O_RDONLY, &mm->exe_file_id, err);
	if (rc == ERR_REFUSED) {
		refuse(s->refusals, "task %d: exe: %s", t->task->pid,
		       err ? err->text : "this file is not supported");
		rc = 0;
	}
	return rc;
}

/* The end of the heap is nowhere in /proc. */
static uint64_t mm_ask(struct thread *t, struct plan *p)
{
	return plan_add(p, PLAN_MUST, "brk", SYS_brk, 0);
}

static int mm_save(struct saver *s, struct thread *t, struct plan *p, uint64_t asked,
		   struct err *err)
{
	t->task->mm->mm_brk = plan_ret(p, asked);
	return take_lock_future(t, err);
}

/* --- rebuilding -------------------------------------------------------------------- */

struct auxv_words {
	size_t n;
	uint64_t word[AUXV_MAX + 2];
};

/* The better of the two, with the AT_NULL at its end that neither has. */
static int auxv_of(const struct thread *t, struct auxv_words *v, struct err *err)
{
	const MmEntry *mm = t->task->mm;
	bool ours = t->extra && t->extra->n_auxv;
	const uint64_t *word = ours ? t->extra->auxv : mm->mm_saved_auxv;
	size_t n = ours ? t->extra->n_auxv : mm->n_mm_saved_auxv;

	if (n > AUXV_MAX || n % 2)
		return err_set(err, -EBADMSG, "auxv of %zu words", n);
	*v = (struct auxv_words) { .n = n };
	if (n)
		memcpy(v->word, word, n * sizeof(*word));
	if (n < 2 || v->word[n - 2])
		v->n += 2;
	return 0;
}

static void mm_row(struct batch *batch, const MmEntry *mm, const struct auxv_words *v, int exe_fd)
{
	uint64_t auxv = plan_put(&batch->plan, v->word, v->n * sizeof(*v->word));
	struct prctl_mm_map map = {
		.start_code = mm->mm_start_code,
		.end_code = mm->mm_end_code,
		.start_data = mm->mm_start_data,
		.end_data = mm->mm_end_data,
		.start_brk = mm->mm_start_brk,
		.brk = mm->mm_brk,
		.start_stack = mm->mm_start_stack,
		.arg_start = mm->mm_arg_start,
		.arg_end = mm->mm_arg_end,
		.env_start = mm->mm_env_start,
		.env_end = mm->mm_env_end,
		.auxv = (void *)(uintptr_t)auxv,
		.auxv_size = v->n * sizeof(*v->word),
		.exe_fd = exe_fd,
	};
	uint64_t at = plan_put(&batch->plan, &map, sizeof(map));

	plan_add(&batch->plan, PLAN_MUST, "PR_SET_MM_MAP", SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, at,
		 sizeof(map), 0);
	plan_add(&batch->plan, PLAN_MUST, "closing exe", SYS_close, (uint64_t)exe_fd);
}

/* The descriptor's number goes into the struct, so it must be known first. */
static int exe_take(struct builder *b, struct thread *t, struct batch *batch, int *exe_fd,
		    struct err *err)
{
	int rc = batch_flush(batch, err), fd = -1;

	if (!rc)
		rc = file_open(b->files, t->task->mm->exe_file_id, &fd, err);
	if (rc < 0)
		return rc;
	plan_add(&batch->plan, PLAN_MUST, "taking exe", SYS_pidfd_getfd,
		 (uint64_t)t->task->memory->tool_pidfd, (uint64_t)fd, 0);
	rc = batch_run(batch, err);
	*exe_fd = rc < 0 ? -1 : (int)plan_ret(&batch->plan, 0);
	plan_reset(&batch->plan);
	return rc;
}

static int lock_future(struct thread *t, struct batch *batch, struct err *err)
{
	uint32_t flags = t->extra && t->extra->has_lock_future ? t->extra->lock_future : 0;
	int rc;

	if (!(flags & MCL_FUTURE))
		return 0;
	rc = batch_room(batch, 1, 0, err);
	if (!rc)
		plan_add(&batch->plan, PLAN_MUST, "mlockall", SYS_mlockall,
			 flags & (MCL_FUTURE | MCL_ONFAULT));
	return rc;
}

static int mm_rebuild(struct builder *b, struct thread *t, struct batch *batch, struct err *err)
{
	struct auxv_words auxv;
	int exe_fd = -1, rc;

	rc = auxv_of(t, &auxv, err);
	if (!rc)
		rc = exe_take(b, t, batch, &exe_fd, err);
	if (!rc)
		rc = batch_room(batch, 2, sizeof(auxv) + sizeof(struct prctl_mm_map) + 16, err);
	if (rc < 0)
		return rc;
	mm_row(batch, t->task->mm, &auxv, exe_fd);
	return lock_future(t, batch, err);
}

const struct task_kind kind_mm = {
	.name = "mm",
	.stage = STAGE_STATE,
	.file = "auxv",
	.look = mm_look,
	.ask = mm_ask,
	.save = mm_save,
	.rebuild = mm_rebuild,
};
