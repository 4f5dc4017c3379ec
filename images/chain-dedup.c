/* chain-dedup.c - giving back to the disk what parents hold in vain. */
#include "images/chain-internal.h"
#include "images/img-internal.h"
#include "base/mem.h"
#include "proto/inventory.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

/* Bytes [start, end) of pages-@id.img at @level that the youngest needs. */
struct need {
	uint32_t level, id;
	uint64_t start, end;
};

struct dedup {
	struct chain_links links;
	struct need *need;
	size_t n, cap;
	uint64_t *pages;
	bool look_only; /* nothing is punched, only found out: */
	bool in_vain;	/* there is something to punch */
};

/* --- what is needed ------------------------------------------------------------------------ */

static int add_needs(struct dedup *d, const char *pagemap, struct err *err)
{
	struct page_sources s = {};
	int rc = chain_resolve(&s, &d->links, pagemap, err);

	for (size_t i = 0; !rc && i < s.n; i++) {
		const struct page_source *src = &s.src[i];
		struct need need = { .level = src->level,
				     .id = s.pages_id[src->level],
				     .start = src->offset,
				     .end = src->offset + src->nr_pages * IMG_PAGE_SIZE };

		if (src->level)
			ARRAY_PUSH(d->need, d->n, d->cap, need);
	}
	page_sources_release(&s);
	return rc;
}

static int by_place(const void *a, const void *b)
{
	const struct need *x = a, *y = b;

	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->start > y->start) - (x->start < y->start);
}

static int collect_needs(struct dedup *d, struct err *err)
{
	char **names;
	size_t n;
	int rc = img_names(&names, &n, d->links.link[0].dirfd, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n && !rc; i++)
		if (!strncmp(names[i], "pagemap-", 8))
			rc = add_needs(d, names[i], err);
	img_names_release(names, n);
	if (d->n)
		qsort(d->need, d->n, sizeof(*d->need), by_place);
	return rc;
}

/* --- what is not ------------------------------------------------------------------------------ */

static uint64_t allocated(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

static int punch(struct dedup *d, int fd, const char *name, uint64_t start, uint64_t end,
		 struct err *err)
{
	if (start >= end)
		return 0;
	d->in_vain = true;
	if (d->look_only)
		return 0;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start,
		      (off_t)(end - start)) < 0)
		return err_errno(err, "%s: offset %llu: fallocate", name,
				 (unsigned long long)start);
	return 0;
}

/* All of the file but what is needed of it. */
static int punch_file(struct dedup *d, uint32_t level, uint32_t id, const char *name,
		      struct err *err)
{
	scoped_fd fd = openat(d->links.link[level].dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	uint64_t at = 0, before, after;
	struct stat st;
	int rc = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "%s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s: is not a regular file", name);
	before = allocated(fd);
	for (size_t i = 0; i < d->n && !rc; i++) {
		const struct need *need = &d->need[i];

		if (need->level != level || need->id != id)
			continue;
		rc = punch(d, fd, name, at, need->start, err);
		at = need->end > at ? need->end : at;
	}
	if (!rc)
		rc = punch(d, fd, name, at, (uint64_t)st.st_size, err);
	if (!rc && !d->look_only && fsync(fd) < 0)
		rc = err_errno(err, "%s: fsync", name);
	after = allocated(fd);
	*d->pages += before > after ? (before - after) / IMG_PAGE_SIZE : 0;
	return rc;
}

static bool pages_number(const char *name, uint32_t *id)
{
	int end = 0;

	return sscanf(name, "pages-%u.img%n", id, &end) == 1 && end && !name[end];
}

static int punch_level(struct dedup *d, uint32_t level, struct err *err)
{
	char **names;
	size_t n;
	uint32_t id;
	int rc = img_names(&names, &n, d->links.link[level].dirfd, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n && !rc; i++)
		if (pages_number(names[i], &id))
			rc = punch_file(d, level, id, names[i], err);
	img_names_release(names, n);
	return rc;
}

/* --- the record of it ---------------------------------------------------------------------------- */

static SdFileSum *inventory_sum(SdCheckpoint *info)
{
	for (size_t i = 0; i < info->n_files; i++)
		if (!strcmp(info->files[i]->name, "inventory.img"))
			return info->files[i];
	return NULL;
}

