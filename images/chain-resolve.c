/* chain-resolve.c - following a checkpoint to its parents, and each page to the file that has it. */
#include "images/chain-internal.h"
#include "images/img-internal.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- links ------------------------------------------------------------------------------ */

/* "checkpoint 3"; for the plain ones the way that leads there. */
static void link_name(struct chain_link *link, const struct chain_link *child)
{
	if (link->seq)
		snprintf(link->name, sizeof(link->name), "checkpoint %u", link->seq);
	else if (!child)
		strlcpy(link->name, "checkpoint", sizeof(link->name));
	else if (strncmp(child->name, "parent", 6))
		strlcpy(link->name, "parent", sizeof(link->name));
	else
		snprintf(link->name, sizeof(link->name), "parent/%.60s", child->name);
}

static int link_open(struct chain_link *link, const struct chain_link *child,
		     const struct chain_at *at, struct err *err)
{
	int rc;

	*link = (struct chain_link) { .seq = at->seq };
	link_name(link, child);
	link->dirfd = chain_checkpoint(at->dirfd, at->seq, err);
	if (link->dirfd < 0)
		return link->dirfd;
	rc = chain_info(&link->info, link->dirfd, err);
	return rc == -ENOENT ? 0 : rc;
}

/* One that stands alone and was made so. */
static bool is_plain(const SdCheckpoint *info)
{
	return info && !info->seq;
}

static int child_check(const struct chain_link *link, const struct chain_link *child,
		       struct err *err)
{
	if (is_plain(child->info) &&
	    (!link->info || strcmp(child->info->parent_id, link->info->chain_id)))
		return err_set(err, -EBADMSG, "is not the one that its child was made on");
	if (!is_plain(child->info) && !link->info)
		return err_set(err, -EBADMSG,
			       "criu-lite.img: is missing, which the parent of %s must have",
			       child->name);
	if (!is_plain(child->info) && strcmp(child->info->chain_id, link->info->chain_id))
		return err_set(err, -EBADMSG, "criu-lite.img: is of another chain than %s",
			       child->name);
	return 0;
}

static int link_check(const struct chain_link *link, const struct chain_link *child,
		      uint32_t parent, bool has_parent, struct err *err)
{
	const SdCheckpoint *info = link->info;

	if (child && child->info) {
		int rc = child_check(link, child, err);

		if (rc < 0)
			return rc;
	}
	if (!info)
		return 0;
	if (info->seq != link->seq && link->seq)
		return err_set(err, -EBADMSG, "criu-lite.img: is that of checkpoint %u", info->seq);
	if (is_plain(info) && has_parent != (info->parent_id != NULL))
		return err_set(err, -EBADMSG, "parent: criu-lite.img says that there is %s",
			       info->parent_id ? "one" : "none");
	if (!is_plain(info) && (info->has_parent_seq ? info->parent_seq : 0) != parent)
		return err_set(err, -EBADMSG, "parent: leads to %u, criu-lite.img says %u", parent,
			       info->has_parent_seq ? info->parent_seq : 0);
	return 0;
}

