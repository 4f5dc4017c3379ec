/* pages.c - copying the pages of a frozen tree into the images. */
#include "base/kernel-abi.h"
#include "base/mem.h"
#include "base/range.h"
#include "criu-lite/file/memfd.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/remote/remote.h"
#include "criu-lite/task/memory_vma.h"
#include "criu-lite/task/spool.h"
#include "criu-lite/track/track.h"
#include "images/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#define BUFFER_PAGES (SPOOL_ROOM / PAGE_SIZE)
#define MAX_PIECES   1024u

/* Pages of one VMA that lie side by side. */
struct piece {
	uint64_t start, end;
	bool in_parent;	   /* not read at all */
	bool keep_zero;	   /* zero is not what an absent page is */
	const char *bytes; /* read before the freeze; else NULL */
	const bool *zero;  /* then: which of them are */
};

/* Bytes on their way to the spool: pages of its room, moved together, or some that lie elsewhere. */
struct gather {
	char *buffer;
	size_t n; /* pages */
	const char *lent;
	size_t len;
};

/* One pagemap being written. */
struct copier {
	struct saver *s;
	struct pages_writer *w;
	uint64_t object;
	const struct pagemap *parent; /* NULL: there is none */
	const struct precopied *precopied;
	int mem; /* /proc/PID/mem */
	struct spool *spool;
	struct piece *piece;
	size_t n_pieces, n_pages;
	struct gather g;
};

struct pages_run {
	struct saver *s;
	uint32_t next_id;
	struct parents *parents; /* NULL: a full dump */
	struct spool *spool;
	char *other; /* one page */
	struct piece *piece;
};

/* One more pagemap, called @name. */
static int begin_pagemap(struct pages_run *r, struct pages_writer **w, const char *name,
			 struct err *err)
{
	int rc = pages_create(w, err, r->s->dirfd, r->next_id++, "%s", name);

	if (!rc)
		spool_adopt(r->spool, *w);
	return rc;
}

static void end_pagemap(struct pages_run *r, struct pages_writer *w)
{
	r->s->pages_written += pages_written(w);
	r->s->pages_parent += pages_parent(w);
	spool_close(r->spool, w);
}

/* --- what becomes of a page -------------------------------------------------------- */

static bool parent_has(const struct copier *c, uint64_t vaddr)
{
	return c->parent && pagemap_find(c->parent, vaddr);
}

/* Flags of the run that @page belongs to; 0: none, it reads as zero without one. */
static uint32_t fate(struct copier *c, uint64_t vaddr, const char *page, bool keep_zero)
{
	bool same;

	if (!keep_zero && page_is_zero(page)) {
		c->s->pages_zero++;
		return 0;
	}
	same = track_compares(c->s->track) && track_same(c->s->track, c->object, vaddr, page);
	return same && parent_has(c, vaddr) ? PAGE_IN_PARENT : PAGE_PRESENT;
}

/* The pages of a buffer that are to be written, moved together. */
static void gather_page(struct gather *g, struct pages_writer *w, uint64_t vaddr, char *page,
			uint32_t flags)
{
	if (!flags)
		return;
	pages_add(w, vaddr, 1, flags);
	if (flags != PAGE_PRESENT)
		return;
	if (g->buffer + g->n * PAGE_SIZE != page)
		memcpy(g->buffer + g->n * PAGE_SIZE, page, PAGE_SIZE);
	g->n++;
}

/* --- private memory ---------------------------------------------------------------- */

/*
 * By /proc/PID/mem, not process_vm_readv(2): that pins, and pinning a page that
 * fork left shared gives the task a copy of its own (a tree of forked servers
 * would grow by all they share). It is as fast, and reads what the task may not.
 */
static int read_mem(const struct copier *c, const struct piece *p, char *to, struct err *err)
{
	uint64_t n = p->end - p->start;
	ssize_t got = pread(c->mem, to, n, p->start);

	if (got < 0)
		return err_errno(err, "reading memory at %#" PRIx64, p->start);
	if ((uint64_t)got != n)
		return err_set(err, -EIO, "memory at %#" PRIx64 " cannot be read", p->start + got);
	return 0;
}

static int read_pieces(const struct copier *c, char *to, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < c->n_pieces; i++) {
		if (c->piece[i].in_parent || c->piece[i].bytes)
			continue;
		rc = read_mem(c, &c->piece[i], to, err);
		to += c->piece[i].end - c->piece[i].start;
	}
	return rc;
}

