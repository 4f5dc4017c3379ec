/* memory_build.c - rebuilding address spaces: what was read, where it goes, the rows that map it. */
#include "base/kernel-abi.h"
#include "base/mem.h"
#include "criu-lite/task/memory_build.h"
#include "criu-lite/track/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define MAP_FLAGS_KEPT (MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_NORESERVE)
#define GROUP_MAX      64	     /* mappings of one file that share a descriptor */
#define ANON_GROUP_MAX (64ull << 20) /* bytes */
#define FILES_OPEN_MAX 200	     /* at once in the tool, for mappings */
#define UFFD_PAGES     1024	     /* of a task: filling fewer is done before one is open */
#define VMA_NAME_MAX   80	     /* of PR_SET_VMA_ANON_NAME, with the NUL */

/* --- reading -------------------------------------------------------------------- */

/* Pages lie in private mappings only. */
static int sources_check(const struct task *task, struct err *err)
{
	const struct page_sources *src = &task->memory->src;
	const MmEntry *mm = task->mm;
	size_t k = 0;

	for (size_t i = 0; i < src->n; i++) {
		uint64_t at = src->src[i].vaddr, end = at + src->src[i].nr_pages * PAGE_SIZE;

		while (at < end) {
			while (k < mm->n_vmas && mm->vmas[k]->end <= at)
				k++;
			if (k == mm->n_vmas || mm->vmas[k]->start > at ||
			    !vma_has_pages(mm->vmas[k]))
				return err_set(err, -EBADMSG,
					       "page %#" PRIx64 " lies in no private mapping", at);
			at = mm->vmas[k]->end;
		}
	}
	return 0;
}

static int exe_check(const struct builder *b, const MmEntry *mm, struct err *err)
{
	const FileEntry *f = file_find(b->files, mm->exe_file_id);

	if (!f || f->type != FD_TYPES__REG)
		return err_set(err, -EBADMSG, "exe: file %u is not in files.img", mm->exe_file_id);
	return 0;
}

/* How a file was open that is now mapped; where that is not said, as the mapping needs it. */
static void mapped_files(const struct builder *b, const MmEntry *mm)
{
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *e = mm->vmas[i];
		bool writes =
			e->has_fdflags ? (e->fdflags & O_ACCMODE) == O_RDWR : e->prot & PROT_WRITE;

		if (e->status & VMA_FILE_SHARED && writes)
			file_mapped_for_writing(b->files, (uint32_t)e->shmid);
	}
}

static int mm_check(struct builder *b, const struct task *task, struct err *err)
{
	int rc = exe_check(b, task->mm, err);

	if (!rc)
		rc = vmas_check(b, task->mm, err);
	return rc < 0 ? err_add(err, rc, "mm-%d.img", task->pid) : 0;
}

static int load_task(struct builder *b, struct task *task, struct err *err)
{
	struct task_memory *m = memory_of(task);
	char name[64];
	int rc = 0;

	if (!task->mm)
		rc = img_read_one(&task->mm, err, b->dirfd, "mm-%d.img", task->pid);
	if (!rc)
		rc = mm_check(b, task, err);
	if (!rc)
		mapped_files(b, task->mm);
	snprintf(name, sizeof(name), "pagemap-%d.img", task->pid);
	if (!rc)
		rc = chain_resolve(&m->src, &b->memory->links, name, err);
	if (!rc)
		rc = sources_check(task, err);
	return rc < 0 ? err_add(err, rc, "task %d", task->pid) : 0;
}

int memory_load(struct builder *b, struct err *err)
{
	struct task *task;
	int rc;

	b->memory = xcalloc(1, sizeof(*b->memory));
	rc = chain_follow(&b->memory->links, b->chain_dirfd, b->seq, err);
	for_each_live_task (task, b->tree)
		if (!rc)
			rc = load_task(b, task, err);
	return rc;
}

void memory_build_release(struct builder *b)
{
	struct task *task;

	for_each_task (task, b->tree)
		memory_of_release(task);
	if (!b->memory)
		return;
	chain_links_release(&b->memory->links);
	free(b->memory);
	b->memory = NULL;
}

