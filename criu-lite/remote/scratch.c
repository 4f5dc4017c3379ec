/* scratch.c - two shared mappings, made by the task and mapped by the tool as well. */
#include "base/mem.h"
#include "base/step.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/remote/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define LOWEST	    0x200000ull	      /* well above vm.mmap_min_addr */
#define HIGHEST	    0x7fffffe00000ull /* below the end of a 47-bit address space */
#define ALIGN	    0x200000ull
#define SHARED_ANON (MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE)

struct runner_board *scratch_board(const struct task_remote *r)
{
	return (struct runner_board *)(r->mem + SCRATCH_PAGE);
}

uint64_t board_addr(const struct task_remote *r)
{
	return r->scratch + SCRATCH_PAGE;
}

struct runner_slice *scratch_slice(const struct task_remote *r, size_t slot)
{
	return (struct runner_slice *)(r->mem + 2 * SCRATCH_PAGE + slot * SLICE_SIZE);
}

uint64_t slice_addr(const struct task_remote *r, size_t slot)
{
	return r->scratch + 2 * SCRATCH_PAGE + slot * SLICE_SIZE;
}

/* The middle of the widest gap: nothing that grows gets there. */
static uint64_t widest_gap(const struct proc_vma *v, size_t n, uint64_t *len)
{
	uint64_t end = LOWEST, at = 0;

	*len = 0;
	for (size_t i = 0; i <= n; i++) {
		uint64_t start = i < n && v[i].start < HIGHEST ? v[i].start : HIGHEST;

		if (start > end && start - end > *len) {
			*len = start - end;
			at = (end + *len / 2) & ~(ALIGN - 1);
		}
		if (i < n && v[i].end > end)
			end = v[i].end;
	}
	return at;
}

int scratch_find(struct task *task, const struct proc_vma *v, size_t n, struct err *err)
{
	struct task_remote *r = task->remote;
	uint64_t gap;

	r->slots = task->n_threads - 1 < MAX_SLOTS ? task->n_threads - 1 : MAX_SLOTS;
	r->scratch_len = 2 * SCRATCH_PAGE + (r->slots + 1) * SLICE_SIZE;
	r->scratch = widest_gap(v, n, &gap);
	if (!r->scratch || gap < 2 * (r->scratch_len + ALIGN))
		return err_set(err, ERR_REFUSED, "no free addresses for %lu bytes",
			       (unsigned long)r->scratch_len);
	return 0;
}

/*
 * One of the calls that a task makes by registers alone. Should the tool die meanwhile, the
 * call's `ret` takes the task on to the frame behind @chain.
 */
struct scratch_call {
	/* False: this task need not make it. */
	bool (*ask)(struct task *task, uint64_t nr_args[7], uint64_t *chain);
	int (*judge)(struct task *task, int64_t ret, struct err *err);
};

static void mmap_args(uint64_t nr_args[7], uint64_t addr, uint64_t len, int prot, int flags)
{
	const uint64_t args[7] = {
		SYS_mmap,     addr, len, (uint64_t)prot, (uint64_t)(SHARED_ANON | flags),
		(uint64_t)-1, 0
	};

	memcpy(nr_args, args, sizeof(args));
}

static int judge_mmap(struct task *task, int64_t ret, struct err *err)
{
	if (ret == -ENOMEM)
		return err_set(err, ERR_REFUSED,
			       "no room for one more mapping (RLIMIT_AS or vm.max_map_count)");
	if (ret == -EAGAIN)
		return err_set(
			err, ERR_REFUSED,
			"locks all of its memory, and RLIMIT_MEMLOCK leaves no room for ours");
	if (ret < 0)
		return err_code(err, (int)ret, "mapping scratch");
	if ((uint64_t)ret != task->remote->scratch)
		return err_set(err, -EIO, "scratch came to lie elsewhere");
	return 0;
}

static bool ask_all(struct task *task, uint64_t nr_args[7], uint64_t *chain)
{
	struct task_remote *r = task->remote;

	mmap_args(nr_args, r->scratch, r->scratch_len, PROT_READ | PROT_WRITE, MAP_FIXED_NOREPLACE);
	*chain = r->chain;
	/* When the answer cannot be read it may be there, and nothing else can. */
	r->mapped = true;
	return true;
}

static int judge_all(struct task *task, int64_t ret, struct err *err)
{
	struct task_remote *r = task->remote;

	r->mapped = (uint64_t)ret == r->scratch;
	return judge_mmap(task, ret, err);
}

static bool ask_code(struct task *task, uint64_t nr_args[7], uint64_t *chain)
{
	struct task_remote *r = task->remote;

	mmap_args(nr_args, r->scratch, SCRATCH_PAGE, PROT_READ | PROT_EXEC, MAP_FIXED);
	*chain = r->chain;
	return true;
}

/* A thread that is out already may fork before the leader has unmapped it. */
static bool ask_no_fork(struct task *task, uint64_t nr_args[7], uint64_t *chain)
{
	struct task_remote *r = task->remote;
	const uint64_t args[7] = { SYS_madvise, r->scratch, r->scratch_len, MADV_DONTFORK };

	memcpy(nr_args, args, sizeof(args));
	*chain = r->chain;
	return task->n_threads > 1;
}

