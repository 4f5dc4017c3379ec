/*
 * restore_images.c - a made-up checkpoint, as restore reads it: all that is
 * checked before a task is born, then the rows that newborns would run.
 *
 * No row is run. What is looked at is what they would reach: memory below the
 * end of user addresses, signals to threads of their own, no file but those
 * that were opened for them.
 */
#include "img_fuzz.h"
#include "img_archive.h"

#include "base/mem.h"
#include "criu-lite/arch/x86-64/frame.h"
#include "criu-lite/remote/batch.h"
#include "criu-lite/restore/births.h"
#include "criu-lite/restore/load.h"
#include "criu-lite/task/memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define PLAN_AT	 0x7e0000000000ull
#define BUSY_FD	 0x40000
#define USER_END ((1ull << 47) - IMG_PAGE_SIZE)

/* --- the images ------------------------------------------------------------------- */

static void put_image(const struct img_family *f, const char *name, const uint8_t *data, size_t n)
{
	uint32_t magic[2];

	if (archive_is_pages(f))
		fuzz_grow(fuzz_dir(), name, n * IMG_PAGE_SIZE);
	else
		fuzz_put(fuzz_dir(), name, magic, archive_magic(f, magic), data, n);
}

static void unpack(const uint8_t *data, size_t size)
{
	char name[64];
	uint32_t number;
	uint16_t n;

	while (size >= ARCHIVE_HEAD) {
		const struct img_family *f = &img_families[data[0] % archive_families()];
		size_t bytes;

		memcpy(&number, data + 1, sizeof(number));
		memcpy(&n, data + 5, sizeof(n));
		data += ARCHIVE_HEAD;
		size -= ARCHIVE_HEAD;
		bytes = archive_is_pages(f) ? 0 : n < size ? n : size;
		archive_name(f, number, name, sizeof(name));
		if (!f->sealed) /* without checksums: they would only hide what is to be found */
			put_image(f, name, data, archive_is_pages(f) ? n : bytes);
		data += bytes;
		size -= bytes;
	}
}

static void clear(void)
{
	char **names;
	size_t n;

	if (img_names(&names, &n, fuzz_dir(), NULL) < 0)
		abort();
	for (size_t i = 0; i < n; i++)
		unlinkat(fuzz_dir(), names[i], 0);
	img_names_release(names, n);
}

/* --- the rows ----------------------------------------------------------------------- */

/* Where a row would touch memory of its task: argument of the address, then of the length. */
static const struct {
	uint64_t nr;
	int at;
} ranges[] = {
	{ SYS_mmap, 0 },    { SYS_munmap, 0 }, { SYS_mprotect, 0 },
	{ SYS_madvise, 0 }, { SYS_mlock2, 0 },
};

static bool is_own(const struct task *task, uint64_t tid)
{
	struct thread *t;

	for_each_thread (t, task)
		if ((uint64_t)t->tid == tid)
			return true;
	return false;
}

static void check_row(const struct task *task, const struct plan_row *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		uint64_t start = r->arg[ranges[i].at], len = r->arg[ranges[i].at + 1];

		if (r->nr == ranges[i].nr &&
		    (start % IMG_PAGE_SIZE || start >= USER_END || len > USER_END - start))
			abort();
	}
	if (r->nr == SYS_mmap && !(r->arg[3] & MAP_FIXED_NOREPLACE))
		abort();
	if ((r->nr == SYS_rt_sigqueueinfo || r->nr == SYS_rt_tgsigqueueinfo) &&
	    r->arg[0] != (uint64_t)task->pid)
		abort();
	if (r->nr == SYS_rt_tgsigqueueinfo && !is_own(task, r->arg[1]))
		abort();
	if (r->nr == SYS_open || r->nr == SYS_openat || r->nr == SYS_execve)
		abort();
}

static int judge(struct batch *b, struct err *err)
{
	for (size_t i = 0; i < b->plan.n; i++) {
		struct plan_row *r = &b->plan.row[i];

		check_row(b->thread->task, r);
		r->ret = b->plan.note[i].judge == PLAN_IS ? b->plan.note[i].expect : 3;
	}
	return 0;
}