/* --- where there is room ----------------------------------------------------------- */

#define HOLE_LOWEST (256ull << 20)
#define HOLE_MARGIN (16ull << 20) /* stacks grow down, the heap grows up */

struct range {
	uint64_t start, end;
};

struct ranges {
	struct range *v;
	size_t n, cap;
};

static void ranges_add(struct ranges *r, uint64_t start, uint64_t end)
{
	if (start < end)
		ARRAY_PUSH(r->v, r->n, r->cap, ((struct range) { start, end }));
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int own_ranges(struct ranges *r, struct err *err)
{
	scoped struct proc_vma *vma = NULL;
	scoped_proc self = NULL;
	size_t n = 0;
	int rc = proc_open(&self, NULL, getpid(), err);

	if (!rc)
		rc = proc_maps_read(self, &vma, &n, err);
	for (size_t i = 0; !rc && i < n; i++)
		ranges_add(r, vma[i].start, vma[i].end);
	return rc;
}

static bool first_gap(const struct ranges *r, uint64_t lowest, uint64_t len, uint64_t margin,
		      uint64_t *start)
{
	uint64_t at = lowest;

	for (size_t i = 0; i <= r->n; i++) {
		uint64_t end = i < r->n && r->v[i].start < USER_END ? r->v[i].start : USER_END;

		if (end > at && end - at >= len + 2 * margin) {
			*start = at + margin;
			return true;
		}
		if (i < r->n && r->v[i].end > at)
			at = r->v[i].end;
	}
	return false;
}

int memory_hole(struct builder *b, uint64_t len, uint64_t avoid_start, uint64_t avoid_end,
		uint64_t *start, struct err *err)
{
	struct ranges r = {};
	struct task *task;
	bool found;
	int rc = own_ranges(&r, err);

	if (rc < 0)
		return rc;
	ranges_add(&r, avoid_start, avoid_end);
	for_each_live_task (task, b->tree)
		for (size_t i = 0; i < task->mm->n_vmas; i++)
			ranges_add(&r, task->mm->vmas[i]->start, task->mm->vmas[i]->end);
	qsort(r.v, r.n, sizeof(*r.v), by_start);
	found = first_gap(&r, HOLE_LOWEST, len, HOLE_MARGIN, start) ||
		first_gap(&r, 1 << 20, len, 0, start);
	free(r.v);
	if (!found)
		return err_set(err, -ENOMEM, "no %" PRIu64 " bytes are free in every task", len);
	return 0;
}

bool memory_stack(const struct task *task, uint64_t *start, uint64_t *end)
{
	for (size_t i = 0; i < task->mm->n_vmas; i++) {
		const VmaEntry *e = task->mm->vmas[i];

		if (e->start > task->mm->mm_start_stack || e->end <= task->mm->mm_start_stack ||
		    e->status & VMA_GUARD)
			continue;
		*start = e->start;
		*end = e->end;
		return e->status & VMA_ANON_PRIVATE && e->prot & PROT_WRITE;
	}
	return false;
}

/* Index of the first source that ends above @addr. */
static size_t source_above(const struct page_sources *src, uint64_t addr)
{
	size_t low = 0, high = src->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (src->src[mid].vaddr + src->src[mid].nr_pages * PAGE_SIZE <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool memory_unused(const struct builder *b, const struct task *task, uint64_t start, uint64_t end)
{
	const struct page_sources *src = &task->memory->src;
	size_t i = source_above(src, start);

	return i == src->n || src->src[i].vaddr >= end;
}

/* --- mapping ------------------------------------------------------------------------ */

static bool is_mapped(const VmaEntry *e)
{
	return e->status & VMA_REGULAR && !(e->status & VMA_SPECIAL);
}

static bool is_file(const VmaEntry *e)
{
	return e->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED);
}

static bool gets_pages(const struct builder *b, const struct task *task, const VmaEntry *e)
{
	return vma_has_pages(e) && !memory_unused(b, task, e->start, e->end);
}

static uint32_t row_flags(const VmaEntry *e)
{
	uint32_t flags = (e->flags & MAP_FLAGS_KEPT) | MAP_FIXED_NOREPLACE;

	return e->flags & MAP_DROPPABLE ? (flags & ~MAP_PRIVATE) | MAP_DROPPABLE : flags;
}

/* Until its pages are in it. */
static uint32_t first_prot(const struct builder *b, const struct task *task, const VmaEntry *e)
{
	return gets_pages(b, task, e) ? e->prot | PROT_WRITE : e->prot;
}

/* @end: that of the last of a group, see anon_group. */
static void map_row(const struct builder *b, struct batch *batch, const VmaEntry *e, uint64_t end)
{
	size_t row = plan_add(&batch->plan, PLAN_IS, "mapping memory", SYS_mmap, e->start,
			      end - e->start, first_prot(b, batch->thread->task, e), row_flags(e),
			      (uint64_t)-1, e->pgoff);

	batch->plan.note[row].expect = e->start;
	if (is_file(e))
		batch->plan.row[row].use = 5;
}

/* Mappings from @i on that are made of one file. */
static size_t file_group(const MmEntry *mm, size_t i)
{
	size_t n = 1;

	while (n < GROUP_MAX && i + n < mm->n_vmas && is_mapped(mm->vmas[i + n]) &&
	       is_file(mm->vmas[i + n]) && mm->vmas[i + n]->shmid == mm->vmas[i]->shmid)
		n++;
	return n;
}

static int map_files(struct builder *b, struct batch *batch, int tool_pidfd, size_t i, size_t n,
		     struct err *err)
{
	VmaEntry **vma = &batch->thread->task->mm->vmas[i];
	int rc, fd = -1;
	size_t row;

	rc = batch_room(batch, n + 2, 0, err);
	if (rc < 0)
		return rc;
	rc = file_open(b->files, vma[0]->shmid, &fd, err);
	if (rc < 0)
		return err_add(err, rc, "task %d: mapping at %#" PRIx64, batch->thread->task->pid,
			       vma[0]->start);
	row = plan_add(&batch->plan, PLAN_MUST, "taking a file to map", SYS_pidfd_getfd,
		       (uint64_t)tool_pidfd, (uint64_t)fd, 0);
	batch->plan.row[row].flags |= ROW_KEEP;
	for (size_t k = 0; k < n; k++)
		map_row(b, batch, vma[k], vma[k]->end);
	row = plan_add(&batch->plan, PLAN_MUST, "closing a mapped file", SYS_close, (uint64_t)-1);
	batch->plan.row[row].use = 1;
	return 0;
}

/* Nearly full of pages: worth asking for huge ones before the filling. */
static bool is_dense(const struct task *task, const VmaEntry *e)
{
	const struct page_sources *src = &task->memory->src;
	uint64_t pages = 0, all = (e->end - e->start) / PAGE_SIZE;

	for (size_t i = source_above(src, e->start); i < src->n && src->src[i].vaddr < e->end; i++)
		pages += src->src[i].nr_pages;
	return pages >= all - all / 8;
}

static bool is_plain(const VmaEntry *e)
{
	return is_mapped(e) && e->status & VMA_ANON_PRIVATE &&
	       !(e->flags & (MAP_GROWSDOWN | MAP_HUGETLB)) &&
	       !(e->has_madv && e->madv & 1ull << MADV_HUGEPAGE);
}

/*
 * Mappings from @i on that the kernel would make one as long as nothing but their protection
 * will tell them apart: one call is enough for all. Not for too much at once, which a kernel
 * that guesses what it has could refuse though it would give the parts.
 */
static size_t anon_group(const struct builder *b, const struct task *task, size_t i)
{
	VmaEntry *const *v = task->mm->vmas + i;
	size_t n = 1, left = task->mm->n_vmas - i;
	uint32_t prot = first_prot(b, task, v[0]);

	while (n < left && is_plain(v[0]) && is_plain(v[n]) && v[n]->start == v[n - 1]->end &&
	       v[n]->end - v[0]->start <= ANON_GROUP_MAX && row_flags(v[n]) == row_flags(v[0]) &&
	       first_prot(b, task, v[n]) == prot)
		n++;
	return n;
}

static int map_anon(struct builder *b, struct batch *batch, size_t i, size_t n, struct err *err)
{
	const VmaEntry *e = batch->thread->task->mm->vmas[i];
	int rc = batch_room(batch, 2, 0, err);

	if (rc < 0)
		return rc;
	map_row(b, batch, e, batch->thread->task->mm->vmas[i + n - 1]->end);
	if (e->has_madv && e->madv & 1ull << MADV_HUGEPAGE && is_dense(batch->thread->task, e))
		plan_add(&batch->plan, PLAN_MUST, "MADV_HUGEPAGE", SYS_madvise, e->start,
			 e->end - e->start, MADV_HUGEPAGE);
	return 0;
}

/*
 * Where huge pages come unasked, filling scattered pages would blow each up to
 * 2 MiB: they are kept away until everything is filled.
 */
static bool huge_pages_unasked(void)
{
	scoped_fd fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
	char text[64] = "";

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "[always]");
}

static int row_huge_pages(struct batch *batch, bool off, struct err *err)
{
	int rc;

	if (!huge_pages_unasked())
		return 0;
	rc = batch_room(batch, 1, 0, err);
	if (!rc)
		plan_add(&batch->plan, PLAN_MUST, "PR_SET_THP_DISABLE", SYS_prctl,
			 PR_SET_THP_DISABLE, off, 0, 0, 0);
	return rc;
}

/* To fill it by. One that cannot be had is done without; if the task is gone, the next plan says so. */
static void open_uffd(struct batch *batch)
{
	struct task *task = batch->thread->task;
	const struct page_sources *src = &task->memory->src;
	scoped_fd pidfd = -1;
	struct err why;
	uint64_t pages = 0;
	int uffd;

	for (size_t i = 0; i < src->n; i++)
		pages += src->src[i].nr_pages;
	if (pages < UFFD_PAGES)
		return;
	pidfd = (int)syscall(SYS_pidfd_open, task->pid, 0);
	uffd = pidfd < 0 ? -1 : uffd_open_in(batch, pidfd, &why);
	if (uffd < 0)
		return;
	if (uffd_init(uffd, 0) < 0)
		close(uffd);
	else
		task->memory->uffd = uffd;
}

int memory_map(struct builder *b, struct batch *batch, int tool_pidfd, struct err *err)
{
	const MmEntry *mm = batch->thread->task->mm;
	size_t n = 1, opened = 0;
	int rc = row_huge_pages(batch, true, err);

	batch->thread->task->memory->tool_pidfd = tool_pidfd;
	for (size_t i = 0; !rc && i < mm->n_vmas; i += n) {
		const VmaEntry *e = mm->vmas[i];

		n = 1;
		if (!is_mapped(e))
			continue;
		if (!is_file(e)) {
			n = anon_group(b, batch->thread->task, i);
			rc = map_anon(b, batch, i, n, err);
			continue;
		}
		n = file_group(mm, i);
		rc = map_files(b, batch, tool_pidfd, i, n, err);
		if (rc < 0)
			return rc;
		if (++opened % FILES_OPEN_MAX == 0) {
			rc = batch_flush(batch, err);
			files_idle(b->files);
		}
	}
	if (!rc)
		rc = batch_flush(batch, err);
	files_idle(b->files);
	if (!rc)
		open_uffd(batch);
	return rc;
}

/* --- what comes when the pages are there ----------------------------------------------- */

static int settle_prot(struct builder *b, struct batch *batch, const VmaEntry *e, struct err *err)
{
	int rc;

	if (e->prot & PROT_WRITE || !gets_pages(b, batch->thread->task, e))
		return 0;
	rc = batch_room(batch, 1, 0, err);
	if (!rc)
		plan_add(&batch->plan, PLAN_MUST, "mprotect", SYS_mprotect, e->start,
			 e->end - e->start, e->prot);
	return rc;
}

static int settle_advice(struct batch *batch, const VmaEntry *e, struct err *err)
{
	uint64_t left = e->has_madv ? e->madv : 0;

	while (left) {
		int advice = __builtin_ctzll(left), rc = batch_room(batch, 1, 0, err);

		if (rc < 0)
			return rc;
		plan_add(&batch->plan, PLAN_MUST, "madvise", SYS_madvise, e->start,
			 e->end - e->start, (uint64_t)advice);
		left &= left - 1;
	}
	return 0;
}

/* Both lists ascend; *@at goes along in the one of ranges. */
static bool on_fault(const SdTaskExtra *x, const VmaEntry *e, size_t *at)
{
	while (x && *at < x->n_locked_on_fault && x->locked_on_fault[*at]->end <= e->start)
		++*at;
	return x && *at < x->n_locked_on_fault && x->locked_on_fault[*at]->start <= e->start &&
	       x->locked_on_fault[*at]->end >= e->end;
}

/* Memory that cannot be read cannot be populated, which mlock reports, locked all the same. */
static int settle_lock(struct batch *batch, const VmaEntry *e, size_t *lazy_at, struct err *err)
{
	bool lazy = on_fault(batch->thread->extra, e, lazy_at),
	     whole = e->prot & PROT_READ && !is_file(e);
	int rc;

	if (!(e->flags & MAP_LOCKED))
		return 0;
	rc = batch_room(batch, 1, 0, err);
	if (!rc)
		plan_add(&batch->plan, whole || lazy ? PLAN_MUST : PLAN_MAY, "mlock", SYS_mlock2,
			 e->start, e->end - e->start, lazy ? MLOCK_ONFAULT : 0);
	return rc;
}

static int settle_guard(struct batch *batch, const VmaEntry *e, struct err *err)
{
	int rc = batch_room(batch, 1, 0, err);

	if (!rc)
		plan_add(&batch->plan, PLAN_MUST, "guard pages (Linux 6.13 and later)", SYS_madvise,
			 e->start, e->end - e->start, MADV_GUARD_INSTALL);
	return rc;
}

/* Names are for people to read: a kernel that keeps none is no reason to fail. */
static int settle_names(struct batch *batch, const SdTaskExtra *extra, struct err *err)
{
	for (size_t i = 0; extra && i < extra->n_vma_names; i++) {
		const SdVmaName *n = extra->vma_names[i];
		size_t len = strlen(n->name) + 1;
		int rc;

		if (len > VMA_NAME_MAX)
			return err_set(err, -EBADMSG, "a mapping's name of %zu bytes", len);
		rc = batch_room(batch, 1, len + 16, err);
		if (rc < 0)
			return rc;
		plan_add(&batch->plan, PLAN_MAY, "PR_SET_VMA_ANON_NAME", SYS_prctl, PR_SET_VMA,
			 PR_SET_VMA_ANON_NAME, n->start, n->end - n->start,
			 plan_put_str(&batch->plan, n->name));
	}
	return 0;
}

int memory_settle(struct builder *b, struct batch *batch, struct err *err)
{
	const MmEntry *mm = batch->thread->task->mm;
	int rc = row_huge_pages(batch, false, err);
	size_t lazy_at = 0;

	for (size_t i = 0; !rc && i < mm->n_vmas; i++) {
		const VmaEntry *e = mm->vmas[i];

		if (e->status == VMA_GUARD)
			rc = settle_guard(batch, e, err);
		if (!is_mapped(e))
			continue;
		rc = settle_prot(b, batch, e, err);
		if (!rc)
			rc = settle_advice(batch, e, err);
		if (!rc)
			rc = settle_lock(batch, e, &lazy_at, err);
	}
	return rc < 0 ? rc : settle_names(batch, batch->thread->extra, err);
}