static bool ask_unmap(struct task *task, uint64_t nr_args[7], uint64_t *chain)
{
	struct task_remote *r = task->remote;
	const uint64_t args[7] = { SYS_munmap, r->scratch, r->scratch_len };
	bool mapped = r->mapped;

	memcpy(nr_args, args, sizeof(args));
	*chain = r->chain_self;
	r->mapped = false;
	return mapped;
}

static const struct scratch_call map_calls[] = {
	{ ask_all, judge_all },
	{ ask_code, judge_mmap },
	{ ask_no_fork, NULL },
};
static const struct scratch_call unmap_call = { ask_unmap, NULL };

static int call_begin(struct task *task, const void *arg, struct err *err)
{
	const struct scratch_call *call = arg;
	struct task_remote *r = task->remote;
	uint64_t nr_args[7], chain;

	r->calls = call->ask(task, nr_args, &chain);
	return r->calls ? tracee_call_begin(leader_tracee(task), r->gadgets.syscall_ret, chain,
					    nr_args, r->timeout_ms, err)
			: 0;
}

static int call_push(struct task *task, const void *arg, struct err *err)
{
	struct task_remote *r = task->remote;

	return r->calls ? tracee_call_push(leader_tracee(task), r->timeout_ms, err) : 0;
}

static int call_end(struct task *task, const void *arg, struct err *err)
{
	const struct scratch_call *call = arg;
	struct task_remote *r = task->remote;
	int64_t ret;
	int rc;

	if (!r->calls)
		return 0;
	rc = tracee_call_end(leader_tracee(task), r->timeout_ms, &ret, err);
	return rc < 0 || !call->judge ? rc : call->judge(task, ret, err);
}

static void call_in_all(struct crowd *c, const struct scratch_call *call)
{
	crowd_take(c, call_begin, call);
	crowd_take(c, call_push, NULL);
	crowd_take(c, call_end, call);
}

/* The same pages in the tool: nothing of this shows in the task's descriptors. */
static int map_here(struct task *task, char *at, uint64_t addr, uint64_t len, struct err *err)
{
	char name[64];
	scoped_fd fd = -1;

	snprintf(name, sizeof(name), "map_files/%lx-%lx", (unsigned long)addr,
		 (unsigned long)(addr + len));
	fd = proc_openat(task->proc, name, O_RDWR);
	if (fd < 0)
		return err_code(err, fd, "opening scratch");
	if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 (off_t)(addr - task->remote->scratch)) == MAP_FAILED)
		return err_errno(err, "mapping scratch here");
	return 0;
}

static int share(struct task *task, const void *arg, struct err *err)
{
	struct task_remote *r = task->remote;
	char *mem = mmap(NULL, r->scratch_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc;

	if (mem == MAP_FAILED)
		return err_errno(err, "mapping %lu bytes", (unsigned long)r->scratch_len);
	rc = map_here(task, mem, r->scratch, SCRATCH_PAGE, err);
	/* The code page is an object of its own; the rest begins at one page into the other. */
	if (rc == 0)
		rc = map_here(task, mem + SCRATCH_PAGE, r->scratch + SCRATCH_PAGE,
			      r->scratch_len - SCRATCH_PAGE, err);
	STEP();
	/* Half of it cannot be read, and nobody must try. */
	if (rc < 0) {
		munmap(mem, r->scratch_len);
		return rc;
	}
	memcpy(mem, runner_start, runner_len);
	r->mem = mem;
	return 0;
}

void scratch_map(struct crowd *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(map_calls); i++)
		call_in_all(c, &map_calls[i]);
	crowd_take(c, share, NULL);
}

/*
 * What plans made, and the one that was to take it away could not be run: the tool cannot tell,
 * it goes by the list that the runner would go by.
 */
static int undo_rest(struct task *task, const void *arg, struct err *err)
{
	struct task_remote *r = task->remote;
	struct runner_slice *s = r->mem ? scratch_slice(r, 0) : NULL;
	uint64_t n = s && s->n_undo <= SLICE_MAX_UNDO ? s->n_undo : 0;
	int rc = 0;

	while (rc == 0 && n-- > 0) {
		const uint64_t nr_args[7] = { s->undo[n].nr, s->undo[n].arg };
		int64_t ret;

		if (!nr_args[0])
			continue;
		s->undo[n].nr = 0;
		rc = tracee_call_begin(leader_tracee(task), r->gadgets.syscall_ret, r->chain,
				       nr_args, r->timeout_ms, err);
		if (rc == 0)
			rc = tracee_call_push(leader_tracee(task), r->timeout_ms, err);
		if (rc == 0)
			rc = tracee_call_end(leader_tracee(task), r->timeout_ms, &ret, err);
	}
	return rc;
}

void scratch_unmap(struct crowd *c)
{
	crowd_take(c, undo_rest, NULL);
	call_in_all(c, &unmap_call);
}

void scratch_forget(struct task_remote *r)
{
	if (r->mem)
		munmap(r->mem, r->scratch_len);
	r->mem = NULL;
}