/* From here on neither the inventory nor the pages are compared with what they were. */
static int stop_checking(struct chain_link *link, struct err *err)
{
	SdCheckpoint *info = link->info;
	SdFileSum *inventory = inventory_sum(info);

	for (size_t i = 0; i < info->n_pages; i++) {
		info->pages[i]->has_unchecked = info->pages[i]->unchecked = true;
		info->pages[i]->n_hash = 0;
	}
	for (size_t i = 0; inventory && i < info->n_files; i++)
		if (info->files[i] == inventory) {
			sd_file_sum__free_unpacked(inventory, NULL);
			info->files[i] = info->files[--info->n_files];
			break;
		}
	return chain_replace(link->dirfd, "criu-lite.img", info, err);
}

static int memory_only(const struct chain_link *link, struct err *err)
{
	InventoryEntry *e;
	int rc = img_read_one(&e, err, link->dirfd, "inventory.img");

	if (rc < 0)
		return rc;
	if (e->img_version) {
		e->img_version = 0;
		rc = chain_replace(link->dirfd, "inventory.img", e, err);
	}
	inventory_entry__free_unpacked(e, NULL);
	return rc;
}

static int sum_pages(const struct chain_link *link, SdBlockSums **s, struct err *err)
{
	const char *name = (*s)->name;
	scoped_fd fd = img_open_file(link->dirfd, name, NULL, err);
	SdBlockSums *fresh;
	int rc = fd < 0 ? fd : sum_blocks(&fresh, fd, name, err);

	if (rc < 0)
		return rc;
	sd_block_sums__free_unpacked(*s, NULL);
	*s = fresh;
	return 0;
}

static int add_inventory_sum(struct chain_link *link, struct err *err)
{
	SdCheckpoint *info = link->info;
	scoped_fd fd = img_open_file(link->dirfd, "inventory.img", NULL, err);
	SdFileSum *s = xmalloc(sizeof(*s));
	int rc;

	sd_file_sum__init(s);
	s->name = xstrdup("inventory.img");
	rc = fd < 0 ? fd : sum_file(fd, s->name, &s->size, &s->hash, err);
	info->files = xreallocarray(info->files, info->n_files + 1, sizeof(*info->files));
	info->files[info->n_files++] = s;
	return rc;
}

static int check_again(struct chain_link *link, struct err *err)
{
	SdCheckpoint *info = link->info;
	int rc = add_inventory_sum(link, err);

	for (size_t i = 0; i < info->n_pages && !rc; i++)
		rc = sum_pages(link, &info->pages[i], err);
	return rc ? rc : chain_replace(link->dirfd, "criu-lite.img", info, err);
}

/*
 * In this order whatever becomes of us leaves a chain that can be read: no
 * sum is wrong at any time, it is only missing for a while.
 */
static int dedup_level(struct dedup *d, uint32_t level, struct err *err)
{
	struct chain_link *link = &d->links.link[level];
	int rc = 0;

	if (flock(link->dirfd, LOCK_EX | LOCK_NB) < 0)
		return err_errno(err, "lock");
	d->look_only = true;
	d->in_vain = false;
	rc = punch_level(d, level, err);
	d->look_only = false;
	if (rc < 0 || !d->in_vain)
		return rc;
	if (link->info && link->info->seq)
		return err_set(err, -EINVAL,
			       "is one of a chain of sd-dump, which is never changed");
	if (link->info)
		rc = stop_checking(link, err);
	if (!rc)
		rc = memory_only(link, err);
	if (!rc)
		rc = punch_level(d, level, err);
	if (!rc && link->info)
		rc = check_again(link, err);
	return rc;
}

int chain_dedup(int dirfd, uint64_t *pages, struct err *err)
{
	struct dedup d = { .pages = pages };
	int rc = chain_follow(&d.links, dirfd, 0, err);

	*pages = 0;
	if (!rc)
		rc = collect_needs(&d, err);
	for (uint32_t level = 1; level < d.links.n && !rc; level++) {
		rc = dedup_level(&d, level, err);
		if (rc < 0)
			err_add(err, rc, "%s", d.links.link[level].name);
	}
	free(d.need);
	chain_links_release(&d.links);
	return rc;
}
