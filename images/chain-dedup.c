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
	bool look_only;	  /* nothing is punched, only found out: */
	bool *in_vain;	  /* per level: there is something to punch */
	uint32_t deepest; /* the last level of which that is so; 0: none */
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

static int punch(struct dedup *d, uint32_t level, int fd, const char *name, uint64_t start,
		 uint64_t end, struct err *err)
{
	if (start >= end)
		return 0;
	d->in_vain[level] = true;
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
		rc = punch(d, level, fd, name, at, need->start, err);
		at = need->end > at ? need->end : at;
	}
	if (!rc)
		rc = punch(d, level, fd, name, at, (uint64_t)st.st_size, err);
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

/* Whose pages were kept: a child of this one that is no ancestor of the youngest is refused. */
static void keep_for(SdCheckpoint *info, const SdCheckpoint *youngest)
{
	if (!youngest)
		return;
	free(info->kept_for);
	info->kept_for = xstrdup(youngest->chain_id);
}

/* From here on neither the inventory nor pages that go are compared with what they were. */
static int stop_checking(struct dedup *d, uint32_t level, struct err *err)
{
	struct chain_link *link = &d->links.link[level];
	SdCheckpoint *info = link->info;
	SdFileSum *inventory = inventory_sum(info);

	keep_for(info, d->links.link[0].info);
	for (size_t i = 0; i < info->n_pages && d->in_vain[level]; i++) {
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

/* What was unchecked when it was read is so because somebody was interrupted here. */
static int check_again(struct chain_link *link, struct err *err)
{
	SdCheckpoint *info = link->info;
	int rc = add_inventory_sum(link, err);

	for (size_t i = 0; i < info->n_pages && !rc; i++)
		if (info->pages[i]->unchecked)
			rc = sum_pages(link, &info->pages[i], err);
	return rc ? rc : chain_replace(link->dirfd, "criu-lite.img", info, err);
}

/* --- level by level --------------------------------------------------------------------------- */

/* Is there something to punch? From here on nobody else changes it. */
static int look(struct dedup *d, uint32_t level, struct err *err)
{
	int rc;

	if (flock(d->links.link[level].dirfd, LOCK_EX | LOCK_NB) < 0)
		return err_errno(err, "lock");
	d->look_only = true;
	rc = punch_level(d, level, err);
	d->look_only = false;
	if (d->in_vain[level])
		d->deepest = level;
	return rc;
}

static int may_change(struct dedup *d, uint32_t level, struct err *err)
{
	const SdCheckpoint *info = d->links.link[level].info;

	if (info && info->seq)
		return err_set(err, -EINVAL,
			       "is one of a chain of sd-dump, which is never changed");
	return 0;
}

static int mark(struct dedup *d, uint32_t level, struct err *err)
{
	struct chain_link *link = &d->links.link[level];
	int rc = link->info ? stop_checking(d, level, err) : 0;

	return rc ? rc : memory_only(link, err);
}

static int give_back(struct dedup *d, uint32_t level, struct err *err)
{
	struct chain_link *link = &d->links.link[level];
	int rc = d->in_vain[level] ? punch_level(d, level, err) : 0;

	return !rc && link->info ? check_again(link, err) : rc;
}

/* Of each parent down to @last. */
static int each_level(struct dedup *d, uint32_t last,
		      int (*step)(struct dedup *d, uint32_t level, struct err *err),
		      struct err *err)
{
	for (uint32_t level = 1; level <= last; level++) {
		int rc = step(d, level, err);

		if (rc < 0)
			return err_add(err, rc, "%s", d->links.link[level].name);
	}
	return 0;
}

/*
 * A level between the youngest and one that loses pages may lead to them: whether it loses
 * some itself or not, it is memory only from then on. In this order whatever becomes of us
 * leaves a chain that can be read: no sum is wrong at any time, it is only missing for a
 * while; and nothing is lost that is not said to be.
 */
static int dedup_levels(struct dedup *d, struct err *err)
{
	int rc = each_level(d, (uint32_t)d->links.n - 1, look, err);

	if (!rc)
		rc = each_level(d, d->deepest, may_change, err);
	if (!rc)
		rc = each_level(d, d->deepest, mark, err);
	return rc ? rc : each_level(d, d->deepest, give_back, err);
}

int chain_dedup(int dirfd, uint64_t *pages, struct err *err)
{
	struct dedup d = { .pages = pages };
	int rc = chain_follow(&d.links, dirfd, 0, err);

	*pages = 0;
	d.in_vain = xcalloc(d.links.n + 1, sizeof(*d.in_vain));
	if (!rc)
		rc = collect_needs(&d, err);
	if (!rc)
		rc = dedup_levels(&d, err);
	free(d.need);
	free(d.in_vain);
	chain_links_release(&d.links);
	return rc;
}