/* Anywhere, but nobody else's: who can write there decides what memory will be. */
static int plain_parent(const struct chain_link *link, struct chain_at *next, struct err *err)
{
	struct stat st;
	int fd, rc;

	if (fstatat(link->dirfd, "parent", &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	fd = openat(link->dirfd, "parent", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "parent");
	rc = chain_check_owner(fd, "parent", err);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*next = (struct chain_at) { .dirfd = fd };
	return 0;
}

static int next_of(const struct chain_link *link, const struct chain_at *at, struct chain_at *next,
		   struct err *err)
{
	int rc;

	*next = (struct chain_at) { .dirfd = -1 };
	if (!at->seq && link->info && link->info->seq) {
		rc = chain_parent(link->dirfd, &next->seq, err);
		if (!rc && next->seq)
			rc = err_set(err, -EBADMSG, "parent: leads to %u, but %s", next->seq,
				     "this directory is not named by a number itself");
		return rc;
	}
	if (!at->seq)
		return plain_parent(link, next, err);
	rc = chain_parent(link->dirfd, &next->seq, err);
	if (!rc && next->seq)
		next->dirfd = at->dirfd;
	return rc;
}

static int seen(const struct chain_links *l, const struct chain_link *link, struct err *err)
{
	struct stat st, other;

	if (fstat(link->dirfd, &st) < 0)
		return err_errno(err, "stat");
	for (size_t i = 0; i + 1 < l->n; i++)
		if (!fstat(l->link[i].dirfd, &other) && st.st_dev == other.st_dev &&
		    st.st_ino == other.st_ino)
			return err_set(err, -ELOOP, "is its own ancestor");
	return 0;
}

/* What @link has lost, those do not need that came before the one it was kept for. */
static int kept_check(const struct chain_links *l, const struct chain_link *link, struct err *err)
{
	const SdCheckpoint *info = link->info;

	if (l->n < 2 || !info || !info->kept_for)
		return 0;
	for (size_t i = 0; i + 1 < l->n; i++)
		if (l->link[i].info && !strcmp(l->link[i].info->chain_id, info->kept_for))
			return 0;
	return err_set(err, -EBADMSG,
		       "criu-lite.img: pages were given back (dedup) that only a child with the id "
		       "%s can do without",
		       info->kept_for);
}

/* Appends what is at @at, tells its parent. */
static int follow_one(struct chain_links *l, const struct chain_at *at, struct chain_at *next,
		      struct err *err)
{
	struct chain_link link, *child = l->n ? &l->link[l->n - 1] : NULL;
	int rc = link_open(&link, child, at, err);

	if (link.dirfd >= 0)
		ARRAY_PUSH(l->link, l->n, l->cap, link);
	child = l->n > 1 ? &l->link[l->n - 2] : NULL;
	if (!rc)
		rc = seen(l, &link, err);
	if (!rc)
		rc = kept_check(l, &link, err);
	if (!rc)
		rc = next_of(&link, at, next, err);
	if (!rc)
		rc = link_check(&link, child, next->seq, next->dirfd >= 0, err);
	return rc < 0 ? err_add(err, rc, "%s", link.name) : 0;
}

int chain_follow(struct chain_links *l, int chain_dirfd, uint32_t seq, struct err *err)
{
	struct chain_at at = { .dirfd = chain_dirfd, .seq = seq }, next;
	int rc;

	do {
		next = (struct chain_at) { .dirfd = -1 };
		rc = follow_one(l, &at, &next, err);
		if (at.dirfd != chain_dirfd && at.dirfd != next.dirfd)
			close(at.dirfd);
		at = next;
	} while (!rc && at.dirfd >= 0);
	if (at.dirfd >= 0 && at.dirfd != chain_dirfd)
		close(at.dirfd);
	return rc;
}

void chain_links_release(struct chain_links *l)
{
	for (size_t i = 0; i < l->n; i++) {
		close(l->link[i].dirfd);
		if (l->link[i].info)
			sd_checkpoint__free_unpacked(l->link[i].info, NULL);
	}
	free(l->link);
	*l = (struct chain_links) {};
}

/* --- pages ------------------------------------------------------------------------------ */

/* Pages [vaddr, vaddr + nr_pages) are to be found in a parent. */
struct want {
	uint64_t vaddr, nr_pages;
};

struct wants {
	struct want *want;
	size_t n, cap;
};

struct resolve {
	struct page_sources *out;
	struct wants next; /* for the level below */
	const struct chain_links *links;
	const char *name;
	struct err *err;
};

static uint64_t run_end(uint64_t vaddr, uint64_t nr_pages)
{
	return vaddr + nr_pages * IMG_PAGE_SIZE;
}

/* Pages from @start to @end of @run belong into the answer, or are wanted from further down. */
static int take_part(struct resolve *rs, const struct pagemap_run *run, uint32_t level,
		     uint64_t start, uint64_t end)
{
	uint64_t nr_pages = (end - start) / IMG_PAGE_SIZE;

	if (run->flags & PAGE_PRESENT) {
		struct page_source src = {
			.vaddr = start,
			.nr_pages = nr_pages,
			.offset = run->offset + (start - run->vaddr),
			.level = level,
		};

		ARRAY_PUSH(rs->out->src, rs->out->n, rs->out->cap, src);
	} else if (run->flags & PAGE_IN_PARENT) {
		struct want want = { start, nr_pages };

		ARRAY_PUSH(rs->next.want, rs->next.n, rs->next.cap, want);
	} else {
		return err_set(rs->err, -EBADMSG, "%s: %s: page at %#llx was left to be sent later",
			       rs->links->link[level].name, rs->name, (unsigned long long)start);
	}
	return 0;
}

static int missing(struct resolve *rs, uint32_t level, uint64_t vaddr)
{
	return err_set(rs->err, -EBADMSG,
		       "%s: %s: page at %#llx should be in the parent, which has it not: %s",
		       rs->links->link[level - 1].name, rs->name, (unsigned long long)vaddr,
		       rs->links->link[level].name);
}

/* Both lists ascend: one pass over each. */
static int take_wants(struct resolve *rs, const struct wants *wants, const struct pagemap *map,
		      uint32_t level)
{
	size_t r = 0;

	for (size_t i = 0; i < wants->n; i++) {
		uint64_t at = wants->want[i].vaddr;
		uint64_t end = run_end(at, wants->want[i].nr_pages);

		while (at < end) {
			const struct pagemap_run *run;
			uint64_t stop;
			int rc;

			while (r < map->n && run_end(map->run[r].vaddr, map->run[r].nr_pages) <= at)
				r++;
			if (r == map->n || map->run[r].vaddr > at)
				return missing(rs, level, at);
			run = &map->run[r];
			stop = run_end(run->vaddr, run->nr_pages);
			stop = stop < end ? stop : end;
			rc = take_part(rs, run, level, at, stop);
			if (rc < 0)
				return rc;
			at = stop;
		}
	}
	return 0;
}

static int resolve_level(struct resolve *rs, const struct wants *wants, uint32_t level)
{
	const struct chain_link *link = &rs->links->link[level];
	struct pagemap map = {};
	int rc = pagemap_load(&map, link->dirfd, rs->name, rs->err);

	if (rc == -ENOENT && level)
		rc = 0; /* the task is younger than this parent */
	else if (rc < 0)
		err_add(rs->err, rc, "%s", link->name);
	rs->out->pages_id[level] = map.pages_id;
	if (!rc && level)
		rc = take_wants(rs, wants, &map, level);
	for (size_t i = 0; i < map.n && !rc && !level; i++)
		rc = take_part(rs, &map.run[i], level, map.run[i].vaddr,
			       run_end(map.run[i].vaddr, map.run[i].nr_pages));
	pagemap_release(&map);
	return rc;
}

static int by_address(const void *a, const void *b)
{
	const struct page_source *x = a, *y = b;

	return (x->vaddr > y->vaddr) - (x->vaddr < y->vaddr);
}

/* Parts that were cut at borders of other levels' runs may belong together again. */
static void sort_and_join(struct page_sources *s)
{
	size_t kept = 0;

	if (!s->n)
		return;
	qsort(s->src, s->n, sizeof(*s->src), by_address);
	for (size_t i = 1; i < s->n; i++) {
		struct page_source *last = &s->src[kept], *src = &s->src[i];
		uint64_t len = last->nr_pages * IMG_PAGE_SIZE;

		if (src->level == last->level && src->vaddr == last->vaddr + len &&
		    src->offset == last->offset + len)
			last->nr_pages += src->nr_pages;
		else
			s->src[++kept] = *src;
	}
	s->n = kept + 1;
}

int chain_resolve(struct page_sources *s, const struct chain_links *l, const char *pagemap,
		  struct err *err)
{
	struct resolve rs = { .out = s, .links = l, .name = pagemap, .err = err };
	struct wants wants = {};
	int rc = 0;

	s->pages_id = xcalloc(l->n, sizeof(*s->pages_id));
	for (uint32_t level = 0; level < l->n && !rc && (!level || wants.n); level++) {
		rs.next = (struct wants) {};
		rc = resolve_level(&rs, &wants, level);
		free(wants.want);
		wants = rs.next;
	}
	if (!rc && wants.n)
		rc = err_set(err, -EBADMSG, "%s: %s: page at %#llx should be in the parent, %s",
			     l->link[l->n - 1].name, pagemap,
			     (unsigned long long)wants.want[0].vaddr, "and there is no parent");
	free(wants.want);
	if (!rc)
		sort_and_join(s);
	return rc;
}

void page_sources_release(struct page_sources *s)
{
	free(s->src);
	free(s->pages_id);
	*s = (struct page_sources) {};
}

int chain_pages(struct page_file **out, const struct chain_links *l, const struct page_sources *s,
		uint32_t level, struct err *err)
{
	const struct chain_link *link = &l->link[level];
	scoped char *name = xasprintf("pages-%u.img", s->pages_id[level]);
	const SdBlockSums *sums = NULL;
	int rc;

	for (size_t i = 0; link->info && i < link->info->n_pages && !sums; i++)
		if (!strcmp(link->info->pages[i]->name, name))
			sums = link->info->pages[i];
	if (link->info && !sums)
		return err_set(err, -EBADMSG, "%s: criu-lite.img: no checksums of %s", link->name,
			       name);
	rc = page_file_open(out, link->dirfd, name, sums, err);
	return rc < 0 ? err_add(err, rc, "%s", link->name) : 0;
}
