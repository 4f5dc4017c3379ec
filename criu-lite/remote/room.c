/*
 * room.c - unused pages of the leader's stack, where frames can lie.
 *
 * Never near a stack pointer: a goroutine's stack has a neighbour 2 KiB below.
 * The lowest pages of [stack] are the farthest from everything; 16 KiB above
 * its start are left for the kernel's stack guard and for a handler that runs
 * on the way out.
 *
 * A stack that has grown was used down to its lowest page, and stays so. Then it is made to
 * grow a little more, as it would by itself.
 */
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/proc/limits.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/remote/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

#define ROOM_SKIP  16384
#define ROOM_LEAST 4			   /* pages: where there are less it grows */
#define ROOM_MORE  (ROOM_SKIP + 12 * PAGE) /* bytes */
#define ROOM_PAGES 256			   /* as many as we would use */
#define SP_MARGIN  8192			   /* the red zone, and a page more */
#define PAGE	   SCRATCH_PAGE
#define PAGE_WORDS (PAGE / 8)

/* The last two words of a page of frames: a dump after a rescue knows them as dead. */
#define FRAME_MARK 0x74696c2d75697263u

static bool marked(const uint64_t *page, uint64_t addr)
{
	return page[PAGE_WORDS - 1] == FRAME_MARK && page[PAGE_WORDS - 2] == (FRAME_MARK ^ addr);
}

void remote_mark_page(void *bytes, uint64_t addr)
{
	uint64_t *page = bytes;

	page[PAGE_WORDS - 1] = FRAME_MARK;
	page[PAGE_WORDS - 2] = FRAME_MARK ^ addr;
}

static bool all_zero(const uint64_t *page)
{
	for (size_t i = 0; i < PAGE_WORDS; i++)
		if (page[i])
			return false;
	return true;
}

/* Nothing there, zeros, or dead frames (@dead). */
static bool looks_unused(pid_t pid, uint64_t addr, uint64_t entry, bool *dead)
{
	uint64_t page[PAGE_WORDS];

	*dead = false;
	if (!(entry & (PME_PRESENT | PME_SWAPPED)))
		return !(entry & PME_GUARD);
	if (entry & PME_SWAPPED || task_peek(pid, addr, page, sizeof(page)) < 0)
		return false;
	*dead = marked(page, addr);
	return *dead || all_zero(page);
}

/* Dead frames become zeros. */
static bool unused(pid_t pid, uint64_t addr, uint64_t entry)
{
	static const uint64_t zeros[PAGE_WORDS];
	bool dead;

	return looks_unused(pid, addr, entry, &dead) &&
	       (!dead || task_poke(pid, addr, zeros, sizeof(zeros)) == 0);
}

static const struct proc_vma *stack_of(const struct proc_vma *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].path && strcmp(v[i].path, "[stack]") == 0)
			return &v[i];
	return NULL;
}

bool room_is_scarce(pid_t pid, const struct proc_dir *dir, const struct proc_vma *v, size_t n)
{
	const struct proc_vma *stack = stack_of(v, n);
	scoped_fd fd = stack ? proc_pagemap_open(dir, NULL) : -1;
	uint64_t entry[ROOM_LEAST];
	bool dead;

	if (fd < 0 || stack->end - stack->start < ROOM_SKIP + ROOM_LEAST * PAGE)
		return stack;
	if (proc_pagemap_read(fd, stack->start + ROOM_SKIP, ROOM_LEAST, entry, NULL) < 0)
		return false;
	for (size_t i = 0; i < ROOM_LEAST; i++)
		if (!looks_unused(pid, stack->start + ROOM_SKIP + i * PAGE, entry[i], &dead))
			return true;
	return false;
}

/* Is there nothing for so far, and would the task itself be let? */
static bool may_grow(const struct task *task, const struct proc_vma *v,
		     const struct proc_vma *stack)
{
	struct proc_limit limits[PROC_N_LIMITS];
	uint64_t start = stack->start - ROOM_MORE;

	return (stack == v || stack[-1].end <= start) &&
	       proc_limits_read(task->proc, limits, NULL) == 0 &&
	       stack->end - start <= limits[RLIMIT_STACK].cur;
}

/* Of access through "mem" the kernel lets a stack grow; by how much it may, it judges once more. */
int room_grow(struct task *task, struct err *err)
{
	const struct proc_vma *v, *stack;
	scoped_fd mem = -1;
	size_t n;
	int rc = task_maps(task, &v, &n, err);

	if (rc < 0)
		return rc;
	stack = stack_of(v, n);
	if (!stack || !may_grow(task, v, stack))
		return 0;
	mem = proc_openat(task->proc, "mem", O_RDWR);
	if (mem >= 0 && pwrite(mem, "", 1, (off_t)(stack->start - ROOM_MORE)) == 1)
		task_forget_maps(task);
	STEP();
	return 0;
}

/* Up to the stack pointers in use, or the end; not more than we want. */
static size_t candidates(const struct task *task, const struct proc_vma *stack)
{
	uint64_t start = stack->start + ROOM_SKIP, end = stack->end;
	struct thread *t;

	for_each_thread (t, task) {
		uint64_t sp = regs_sp(&t->tracee->regs);

		if (sp >= stack->start && sp < end)
			end = sp > SP_MARGIN ? sp - SP_MARGIN : 0;
	}
	if (end <= start)
		return 0;
	return (end - start) / PAGE < ROOM_PAGES ? (end - start) / PAGE : ROOM_PAGES;
}

int room_find(struct task *task, const struct proc_vma *v, size_t n, struct err *err)
{
	struct task_remote *r = task->remote;
	const struct proc_vma *stack = stack_of(v, n);
	uint64_t entry[ROOM_PAGES];
	scoped_fd fd = -1;
	size_t pages;
	int rc;

	r->room_lo = r->room_hi = 0;
	if (!stack || !(pages = candidates(task, stack)))
		return 0;
	fd = proc_pagemap_open(task->proc, err);
	if (fd < 0)
		return fd;
	r->stack_start = stack->start;
	r->room_lo = r->room_hi = stack->start + ROOM_SKIP;
	rc = proc_pagemap_read(fd, r->room_lo, pages, entry, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < pages && unused(task->pid, r->room_hi, entry[i]); i++)
		r->room_hi += PAGE;
	r->frames_lo = r->room_hi;
	return 0;
}

int room_write(struct task *task, uint64_t addr, char *pages, size_t len, struct err *err)
{
	struct task_remote *r = task->remote;
	int rc;

	for (size_t at = 0; at < len; at += PAGE)
		remote_mark_page(pages + at, addr + at);
	if (addr < r->frames_lo)
		r->frames_lo = addr;
	rc = task_poke(task->pid, addr, pages, len);
	STEP();
	if (rc < 0)
		return err_code(err, rc, "writing frames into its stack");
	return 0;
}

int room_clear(struct task *task, struct err *err)
{
	struct task_remote *r = task->remote;
	size_t len = r->room_hi - r->frames_lo;
	scoped char *zeros = NULL;
	int rc;

	if (!len)
		return 0;
	zeros = xcalloc(1, len);
	rc = task_poke(task->pid, r->frames_lo, zeros, len);
	STEP();
	r->frames_lo = r->room_hi;
	if (rc < 0 && rc != -ESRCH)
		return err_code(err, rc, "clearing its stack");
	return 0;
}

void remote_frame_pages(const struct task *task, uint64_t *start, uint64_t *end)
{
	const struct task_remote *r = task->remote;

	*start = r ? r->frames_lo : 0;
	*end = r ? r->room_hi : 0;
}