/* In the file the pages lie in the order of their addresses, wherever they come from. */
static void give_gathered(struct copier *c)
{
	spool_put(c->spool, c->g.n * PAGE_SIZE, c->w);
	c->g.buffer += c->g.n * PAGE_SIZE;
	c->g.n = 0;
}

static void give_lent(struct copier *c)
{
	if (c->g.len)
		spool_lend(c->spool, c->g.lent, c->g.len, c->w);
	c->g.len = 0;
}

/* What was read early one behind the other goes out together, over all that is in the parent. */
static void lend_page(struct copier *c, uint64_t vaddr, const char *page)
{
	pages_add(c->w, vaddr, 1, PAGE_PRESENT);
	give_gathered(c);
	if (c->g.len && c->g.lent + c->g.len != page)
		give_lent(c);
	if (!c->g.len)
		c->g.lent = page;
	c->g.len += PAGE_SIZE;
}

static void flush_precopied(struct copier *c, const struct piece *p)
{
	for (uint64_t i = 0; i < (p->end - p->start) / PAGE_SIZE; i++) {
		if (p->zero[i] && !p->keep_zero)
			c->s->pages_zero++;
		else
			lend_page(c, p->start + i * PAGE_SIZE, p->bytes + i * PAGE_SIZE);
	}
}

/* Returns the page behind those of @p. */
static char *flush_read(struct copier *c, const struct piece *p, char *page)
{
	for (uint64_t at = p->start; at < p->end; at += PAGE_SIZE, page += PAGE_SIZE) {
		uint32_t flags = fate(c, at, page, p->keep_zero);

		if (flags == PAGE_PRESENT)
			give_lent(c);
		gather_page(&c->g, c->w, at, page, flags);
	}
	return page;
}

static int copier_flush(struct copier *c, struct err *err)
{
	char *page;
	int rc = spool_room(c->spool, &c->g.buffer, err);

	if (!rc)
		rc = read_pieces(c, c->g.buffer, err);
	if (rc < 0)
		return rc;
	page = c->g.buffer;
	for (size_t i = 0; i < c->n_pieces; i++) {
		const struct piece *p = &c->piece[i];

		if (p->in_parent)
			pages_add(c->w, p->start, (p->end - p->start) / PAGE_SIZE, PAGE_IN_PARENT);
		else if (p->bytes)
			flush_precopied(c, p);
		else
			page = flush_read(c, p, page);
	}
	c->n_pieces = c->n_pages = 0;
	give_gathered(c);
	return 0;
}

static int add_piece(struct copier *c, struct piece p, struct err *err)
{
	c->piece[c->n_pieces++] = p;
	if (!p.in_parent && !p.bytes)
		c->n_pages += (p.end - p.start) / PAGE_SIZE;
	if (c->n_pages == BUFFER_PAGES || c->n_pieces == MAX_PIECES)
		return copier_flush(c, err);
	return 0;
}

static bool keeps_zero(const VmaEntry *e)
{
	return e->status & (VMA_FILE_PRIVATE | VMA_VDSO);
}

/* Copy [start, end) of the VMA @e. */
static int copier_add(struct copier *c, const VmaEntry *e, uint64_t start, uint64_t end,
		      struct err *err)
{
	int rc = 0;

	while (!rc && start < end) {
		uint64_t room = (BUFFER_PAGES - c->n_pages) * PAGE_SIZE;
		uint64_t n = lower(end - start, room);

		rc = add_piece(c,
			       (struct piece) {
				       .start = start,
				       .end = start + n,
				       .keep_zero = keeps_zero(e),
			       },
			       err);
		start += n;
	}
	return rc;
}

/* Not written since it was read before the freeze, if that was so; else since the parent. */
static int keep_precopied(struct copier *c, const VmaEntry *e, const struct precopy_run *r,
			  uint64_t start, uint64_t end, struct err *err)
{
	uint64_t skip = start - r->start;
	struct piece p = { .start = start, .end = end, .keep_zero = keeps_zero(e) };

	if (!r->bytes)
		return copier_add(c, e, start, end, err);
	p.bytes = r->bytes + skip;
	p.zero = r->zero + skip / PAGE_SIZE;
	return add_piece(c, p, err);
}

/*
 * [start, end) of @e was not written since the parent. What the parent has stays
 * there; what it has not (it was zero then, or appeared without a store) is read
 * again, so that a run "in the parent" always leads to bytes.
 */
