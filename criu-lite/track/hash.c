/* hash.c - no tracking at all: every page is read and compared with the parent's hash of it. */
#include "base/mem.h"
#include "criu-lite/track/hashes.h"
#include "criu-lite/track/tracker.h"

#include <errno.h>

static int hash_open(struct track *t, struct err *err)
{
	struct err why = {};
	struct hashes *h = NULL;
	int rc = 0;

	if (t->parent && !t->rq.full) {
		struct chain_at at = track_parent_at(t);

		rc = hashes_load(&h, at.dirfd, at.seq, &why);
		if (rc < 0)
			track_set_full(t, "the last checkpoint has no hashes (%s)", why.text);
	}
	t->own = h ? h : hashes_new();
	return 0;
}

static int hash_scan(struct track *t, struct task *task, const struct track_vma *vma, size_t n_vma,
		     struct track_runs *runs, struct err *err)
{
	return track_populated(task, vma, n_vma, runs, err);
}

static bool hash_same(struct track *t, uint64_t object, uint64_t vaddr, const void *page)
{
	return hashes_same(t->own, object, vaddr, page) && !t->full_reason;
}

static int hash_write(struct track *t, int dirfd, struct err *err)
{
	return hashes_write(t->own, dirfd, err);
}

static int hash_close(struct track *t, struct tree *tree, bool published, struct err *err)
{
	hashes_free(t->own);
	return 0;
}

const struct tracker track_hash = {
	.name = "hash",
	.compares = true,
	.open = hash_open,
	.scan = hash_scan,
	.same = hash_same,
	.write = hash_write,
	.close = hash_close,
};
