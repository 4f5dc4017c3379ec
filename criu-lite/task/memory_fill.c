/* memory_fill.c - the pages of the images into the memory that was mapped for them. */
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/file/memfd.h"
#include "criu-lite/task/memory_build.h"
#include "criu-lite/track/uffd.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define PART_PAGES 256u /* one thread's bite: 1 MiB stays in the cache between check and copy */
#define FAST_PAGES 256u /* mappings that are smaller are not worth a registration */
#define MAX_PIECES 512u

/* A pages file of one level, mapped. */
struct level {
	struct page_file *file;
	const char *at; /* NULL: it is empty */
	uint64_t size;
};

struct range {
	uint64_t start, end;
};

/* Up to PART_PAGES pages, beginning @skip pages into source @first. */
struct part {
	size_t first;
	uint64_t skip, pages;
};

/* One pagemap going to one place. */
struct fill {
	struct builder *b;
	const struct page_sources *src;
	pid_t pid;	    /* into this task, or, if 0, into */
	int fd;		    /* this object of */
	uint64_t size;	    /* so many bytes */
	int uffd;	    /* -1: none */
	struct range *fast; /* registered with it, ascending */
	size_t n_fast, cap_fast;
	uint64_t vdso, vdso_end; /* the engine puts it in its place: nothing is written there */
	struct level *level;
	struct part *part;
	size_t n_parts, cap_parts;
};

/* --- pages files ------------------------------------------------------------------ */

static int level_open(struct fill *f, uint32_t i, struct err *err)
{
	struct level *l = &f->level[i];
	int rc = chain_pages(&l->file, &f->b->memory->links, f->src, i, err);

	if (rc < 0)
		return rc;
	l->size = page_file_size(l->file);
	return page_file_map(l->file, &l->at, err);
}

static int levels_open(struct fill *f, struct err *err)
{
	size_t n = f->b->memory->links.n;
	int rc = 0;

	f->level = xcalloc(n, sizeof(*f->level));
	for (uint32_t i = 0; !rc && i < n; i++)
		if (f->src->pages_id[i])
			rc = level_open(f, i, err);
	return rc;
}

static void levels_close(struct fill *f)
{
	for (size_t i = 0; f->level && i < f->b->memory->links.n; i++)
		page_file_release(&f->level[i].file);
	free(f->level);
}

/* The bytes of @pages pages from page @skip of @s on, checked. */
static int bytes_of(struct fill *f, const struct page_source *s, uint64_t skip, uint64_t pages,
		    const char **at, struct err *err)
{
	const struct level *l = &f->level[s->level];
	const struct chain_link *link = &f->b->memory->links.link[s->level];
	uint64_t offset = s->offset + skip * PAGE_SIZE, n = pages * PAGE_SIZE;
	int rc;

	if (!l->at || n > l->size || offset > l->size - n)
		return err_set(err, -EBADMSG,
			       "%s: pages-%u.img: page %#" PRIx64 " lies behind its end",
			       link->name, f->src->pages_id[s->level], s->vaddr + skip * PAGE_SIZE);
	*at = l->at + offset;
	rc = page_file_check(l->file, offset, n, err);
	return rc < 0 ? err_add(err, rc, "%s", link->name) : 0;
}

/* --- into a task ------------------------------------------------------------------- */

struct pieces {
	struct iovec local[MAX_PIECES], remote[MAX_PIECES];
	size_t n, bytes;
};

static int pieces_write(struct fill *f, struct pieces *p, struct err *err)
{
	ssize_t done = process_vm_writev(f->pid, p->local, p->n, p->remote, p->n, 0);
	size_t i = 0;

	if (done == (ssize_t)p->bytes) {
		progress_add(f->b->progress, p->bytes / PAGE_SIZE);
		p->n = p->bytes = 0;
		return 0;
	}
	if (done < 0)
		return err_errno(err, "writing %zu bytes at %p", p->bytes, p->remote[0].iov_base);
	for (; i < p->n - 1 && (size_t)done >= p->remote[i].iov_len; i++)
		done -= p->remote[i].iov_len;
	return err_set(err, -EFAULT, "memory at %p cannot be written",
		       (void *)((char *)p->remote[i].iov_base + done));
}

static int pieces_add(struct fill *f, struct pieces *p, uint64_t to, const char *from, uint64_t n,
		      struct err *err)
{
	p->local[p->n] = (struct iovec) { (char *)from, n };
	p->remote[p->n++] = (struct iovec) { (void *)(uintptr_t)to, n };
	p->bytes += n;
	return p->n == MAX_PIECES ? pieces_write(f, p, err) : 0;
}