static int keep_parent(struct copier *c, const VmaEntry *e, uint64_t start, uint64_t end,
		       struct err *err)
{
	int rc = 0;

	while (!rc && start < end) {
		const struct pagemap_run *r = pagemap_find(c->parent, start);
		uint64_t upto = start + PAGE_SIZE;

		if (r) {
			upto = lower(end, r->vaddr + r->nr_pages * PAGE_SIZE);
			rc = add_piece(c, (struct piece) { start, upto, .in_parent = true }, err);
		} else {
			rc = copier_add(c, e, start, upto, err);
		}
		start = upto;
	}
	return rc;
}

/* [start, end) of @e was not written since the tracker was armed last. */
static int copier_keep(struct copier *c, const VmaEntry *e, uint64_t start, uint64_t end,
		       struct err *err)
{
	int rc = 0;

	while (!rc && start < end) {
		const struct precopy_run *r = precopy_at(c->precopied, start);
		uint64_t upto = r ? lower(end, r->start > start ? r->start : r->end) : end;

		rc = r && r->start <= start ? keep_precopied(c, e, r, start, upto, err)
					    : keep_parent(c, e, start, upto, err);
		start = upto;
	}
	return rc;
}

static int copier_take(struct copier *c, const VmaEntry *e, const struct track_run *r,
		       uint64_t start, uint64_t end, struct err *err)
{
	c->s->pages_used += (end - start) / PAGE_SIZE;
	progress_add(c->s->progress, (end - start) / PAGE_SIZE);
	if (r->written || !c->parent)
		return copier_add(c, e, start, end, err);
	return copier_keep(c, e, start, end, err);
}

/*
 * What is not saved although it is there: guard pages, which cannot be read, and
 * the pages of the stack where our own frames are. Ascending, not overlapping.
 */
struct holes {
	struct track_run *v;
	size_t n, at; /* holes before .at end below whatever is looked at next */
};

static int hole_order(const void *a, const void *b)
{
	const struct track_run *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void holes_find(struct holes *h, const struct task *task)
{
	const MmEntry *mm = task->mm;
	struct track_run frames = {};

	h->v = xcalloc(mm->n_vmas + 1, sizeof(*h->v));
	for (size_t i = 0; i < mm->n_vmas; i++)
		if (mm->vmas[i]->status == VMA_GUARD)
			h->v[h->n++] = (struct track_run) { mm->vmas[i]->start, mm->vmas[i]->end };
	remote_frame_pages(task, &frames.start, &frames.end);
	if (frames.start < frames.end)
		h->v[h->n++] = frames;
	qsort(h->v, h->n, sizeof(*h->v), hole_order);
}

/* The part of a run that lies in @e, without the holes. */
static int take_in_vma(struct copier *c, const VmaEntry *e, const struct track_run *r,
		       struct holes *h, struct err *err)
{
	uint64_t at = higher(e->start, r->start), end = lower(e->end, r->end);
	int rc = 0;

	while (h->at < h->n && h->v[h->at].end <= at)
		h->at++;
	for (size_t i = h->at; !rc && at < end; i++) {
		uint64_t upto = i < h->n ? lower(end, h->v[i].start) : end;

		if (at < upto)
			rc = copier_take(c, e, r, at, upto, err);
		at = i < h->n ? higher(upto, h->v[i].end) : end;
	}
	return rc;
}

/* Runs and VMAs both ascend. The vdso, which no tracker looks at, is written in full. */
static int copy_runs(struct copier *c, const struct task *task, const struct track_runs *runs,
		     struct err *err)
{
	struct holes holes = {};
	size_t k = 0;
	int rc = 0;

	holes_find(&holes, task);
	for (size_t i = 0; !rc && i < task->mm->n_vmas; i++) {
		const VmaEntry *e = task->mm->vmas[i];

		if (e->status & VMA_VDSO) {
			struct track_run all = { e->start, e->end, .written = true };

			rc = copier_take(c, e, &all, e->start, e->end, err);
		}
		if (e->status & (VMA_VDSO | VMA_GUARD) || !vma_has_pages(e))
			continue;
		while (k < runs->n && runs->run[k].end <= e->start)
			k++;
		for (size_t j = k; !rc && j < runs->n && runs->run[j].start < e->end; j++)
			rc = take_in_vma(c, e, &runs->run[j], &holes, err);
	}
	free(holes.v);
	if (!rc)
		rc = copier_flush(c, err);
	give_lent(c);
	return rc;
}

struct track_vma *memory_tracked(const struct task *task, size_t *n)
{
	const MmEntry *mm = task->mm;
	struct track_vma *v = xcalloc(mm->n_vmas, sizeof(*v));

	*n = 0;
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *e = mm->vmas[i];

		if (!vma_has_pages(e) || e->status & VMA_VDSO || e->flags & MAP_DROPPABLE)
			continue;
		v[(*n)++] = (struct track_vma) { .start = e->start,
						 .end = e->end,
						 .file = e->status & VMA_FILE_PRIVATE };
	}
	return v;
}

