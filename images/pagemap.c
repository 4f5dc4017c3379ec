/* pagemap.c - writing runs of pages, and reading them back checked. */
#include "images/pagemap.h"
#include "images/checksum.h"
#include "images/img-internal.h"
#include "base/mem.h"
#include "proto/pagemap.pb-c.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* --- writing ---------------------------------------------------------------------- */

struct pages_writer {
	int dirfd; /* the caller's */
	int fd;	   /* -1: not there yet */
	char *name, *pagemap;
	uint32_t pages_id;
	struct pagemap_run *run;
	size_t n, cap;
	uint64_t written, parent; /* pages */
	uint64_t put;		  /* bytes */
	struct block_sums *sums;
};

int pages_create(struct pages_writer **out, struct err *err, int dirfd, uint32_t pages_id,
		 const char *pagemap_fmt, ...)
{
	char name[NAME_MAX + 1];
	struct pages_writer *w;
	va_list ap;
	int rc;

	va_start(ap, pagemap_fmt);
	rc = img_format_name(name, err, pagemap_fmt, ap);
	va_end(ap);
	if (rc < 0)
		return rc;
	w = xcalloc(1, sizeof(*w));
	w->dirfd = dirfd;
	w->pages_id = pages_id;
	w->pagemap = xstrdup(name);
	w->name = xasprintf("pages-%u.img", pages_id);
	w->fd = -1;
	w->sums = block_sums_new();
	*out = w;
	return 0;
}

void pages_add(struct pages_writer *w, uint64_t vaddr, uint64_t nr_pages, uint32_t flags)
{
	struct pagemap_run *last = w->n ? &w->run[w->n - 1] : NULL;
	uint64_t end = last ? last->vaddr + last->nr_pages * IMG_PAGE_SIZE : 0;
	struct pagemap_run run = {
		.vaddr = vaddr,
		.nr_pages = nr_pages,
		.flags = flags,
		.offset = w->written * IMG_PAGE_SIZE,
	};

	assert(vaddr % IMG_PAGE_SIZE == 0 && vaddr >= end && nr_pages);
	assert(vaddr < PAGEMAP_END && nr_pages <= (PAGEMAP_END - vaddr) / IMG_PAGE_SIZE);
	assert(!(flags & PAGE_PRESENT) != !(flags & PAGE_IN_PARENT));
	if (last && vaddr == end && flags == last->flags)
		last->nr_pages += nr_pages;
	else
		ARRAY_PUSH(w->run, w->n, w->cap, run);
	if (flags & PAGE_PRESENT)
		w->written += nr_pages;
	else
		w->parent += nr_pages;
}

void pages_sum(struct pages_writer *w, const void *bytes, size_t len)
{
	block_sums_add(w->sums, bytes, len);
}

static int make_file(struct pages_writer *w, struct err *err)
{
	if (w->fd >= 0)
		return 0;
	w->fd = openat(w->dirfd, w->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	return w->fd < 0 ? err_errno(err, "%s: create", w->name) : 0;
}

int pages_put(struct pages_writer *w, const void *bytes, size_t len, struct err *err)
{
	int rc = make_file(w, err);

	if (rc < 0)
		return rc;
	rc = full_pwrite(w->fd, bytes, len, w->put);
	if (rc < 0)
		return err_code(err, rc, "%s: write at offset %llu", w->name,
				(unsigned long long)w->put);
	w->put += len;
	return 0;
}

int pages_write(struct pages_writer *w, uint64_t vaddr, const void *bytes, uint64_t nr_pages,
		uint32_t flags, struct err *err)
{
	pages_add(w, vaddr, nr_pages, flags);
	if (!(flags & PAGE_PRESENT))
		return 0;
	pages_sum(w, bytes, nr_pages * IMG_PAGE_SIZE);
	return pages_put(w, bytes, nr_pages * IMG_PAGE_SIZE, err);
}

uint64_t pages_written(const struct pages_writer *w)
{
	return w->written;
}

uint64_t pages_parent(const struct pages_writer *w)
{
	return w->parent;
}

static int write_runs(const struct pages_writer *w, struct img_writer *img, struct err *err)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	int rc;

	head.pages_id = w->pages_id;
	rc = img_append(img, &head, err);
	for (size_t i = 0; i < w->n && !rc; i++) {
		PagemapEntry e = PAGEMAP_ENTRY__INIT;

		e.vaddr = w->run[i].vaddr;
		e.has_flags = true;
		e.flags = w->run[i].flags;
		/* Readers of either generation look at one of the two. A run of 16 TiB has no
		 * place in the older field; such readers could not map it anyway. */
		e.has_nr_pages = true;
		e.nr_pages = w->run[i].nr_pages;
		e.compat_nr_pages = e.nr_pages <= UINT32_MAX ? e.nr_pages : 0;
		rc = img_append(img, &e, err);
	}
	return rc;
}

/* Whoever filled the pages file may have been wrong, and so may the file system. */
static int check_length(const struct pages_writer *w, struct err *err)
{
	struct stat st;

	if (fstat(w->fd, &st) < 0)
		return err_errno(err, "%s: stat", w->name);
	if ((uint64_t)st.st_size != w->written * IMG_PAGE_SIZE)
		return err_set(err, -EIO, "%s: has %lld bytes, its pagemap says %llu", w->name,
			       (long long)st.st_size,
			       (unsigned long long)w->written * IMG_PAGE_SIZE);
	return 0;
}