/* The first registered range that ends above @at; NULL: there is none. */
static const struct range *fast_range(const struct fill *f, uint64_t at)
{
	size_t low = 0, high = f->n_fast;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (f->fast[mid].end <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low < f->n_fast ? &f->fast[low] : NULL;
}

/* The bytes of [to, to + len) that a userfaultfd did not copy are to be written as other memory is. */
static int give_up_fast(struct fill *f, uint64_t to, uint64_t len, struct err *err)
{
	int rc = len ? uffd_unregister(f->uffd, to, to + len) : 0;

	return rc < 0 ? err_set(err, rc, "memory at %#" PRIx64 " cannot be filled", to) : 0;
}

/*
 * A userfaultfd puts a page in place that was never zeroed, which is faster by a
 * third. What it does not want to copy (a page is there already) is written.
 */
static int run_to_task(struct fill *f, struct pieces *p, uint64_t to, const char *from, uint64_t n,
		       struct err *err)
{
	int rc = 0;

	while (!rc && n) {
		const struct range *r = fast_range(f, to);
		uint64_t border = !r ? to + n : r->start > to ? r->start : r->end;
		uint64_t len = n < border - to ? n : border - to;
		bool fast = r && r->start <= to;
		uint64_t done = fast ? uffd_copy(f->uffd, to, from, len) : 0;

		progress_add(f->b->progress, done / PAGE_SIZE);
		if (fast)
			rc = give_up_fast(f, to + done, len - done, err);
		if (!rc && done < len)
			rc = pieces_add(f, p, to + done, from + done, len - done, err);
		to += len;
		from += len;
		n -= len;
	}
	return rc;
}

static int part_to_task(struct fill *f, const struct part *part, struct err *err)
{
	struct pieces p = {};
	uint64_t left = part->pages, skip = part->skip;
	int rc = 0;

	for (size_t i = part->first; !rc && left; i++, skip = 0) {
		const struct page_source *s = &f->src->src[i];
		uint64_t n = s->nr_pages - skip < left ? s->nr_pages - skip : left;
		const char *at;

		rc = bytes_of(f, s, skip, n, &at, err);
		if (!rc)
			rc = run_to_task(f, &p, s->vaddr + skip * PAGE_SIZE, at, n * PAGE_SIZE,
					 err);
		left -= n;
	}
	return !rc && p.n ? pieces_write(f, &p, err) : rc;
}

/* --- into a shared object ------------------------------------------------------------ */

/* The last page of an object whose size is odd: what lies behind its end only a mapping reaches. */
static int object_tail(struct fill *f, const char *from, struct err *err)
{
	uint64_t offset = f->size & ~(PAGE_SIZE - 1);
	void *p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, offset);

	if (p == MAP_FAILED)
		return err_errno(err, "mapping the last page");
	memcpy(p, from, PAGE_SIZE);
	munmap(p, PAGE_SIZE);
	return 0;
}

static int object_write(struct fill *f, uint64_t offset, const char *at, uint64_t n,
			struct err *err)
{
	uint64_t whole = f->size & ~(PAGE_SIZE - 1); /* bytes in whole pages */

