/* vdso.c - the vdso and its data: out of the tool, parked, back to where each task had it. */
#include "criu-lite/restore/vdso.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define PAGE 4096ul

/* --- rows --------------------------------------------------------------------------- */

/* Piece by piece: before 6.17 mremap(2) does not move several mappings at once. */
static void move_rows(const struct nursery *h, struct plan *p, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < h->vdso.n; i++) {
		const struct vdso_piece *v = &h->vdso.piece[i];

		plan_add(p, PLAN_MUST, "move the vdso", SYS_mremap, from + v->offset, v->len,
			 v->len, MREMAP_MAYMOVE | MREMAP_FIXED, to + v->offset);
	}
}

void vdso_park_rows(const struct nursery *h, struct plan *p)
{
	move_rows(h, p, h->vdso.piece[0].start, h->park);
}

/* --- where a task had it --------------------------------------------------------------- */

#define VMA_VDSO (1u << 3)
#define VMA_VVAR (1u << 12)

/* Where the whole lay in @t; 0: it had none. */
static int old_place(const struct nursery *h, const struct task *t, uint64_t *at, struct err *err)
{
	const struct vdso_piece *code = h->vdso.code;
	const VmaEntry *vdso = NULL, *vvar = NULL;
	uint64_t vvar_len = 0;

	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (v->status & VMA_VDSO)
			vdso = v;
		if (v->status & VMA_VVAR) {
			vvar = vvar ? vvar : v;
			vvar_len += v->end - v->start;
		}
	}
	*at = 0;
	if (!vdso && !vvar)
		return 0;
	if (!vdso || !code || vdso->end - vdso->start != code->len ||
	    h->vdso.len - code->len != vvar_len || vdso->start < code->offset ||
	    (vvar && vvar->start != vdso->start - code->offset + (code->offset ? 0 : code->len)))
		return err_set(
			err, ERR_REFUSED,
			"task %d: its vdso and vvar are not laid out as this kernel has them",
			t->pid);
	*at = vdso->start - code->offset;
	return 0;
}

int vdso_place(struct nursery *h, struct err *err)
{
	struct task *t;

	for_each_live_task (t, h->tree) {
		struct newborn *n = newborn_leader(t, h);
		struct plan *p = &newborn_batch(n)->plan;
		uint64_t at;
		int rc = old_place(h, t, &at, err);

		if (rc < 0)
			return rc;
		if (at)
			move_rows(h, p, h->park, at);
		else if (h->vdso.len)
			plan_add(p, PLAN_MUST, "drop the vdso", SYS_munmap, h->park, h->vdso.len);
	}
	return nursery_flush(h, err);
}

/* --- images of another program ---------------------------------------------------------- */

static const VmaEntry *vdso_of(const struct task *t)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->status & VMA_VDSO)
			return t->mm->vmas[i];
	return NULL;
}

struct saved {
	struct chain_links links;
	struct page_sources src;
};

/* 1: read; 0: no image holds the page. */
static int read_page(struct saved *s, uint64_t addr, uint8_t *page, struct err *err)
{
	const struct page_source *src = NULL;
	struct page_file *f = NULL;
	ssize_t got;
	int rc;

	for (size_t i = 0; i < s->src.n && !src; i++)
		if (addr >= s->src.src[i].vaddr &&
		    addr < s->src.src[i].vaddr + s->src.src[i].nr_pages * PAGE)
			src = &s->src.src[i];
	if (!src)
		return 0;
	rc = chain_pages(&f, &s->links, &s->src, src->level, err);
	if (rc < 0)
		return rc;
	got = pread(page_file_fd(f), page, PAGE, (off_t)(src->offset + (addr - src->vaddr)));
	page_file_release(&f);
	if (got != (ssize_t)PAGE)
		return err_set(err, -EBADMSG, "a page of the vdso at %#" PRIx64 " is cut off",
			       addr);
	return 1;
}

static int same_code(struct saved *s, const VmaEntry *v, const struct vdso_piece *own,
		     struct err *err)
{
	uint8_t page[PAGE];

	for (uint64_t at = 0; v->start + at < v->end && at < own->len; at += PAGE) {
		int rc = read_page(s, v->start + at, page, err);

		if (rc < 0)
			return rc;
		if (rc && memcmp(page, (const void *)(uintptr_t)(own->start + at), PAGE))
			return err_set(err, ERR_REFUSED,
				       "the vdso of the kernel where the images were made is not "
				       "the vdso of this kernel");
	}
	return 0;
}

static int check_task(const struct loaded *l, const struct task *t, const struct vdso_piece *own,
		      struct err *err)
{
	scoped char *name = xasprintf("pagemap-%d.img", t->pid);
	const VmaEntry *v = vdso_of(t);
	struct saved s = {};
	int rc = 0;

	if (v)
		rc = chain_follow(&s.links, chain_dirfd(l->chain), l->seq, err);
	if (v && !rc)
		rc = chain_resolve(&s.src, &s.links, name, err);
	if (v && !rc)
		rc = same_code(&s, v, own, err);
	page_sources_release(&s.src);
	chain_links_release(&s.links);
	return rc < 0 ? err_add(err, rc, "task %d", t->pid) : 0;
}

int vdso_check(const struct nursery *h, const struct loaded *l, struct err *err)
{
	const struct vdso_piece *own = h->vdso.code;
	struct task *t;

	if (l->info || !own)
		return 0;
	for_each_live_task (t, &l->tree) {
		int rc = check_task(l, t, own, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}