static int each_kind(struct builder *b, struct batch *batch, struct err *err)
{
	int rc = 0;

	for (int stage = 0; !rc && stage < STAGES; stage++)
		for (const struct task_kind *const *k = task_kinds; !rc && *k; k++)
			if ((*k)->rebuild && (*k)->stage == (enum rebuild_stage)stage &&
			    ((*k)->every_thread ||
			     batch->thread == task_leader(batch->thread->task)))
				rc = (*k)->rebuild(b, batch->thread, batch, err);
	return rc ? rc : batch_flush(batch, err);
}

static int frame_of(const struct thread *t, struct err *err)
{
	struct xstate x = {};
	struct regs regs = {};
	struct frame frame = { .regs = &regs, .xstate = &x };
	scoped uint8_t *buf = NULL;
	size_t n;
	int rc;

	regs_from_entry(&regs, t->core->thread_info->gpregs);
	rc = xstate_from_entry(&x, t->core->thread_info->fpregs, err);
	if (!rc) {
		n = frame_size(&x);
		buf = xmalloc(n);
		if (frame_build(buf, PLAN_AT, &frame) > n)
			abort();
	}
	xstate_release(&x);
	return rc;
}

/* As if this machine had the files, unchanged: what is saved of them is looked at elsewhere. */
static void provide_files(const struct file_build *b)
{
	for (size_t i = 0; i < b->n_entries; i++) {
		RegFileEntry *reg = b->entry[i]->type == FD_TYPES__REG ? b->entry[i]->reg : NULL;

		if (!reg || *reg->name != '/')
			continue;
		reg->has_mode = reg->has_size = false;
		if (access(reg->name, F_OK) < 0) {
			free(reg->name);
			reg->name = xstrdup("/dev/null");
		}
	}
}

/* FIFOs and terminals are opened by path: not those of the machine that this runs on. */
static bool has_places(const struct file_build *b)
{
	for (size_t i = 0; i < b->n_entries; i++)
		if (b->entry[i]->type == FD_TYPES__FIFO || b->entry[i]->type == FD_TYPES__TTY)
			return true;
	return false;
}

static int build_task(struct builder *b, struct task *task, struct err *err)
{
	struct batch batch = { .thread = task_leader(task), .run = judge };
	struct thread *t;
	int rc;

	plan_init(&batch.plan, PLAN_AT, PLAN_ROWS, PLAN_DATA);
	rc = memory_map(b, &batch, BUSY_FD + 1, err);
	if (!rc)
		rc = memory_settle(b, &batch, err);
	if (!rc && !has_places(b->files) && files_top(b->files) < BUSY_FD)
		rc = files_give(b->files, &batch, BUSY_FD, err);
	if (!rc && !has_places(b->files) && files_top(b->files) < BUSY_FD)
		rc = files_attach(b->files, &batch, err);
	if (!rc)
		rc = files_fs_rebuild(b->files, &batch, BUSY_FD + 1, err);
	for_each_thread (t, task) {
		batch.thread = t;
		if (!rc)
			rc = each_kind(b, &batch, err);
		if (!rc)
			rc = frame_of(t, err);
	}
	plan_release(&batch.plan);
	return rc;
}

static int build(struct builder *b, struct err *err)
{
	const struct births_where here = { .sid = getsid(0), .pgid = getpgrp(), .shell_job = true };
	struct births births = {};
	struct task *task;
	int rc;

	provide_files(b->files);
	rc = births_plan(&births, b->tree, &here, err);

	births_release(&births);
	for_each_live_task (task, b->tree)
		if (!rc)
			rc = build_task(b, task, err);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loaded l = {};
	struct file_build files = { .tree = &l.tree, .shell_job = true };
	struct builder b = { .tree = &l.tree, .files = &files };
	struct err err = {};
	int rc;

	clear();
	unpack(data, size);
	rc = load(&l, fuzz_path, false, 0, &err);
	if (!rc) {
		b.dirfd = files.dirfd = l.dirfd;
		b.chain_dirfd = chain_dirfd(l.chain);
		b.seccomp = l.seccomp;
		rc = files_load(&files, &err);
		if (!rc)
			rc = memory_load(&b, &err);
		if (!rc)
			rc = build(&b, &err);
	}
	if (getenv("FUZZ_SAY")) /* for people: how far an input gets */
		puts(rc < 0 ? err.text : "could be built");
	memory_build_release(&b);
	kinds_build_release(&b);
	files_build_release(&files);
	loaded_release(&l);
	return 0;
}
