/* precopy.c - reading what was written while the task still runs. */
#include "criu-lite/task/precopy.h"
#include "base/mem.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/task/direct.h"
#include "criu-lite/task/memory_vma.h"

#include <fcntl.h>
#include <sys/mman.h>

struct precopied {
	pid_t pid;
	uint64_t start_time;
	struct precopy_run *run;
	size_t n, cap;
	char *bytes;
	size_t len;
	bool *zero;
};

struct precopy {
	struct precopied **task;
	size_t n, cap;
};

struct precopy *precopy_new(void)
{
	return xcalloc(1, sizeof(struct precopy));
}

static void add_run(struct precopied *c, uint64_t start, uint64_t end, size_t at, bool read)
{
	struct precopy_run run = { .start = start, .end = end };

	if (start == end)
		return;
	if (read) {
		run.bytes = c->bytes + at;
		run.zero = c->zero + at / PAGE_SIZE;
	}
	ARRAY_PUSH(c->run, c->n, c->cap, run);
}

/* The whole pages of [start, end) that could be read; fewer when the task unmaps them meanwhile. */
static size_t read_run(int mem, char *to, uint64_t start, uint64_t end)
{
	ssize_t got = mem < 0 ? -1 : pread(mem, to, end - start, (off_t)start);

	return got < 0 ? 0 : (size_t)got & ~(size_t)(PAGE_SIZE - 1);
}

static void note_zeros(struct precopied *c, size_t at, size_t len)
{
	for (size_t end = at + len; at < end; at += PAGE_SIZE)
		c->zero[at / PAGE_SIZE] = page_is_zero(c->bytes + at);
}

/* Without @mem, or memory for it, nothing is read, but all of it is in a run. */
static uint64_t read_runs(struct precopied *c, int mem, const struct track_runs *runs)
{
	size_t at = 0;

	for (size_t i = 0; i < runs->n; i++)
		c->len += runs->run[i].end - runs->run[i].start;
	c->bytes = mem < 0 ? NULL : map_huge(c->len);
	c->zero = xcalloc(c->len / PAGE_SIZE, sizeof(*c->zero));
	for (size_t i = 0; i < runs->n; i++) {
		const struct track_run *r = &runs->run[i];
		size_t got = c->bytes ? read_run(mem, c->bytes + at, r->start, r->end) : 0;

		note_zeros(c, at, got);
		add_run(c, r->start, r->start + got, at, true);
		add_run(c, r->start + got, r->end, at, false);
		at += got;
	}
	return at;
}

uint64_t precopy_task(struct precopy *p, struct track *t, const struct task *task, uint64_t most,
		      uint64_t *left)
{
	scoped_fd mem = proc_openat(task->proc, "mem", O_RDONLY);
	struct track_runs runs = {};
	struct precopied *c;
	uint64_t bytes;

	*left = 0;
	track_early(t, task, most / PAGE_SIZE, &runs);
	if (!runs.n)
		return 0;
	c = xcalloc(1, sizeof(*c));
	c->pid = task->pid;
	c->start_time = task->start_time;
	/*
	 * Asked behind arming and before reading: a read that was begun before the one
	 * has ended before the other, or is still going on, and its descriptor there.
	 */
	bytes = read_runs(c, reads_directly(task->proc) ? -1 : mem, &runs);
	*left = c->len - bytes;
	ARRAY_PUSH(p->task, p->n, p->cap, c);
	track_runs_release(&runs);
	return bytes;
}

const struct precopied *precopy_find(const struct precopy *p, const struct task *task)
{
	for (size_t i = 0; p && i < p->n; i++)
		if (p->task[i]->pid == task->pid && p->task[i]->start_time == task->start_time)
			return p->task[i];
	return NULL;
}

const struct precopy_run *precopy_at(const struct precopied *c, uint64_t vaddr)
{
	size_t low = 0, high = c ? c->n : 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->run[mid].end <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	return c && low < c->n ? &c->run[low] : NULL;
}

void precopy_free(struct precopy *p)
{
	for (size_t i = 0; p && i < p->n; i++) {
		struct precopied *c = p->task[i];

		if (c->bytes)
			munmap(c->bytes, c->len);
		free(c->zero);
		free(c->run);
		free(c);
	}
	if (p)
		free(p->task);
	free(p);
}