	if (offset >= f->size)
		return 0;
	if (offset + n > whole && f->size > whole) {
		int rc = object_tail(f, at + (whole - offset), err);

		if (rc < 0)
			return rc;
	}
	n = offset >= whole ? 0 : offset + n > whole ? whole - offset : n;
	while (n) {
		ssize_t done = pwrite(f->fd, at, n, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return err_errno(err, "writing at %#" PRIx64, offset);
		at += done;
		offset += done;
		n -= done;
	}
	return 0;
}

static int part_to_object(struct fill *f, const struct part *part, struct err *err)
{
	uint64_t left = part->pages, skip = part->skip;
	int rc = 0;

	for (size_t i = part->first; !rc && left; i++, skip = 0) {
		const struct page_source *s = &f->src->src[i];
		uint64_t n = s->nr_pages - skip < left ? s->nr_pages - skip : left;
		const char *at;

		rc = bytes_of(f, s, skip, n, &at, err);
		if (!rc)
			rc = object_write(f, s->vaddr + skip * PAGE_SIZE, at, n * PAGE_SIZE, err);
		left -= n;
	}
	return rc;
}

/* --- the work, cut in parts and shared out ---------------------------------------------- */

static int fill_part(void *arg, size_t i, struct err *err)
{
	struct fill *f = arg;

	return f->pid ? part_to_task(f, &f->part[i], err) : part_to_object(f, &f->part[i], err);
}

static void add_part(struct fill *f, struct part *p)
{
	if (p->pages)
		ARRAY_PUSH(f->part, f->n_parts, f->cap_parts, *p);
	*p = (struct part) {};
}

/* How many pages from page @done of @s on go together; 0: none, and *@over are passed over. */
static uint64_t stretch(const struct fill *f, const struct page_source *s, uint64_t done,
			uint64_t *over)
{
	uint64_t at = s->vaddr + done * PAGE_SIZE, end = s->vaddr + s->nr_pages * PAGE_SIZE;

	if (at >= f->vdso && at < f->vdso_end) {
		*over = ((end < f->vdso_end ? end : f->vdso_end) - at) / PAGE_SIZE;
		return 0;
	}
	if (at < f->vdso && end > f->vdso)
		end = f->vdso;
	return (end - at) / PAGE_SIZE;
}

static void cut_in_parts(struct fill *f)
{
	struct part p = {};

	for (size_t i = 0; i < f->src->n; i++) {
		const struct page_source *s = &f->src->src[i];
		uint64_t done = 0;

		while (done < s->nr_pages) {
			uint64_t over = 0, n = stretch(f, s, done, &over);

			if (!n)
				add_part(f, &p);
			done += over;
			if (n && !p.pages)
				p = (struct part) { .first = i, .skip = done };
			if (n > PART_PAGES - p.pages)
				n = PART_PAGES - p.pages;
			p.pages += n;
			done += n;
			if (p.pages == PART_PAGES)
				add_part(f, &p);
		}
	}
	add_part(f, &p);
}

static int fill_run(struct fill *f, struct err *err)
{
	int rc;

	rc = levels_open(f, err);
	if (!rc) {
		cut_in_parts(f);
		for (size_t i = 0; i < f->n_parts; i++)
			f->b->pages += f->part[i].pages;
		rc = parallel_large(f->n_parts, fill_part, f, err);
	}
	levels_close(f);
	free(f->part);
	return rc;
}

/* Not where huge pages were asked for: those come when memory is written. */
static bool may_be_fast(const VmaEntry *e)
{
	return e->status & VMA_ANON_PRIVATE && !(e->status & VMA_GUARD) &&
	       !(e->has_madv && e->madv & 1ull << MADV_HUGEPAGE) &&
	       e->end - e->start >= FAST_PAGES * PAGE_SIZE;
}

static void register_fast(struct fill *f, const struct task *task)
{
	for (size_t i = 0; f->uffd >= 0 && i < task->mm->n_vmas; i++) {
		const VmaEntry *e = task->mm->vmas[i];

		if (may_be_fast(e) && uffd_register_empty(f->uffd, e->start, e->end) == 0)
			ARRAY_PUSH(f->fast, f->n_fast, f->cap_fast,
				   ((struct range) { e->start, e->end }));
	}
}

static int fill_task(struct builder *b, struct task *task, struct err *err)
{
	struct fill f = { .b = b, .src = &task->memory->src, .pid = task->pid, .fd = -1 };
	int rc;

	f.uffd = task->memory->uffd;
	register_fast(&f, task);

	for (size_t i = 0; i < task->mm->n_vmas; i++) {
		const VmaEntry *e = task->mm->vmas[i];

		if (!(e->status & VMA_VDSO))
			continue;
		f.vdso = e->start;
		f.vdso_end = e->end;
	}
	rc = fill_run(&f, err);
	free(f.fast);
	if (f.uffd >= 0) /* this unregisters too */
		close(f.uffd);
	task->memory->uffd = -1;
	return rc < 0 ? err_add(err, rc, "task %d", task->pid) : 0;
}

static int fill_object(struct builder *b, size_t i, struct err *err)
{
	const MemfdInodeEntry *e = memfd_inode(b->files, i);
	struct fill f = { .b = b, .size = e->size, .uffd = -1 };
	struct page_sources src = {};
	char name[64];
	int rc;

	if (!e->size)
		return 0;
	snprintf(name, sizeof(name), "pagemap-shmem-%u.img", e->shmid);
	rc = memfd_open_object(b->files, i, &f.fd, err);
	if (!rc)
		rc = chain_resolve(&src, &b->memory->links, name, err);
	if (!rc) {
		f.src = &src;
		rc = fill_run(&f, err);
	}
	page_sources_release(&src);
	return rc < 0 ? err_add(err, rc, "shared memory '%s'", e->name) : 0;
}

int memory_fill(struct builder *b, struct err *err)
{
	struct task *task;
	int rc = 0;

	for_each_live_task (task, b->tree)
		if (!rc)
			rc = fill_task(b, task, err);
	for (size_t i = 0; !rc && i < memfd_count(b->files); i++)
		rc = fill_object(b, i, err);
	return rc ? rc : memfd_seal(b->files, err);
}