int pages_close(struct pages_writer **wp, SdBlockSums **sums, struct err *err)
{
	struct pages_writer *w = *wp;
	scoped_writer img = NULL;
	int rc = make_file(w, err);

	if (!rc)
		rc = check_length(w, err);
	if (!rc)
		rc = img_create(&img, err, w->dirfd, "%s", w->pagemap);
	if (!rc)
		rc = write_runs(w, img, err);
	if (!rc)
		rc = img_close(&img, err);
	if (!rc && sums)
		*sums = block_sums_message(w->sums, w->name);
	pages_writer_release(wp);
	return rc;
}

void pages_writer_release(struct pages_writer **wp)
{
	struct pages_writer *w = *wp;

	if (!w)
		return;
	mem_close_p(&w->fd);
	block_sums_free(w->sums);
	free(w->name);
	free(w->pagemap);
	free(w->run);
	free(w);
	*wp = NULL;
}

/* --- reading ---------------------------------------------------------------------- */

static int run_check(const struct pagemap *p, const struct pagemap_run *run,
		     const struct img_reader *r, struct err *err)
{
	const struct pagemap_run *last = p->n ? &p->run[p->n - 1] : NULL;
	unsigned long long at = run->vaddr;

	if (at % IMG_PAGE_SIZE)
		return img_error(r, err, "run at %#llx is not page aligned", at);
	if (!run->nr_pages || at >= PAGEMAP_END ||
	    run->nr_pages > (PAGEMAP_END - at) / IMG_PAGE_SIZE)
		return img_error(r, err, "run at %#llx of %llu pages", at,
				 (unsigned long long)run->nr_pages);
	if (last && at < last->vaddr + last->nr_pages * IMG_PAGE_SIZE)
		return img_error(r, err, "run at %#llx begins before the end of the one before it",
				 at);
	if (run->flags & ~(PAGE_IN_PARENT | PAGE_LAZY | PAGE_PRESENT) || !run->flags ||
	    (run->flags & PAGE_IN_PARENT && run->flags & PAGE_PRESENT))
		return img_error(r, err, "run at %#llx has flags %#x", at, run->flags);
	return 0;
}

static void run_of(struct pagemap_run *run, const PagemapEntry *e, uint64_t offset)
{
	*run = (struct pagemap_run) {
		.vaddr = e->vaddr,
		.nr_pages = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages,
		.offset = offset,
		.flags = e->has_flags	? e->flags
			 : e->in_parent ? PAGE_IN_PARENT
					: PAGE_PRESENT,
	};
}

static int load_runs(struct pagemap *p, struct img_reader *r, uint64_t *bytes, struct err *err)
{
	PagemapEntry *e;
	int rc;

	while ((rc = img_next(r, &e, err)) > 0) {
		struct pagemap_run run;

		run_of(&run, e, *bytes);
		pagemap_entry__free_unpacked(e, NULL);
		rc = run_check(p, &run, r, err);
		if (rc < 0)
			return rc;
		if (run.flags & PAGE_PRESENT)
			*bytes += run.nr_pages * IMG_PAGE_SIZE;
		ARRAY_PUSH(p->run, p->n, p->cap, run);
	}
	return rc;
}

static int check_pages_file(const struct pagemap *p, int dirfd, uint64_t bytes, struct err *err)
{
	scoped char *name = xasprintf("pages-%u.img", p->pages_id);
	scoped_fd fd = -1;
	uint64_t size;

	if (!bytes)
		return 0;
	fd = img_open_file(dirfd, name, &size, err);
	if (fd < 0)
		return fd == -ENOENT ? -EBADMSG : fd;
	if (size < bytes)
		return err_set(err, -EBADMSG, "%s: has %llu bytes, its pagemap says %llu", name,
			       (unsigned long long)size, (unsigned long long)bytes);
	return 0;
}

int pagemap_load(struct pagemap *p, int dirfd, const char *name, struct err *err)
{
	scoped_reader r = NULL;
	PagemapHead *head;
	uint64_t bytes = 0;
	int rc = img_open(&r, err, dirfd, "%s", name);

	if (rc < 0)
		return rc;
	if (img_family(r)->first != &pagemap_head__descriptor)
		return err_set(err, -EINVAL, "%s: not a pagemap", name);
	rc = img_next(r, &head, err);
	if (!rc)
		return img_error(r, err, "file has no entry");
	if (rc < 0)
		return rc;
	p->pages_id = head->pages_id;
	pagemap_head__free_unpacked(head, NULL);
	rc = load_runs(p, r, &bytes, err);
	if (rc < 0)
		return rc;
	rc = check_pages_file(p, dirfd, bytes, err);
	return rc < 0 ? err_add(err, rc, "%s", name) : 0;
}

void pagemap_release(struct pagemap *p)
{
	free(p->run);
	*p = (struct pagemap) {};
}

const struct pagemap_run *pagemap_find(const struct pagemap *p, uint64_t vaddr)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct pagemap_run *run = &p->run[mid];

		if (vaddr < run->vaddr)
			high = mid;
		else if (vaddr >= run->vaddr + run->nr_pages * IMG_PAGE_SIZE)
			low = mid + 1;
		else
			return run;
	}
	return NULL;
}