static int save_task(struct pages_run *r, struct task *task, struct err *err)
{
	struct copier c = { .s = r->s, .object = task->pid, .mem = -1 };
	scoped struct track_vma *vma = NULL;
	struct track_runs runs = {};
	char name[64];
	size_t n;
	int rc;

	c.spool = r->spool;
	c.precopied = memory_precopied(r->s, task);
	c.piece = r->piece;
	snprintf(name, sizeof(name), "pagemap-%d.img", task->pid);
	vma = memory_tracked(task, &n);
	rc = track_scan(r->s->track, task, vma, n, &runs, err);
	if (!rc && r->parents)
		rc = parents_of(r->parents, task->pid, &c.parent, err);
	if (!rc)
		rc = c.mem = proc_openat(task->proc, "mem", O_RDONLY);
	if (rc >= 0)
		rc = begin_pagemap(r, &c.w, name, err);
	if (!rc)
		rc = copy_runs(&c, task, &runs, err);
	if (!rc)
		end_pagemap(r, c.w);
	track_runs_release(&runs);
	if (c.mem >= 0)
		close(c.mem);
	return rc < 0 ? err_add(err, rc, "task %d", task->pid) : 0;
}

/* --- shared objects ----------------------------------------------------------------- */

/*
 * No tracker sees every store into shared memory: a sibling that has exited since,
 * a write(2), a process outside of the tree. Content is what decides here.
 */
struct shared_copy {
	struct pages_run *r;
	struct pages_writer *w;
	const struct memfd_object *o;
	int fd;
	const struct chain_links *links; /* NULL: .parent is false */
	bool parent;			 /* .src is the parent's content */
	struct page_sources src;
	struct page_file **file; /* per level, opened when needed */
	size_t at;		 /* source that was looked at last */
};

static void shared_parent(struct shared_copy *c, const char *name)
{
	struct pages_run *r = c->r;

	if (!r->parents || track_compares(r->s->track))
		return;
	c->links = parents_links(r->parents);
	c->parent = !chain_resolve(&c->src, c->links, name, NULL);
	c->file = xcalloc(c->links->n, sizeof(struct page_file *));
}

/* The parent's bytes of one page in @page; false when it has none. */
static bool parent_page(struct shared_copy *c, uint64_t offset, char *page)
{
	const struct page_source *s;
	struct page_file **f;

	while (c->at < c->src.n &&
	       c->src.src[c->at].vaddr + c->src.src[c->at].nr_pages * PAGE_SIZE <= offset)
		c->at++;
	s = &c->src.src[c->at];
	if (c->at == c->src.n || s->vaddr > offset)
		return false;
	f = &c->file[s->level];
	if (!*f && chain_pages(f, c->links, &c->src, s->level, NULL) < 0)
		return false;
	return pread(page_file_fd(*f), page, PAGE_SIZE, s->offset + (offset - s->vaddr)) ==
	       (ssize_t)PAGE_SIZE;
}

static uint32_t shared_fate(struct shared_copy *c, uint64_t offset, const char *page)
{
	struct track *t = c->r->s->track;
	bool same;

	if (page_is_zero(page)) {
		c->r->s->pages_zero++;
		return 0;
	}
	if (track_compares(t))
		same = track_same(t, TRACK_SHMEM | c->o->inode->shmid, offset, page) &&
		       c->r->parents;
	else
		same = c->parent && parent_page(c, offset, c->r->other) &&
		       !memcmp(c->r->other, page, PAGE_SIZE);
	return same ? PAGE_IN_PARENT : PAGE_PRESENT;
}

/* The last page of an object whose size is odd holds bytes that only mappings reach. */
static int shared_tail(struct shared_copy *c, uint64_t offset, char *page, struct err *err)
{
	void *p = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, c->fd, offset);

	if (p == MAP_FAILED)
		return err_errno(err, "mapping the last page");
	memcpy(page, p, PAGE_SIZE);
	munmap(p, PAGE_SIZE);
	return 0;
}

