/* hashes.c - page hashes in memory and in criu-lite-hashes-*.img. */
#include "criu-lite/track/hashes.h"
#include "base/mem.h"
#include "criu-lite/track/track.h"
#include "images/chain.h"
#include "images/img.h"
#include "proto/criu-lite.pb-c.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#define PAGE	  4096ull
#define RUN_PAGES (1u << 20) /* of one entry */

struct run {
	uint64_t vaddr, nr_pages;
	size_t first; /* index of its first hash */
};

/* One address space or shared object. */
struct object {
	uint64_t id;
	struct run *run;
	size_t n_runs, cap_runs;
	XXH128_canonical_t *hash;
	size_t n, cap;
	size_t at; /* the run last looked into: addresses ascend as a rule */
};

struct objects {
	struct object *v;
	size_t n, cap;
};

struct hashes {
	struct objects parent, now;
};

static struct object *object_of(struct objects *all, uint64_t id, bool make)
{
	/* The same object is asked for again and again: it is the last one as a rule. */
	for (size_t i = all->n; i-- > 0;)
		if (all->v[i].id == id)
			return &all->v[i];
	if (!make)
		return NULL;
	ARRAY_PUSH(all->v, all->n, all->cap, ((struct object) { .id = id }));
	return &all->v[all->n - 1];
}

static void remember(struct object *o, uint64_t vaddr, XXH128_canonical_t hash)
{
	struct run *last = o->n_runs ? &o->run[o->n_runs - 1] : NULL;

	if (last && last->vaddr + last->nr_pages * PAGE == vaddr && last->nr_pages < RUN_PAGES)
		last->nr_pages++;
	else
		ARRAY_PUSH(o->run, o->n_runs, o->cap_runs,
			   ((struct run) { .vaddr = vaddr, .nr_pages = 1, .first = o->n }));
	ARRAY_PUSH(o->hash, o->n, o->cap, hash);
}

static const XXH128_canonical_t *look_up(struct object *o, uint64_t vaddr)
{
	const struct run *r;

	if (o->at < o->n_runs && o->run[o->at].vaddr > vaddr)
		o->at = 0;
	while (o->at < o->n_runs && o->run[o->at].vaddr + o->run[o->at].nr_pages * PAGE <= vaddr)
		o->at++;
	r = &o->run[o->at];
	if (o->at == o->n_runs || vaddr < r->vaddr)
		return NULL;
	return &o->hash[r->first + (vaddr - r->vaddr) / PAGE];
}

bool hashes_same(struct hashes *h, uint64_t object, uint64_t vaddr, const void *page)
{
	struct object *old = object_of(&h->parent, object, false);
	const XXH128_canonical_t *before = old ? look_up(old, vaddr) : NULL;
	XXH128_canonical_t now;

	XXH128_canonicalFromHash(&now, XXH3_128bits(page, PAGE));
	remember(object_of(&h->now, object, true), vaddr, now);
	return before && !memcmp(before, &now, sizeof(now));
}

struct hashes *hashes_new(void)
{
	return xcalloc(1, sizeof(struct hashes));
}

/* --- files ---------------------------------------------------------------------- */

static int read_run(struct img_reader *r, struct object *o, const SdHashRun *e, struct err *err)
{
	uint64_t end =
		o->n_runs ? o->run[o->n_runs - 1].vaddr + o->run[o->n_runs - 1].nr_pages * PAGE : 0;

	if (e->vaddr % PAGE || e->vaddr < end || !e->nr_pages || e->nr_pages > RUN_PAGES)
		return img_error(r, err, "a run of hashes at %#" PRIx64 " is out of place",
				 e->vaddr);
	if (img_payload_left(r) != e->nr_pages * sizeof(*o->hash))
		return img_error(r, err, "a run of hashes is cut");
	ARRAY_PUSH(o->run, o->n_runs, o->cap_runs,
		   ((struct run) { .vaddr = e->vaddr, .nr_pages = e->nr_pages, .first = o->n }));
	if (o->n + e->nr_pages > o->cap) {
		o->cap = (o->n + e->nr_pages) * 2;
		o->hash = xreallocarray(o->hash, o->cap, sizeof(*o->hash));
	}
	o->n += e->nr_pages;
	return img_payload(r, o->hash + o->n - e->nr_pages, e->nr_pages * sizeof(*o->hash), err);
}

static int load_object(struct hashes *h, int dirfd, const char *name, uint64_t id, struct err *err)
{
	struct object *o = object_of(&h->parent, id, true);
	scoped_reader r = NULL;
	SdHashRun *e;
	int rc = img_open(&r, err, dirfd, "%s", name);

	while (rc >= 0 && (rc = img_next(r, &e, err)) == 1) {
		rc = read_run(r, o, e, err);
		sd_hash_run__free_unpacked(e, NULL);
	}
	return rc;
}

/* The object that a file name stands for; false: another file. */
static bool object_of_name(const char *name, uint64_t *id)
{
	uint64_t n;
	int end = 0;

	if (sscanf(name, "criu-lite-hashes-shmem-%" SCNu64 ".img%n", &n, &end) == 1 && end)
		*id = TRACK_SHMEM | n;
	else if (sscanf(name, "criu-lite-hashes-%" SCNu64 ".img%n", &n, &end) == 1 && end)
		*id = n;
	else
		return false;
	return !name[end];
}

int hashes_load(struct hashes **out, int chain_dirfd, uint32_t seq, struct err *err)
{
	scoped_dir dir = NULL;
	struct hashes *h;
	struct dirent *e;
	uint64_t id;
	int rc = 0, fd = chain_checkpoint(chain_dirfd, seq, err);

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir)
		return err_errno(err, "reading checkpoint %u", seq);
	h = hashes_new();
	while (!rc && (e = readdir(dir)))
		if (object_of_name(e->d_name, &id))
			rc = load_object(h, fd, e->d_name, id, err);
	if (!rc && !h->parent.n)
		rc = err_set(err, -ENOENT, "checkpoint %u was made with another tracker", seq);
	if (rc < 0)
		hashes_free(h);
	else
		*out = h;
	return rc;
}

static int write_object(const struct object *o, int dirfd, struct err *err)
{
	bool shmem = o->id & TRACK_SHMEM;
	scoped_writer w = NULL;
	int rc = img_create(&w, err, dirfd,
			    shmem ? "criu-lite-hashes-shmem-%" PRIu64 ".img"
				  : "criu-lite-hashes-%" PRIu64 ".img",
			    o->id & ~TRACK_SHMEM);

	for (size_t i = 0; !rc && i < o->n_runs; i++) {
		SdHashRun e = SD_HASH_RUN__INIT;

		e.vaddr = o->run[i].vaddr;
		e.nr_pages = o->run[i].nr_pages;
		rc = img_append(w, &e, err);
		if (!rc)
			rc = img_append_raw(w, o->hash + o->run[i].first,
					    e.nr_pages * sizeof(*o->hash), err);
	}
	return rc < 0 ? rc : img_close(&w, err);
}

int hashes_write(const struct hashes *h, int dirfd, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < h->now.n; i++)
		rc = write_object(&h->now.v[i], dirfd, err);
	return rc;
}

static void objects_release(struct objects *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free(all->v[i].run);
		free(all->v[i].hash);
	}
	free(all->v);
}

void hashes_free(struct hashes *h)
{
	if (!h)
		return;
	objects_release(&h->parent);
	objects_release(&h->now);
	free(h);
}