/* At most a buffer of data at @offset. */
static int shared_block(struct shared_copy *c, uint64_t offset, uint64_t n, struct err *err)
{
	struct gather g = {};
	uint64_t got = 0;
	char *page;
	int rc = spool_room(c->r->spool, &g.buffer, err);

	if (rc < 0)
		return rc;
	page = g.buffer;
	while (got < n) {
		ssize_t part = pread(c->fd, page + got, n - got, offset + got);

		if (part < 0)
			return err_errno(err, "reading at %#" PRIx64, offset + got);
		if (!part)
			break;
		got += part;
	}
	if (got + PAGE_SIZE <= n)
		return err_set(err, -EIO, "it became shorter while it was read");
	if (got < n) {
		uint64_t last = n - PAGE_SIZE;

		rc = shared_tail(c, offset + last, page + last, err);
		if (rc < 0)
			return rc;
	}
	c->r->s->pages_used += n / PAGE_SIZE;
	progress_add(c->r->s->progress, n / PAGE_SIZE);
	for (uint64_t at = offset; at < offset + n; at += PAGE_SIZE, page += PAGE_SIZE)
		gather_page(&g, c->w, at, page, shared_fate(c, at, page));
	spool_put(c->r->spool, g.n * PAGE_SIZE, c->w);
	return 0;
}

static int shared_data(struct shared_copy *c, struct err *err)
{
	uint64_t size = c->o->inode->size, at = 0;

	while (at < size) {
		off_t data = lseek(c->fd, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return 0;
		hole = data < 0 ? -1 : lseek(c->fd, data, SEEK_HOLE);
		if (hole < 0)
			return err_errno(err, "looking for data");
		at = data & ~(PAGE_SIZE - 1);
		while (at < (uint64_t)hole) {
			uint64_t n = ((uint64_t)hole - at + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
			int rc;

			n = lower(n, BUFFER_PAGES * PAGE_SIZE);
			rc = shared_block(c, at, n, err);
			if (rc < 0)
				return rc;
			at += n;
		}
	}
	return 0;
}

static int save_object(struct pages_run *r, const struct memfd_object *o, struct err *err)
{
	struct shared_copy c = { .r = r, .o = o };
	char name[64];
	int rc;

	if (!o->inode->size)
		return 0;
	snprintf(name, sizeof(name), "pagemap-shmem-%u.img", o->inode->shmid);
	c.fd = proc_openat(o->task->proc, o->link, O_RDONLY);
	if (c.fd < 0)
		return err_code(err, c.fd, "task %d: opening %s", o->task->pid, o->link);
	shared_parent(&c, name);
	rc = begin_pagemap(r, &c.w, name, err);
	if (!rc)
		rc = shared_data(&c, err);
	if (!rc)
		end_pagemap(r, c.w);
	for (size_t i = 0; c.file && i < c.links->n; i++)
		page_file_release(&c.file[i]);
	free(c.file);
	page_sources_release(&c.src);
	close(c.fd);
	return rc < 0 ? err_add(err, rc, "shared memory '%s'", o->inode->name) : 0;
}

/* --- all of it ------------------------------------------------------------------------ */

static void run_close(struct pages_run *r)
{
	free(r->other);
	free(r->piece);
}

int memory_save(struct saver *s, struct err *err)
{
	struct pages_run r = { .s = s, .next_id = 1 };
	const struct memfd_object *object;
	size_t n = memfd_objects(s->files, &object);
	struct task *task;
	int rc = memory_parents(s, &r.parents, err);

	r.spool = memory_spool(s);
	if (memory_late_fits(s))
		memory_late_begin(s);
	r.other = xmalloc(PAGE_SIZE);
	r.piece = xcalloc(MAX_PIECES, sizeof(*r.piece));
	for_each_live_task (task, s->tree)
		if (!rc)
			rc = save_task(&r, task, err);
	s->shared = (struct page_counts) { s->pages_used, s->pages_written, s->pages_parent };
	for (size_t i = 0; !rc && i < n; i++)
		rc = save_object(&r, &object[i], err);
	s->shared.used = s->pages_used - s->shared.used;
	s->shared.written = s->pages_written - s->shared.written;
	s->shared.parent = s->pages_parent - s->shared.parent;
	run_close(&r);
	return rc;
}
