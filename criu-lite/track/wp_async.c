/* wp_async.c - userfaultfd write protection without a monitor, read back by PAGEMAP_SCAN. */
#include "base/mem.h"
#include "base/range.h"
#include "base/step.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/remote/remote.h"
#include "criu-lite/track/armed.h"
#include "criu-lite/track/keeper.h"
#include "criu-lite/track/tracker.h"
#include "criu-lite/track/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define PAGE  4096ull
#define THERE (PAGE_IS_PRESENT | PAGE_IS_SWAPPED)

/*
 * One walk reports and arms. "Present or swapped" keeps holes out: asking for
 * written pages alone matches holes as well, and arming them fills the task's
 * page tables. CHECK_WPASYNC makes memory that is not registered an error;
 * without it such memory would be passed over, and its writes lost.
 */
static const struct pagemap_query arming = {
	.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
	.anyof = THERE,
	.return_mask = PAGE_IS_WRITTEN,
};

/* Guard pages look swapped out; where the kernel can tell them apart (6.15), they are left alone. */
static int scan_guards_apart(int pagemap, const struct pagemap_query *query, uint64_t start,
			     uint64_t end, struct page_regions *found, struct err *err)
{
	struct pagemap_query q = *query;
	int rc = pagemap_scan(pagemap, start, end, &q, found, err);

	if (rc != -EINVAL) /* before 6.15 there is no PAGE_IS_GUARD */
		return rc;
	q.mask &= ~PAGE_IS_GUARD;
	q.anyof &= ~PAGE_IS_GUARD;
	q.inverted &= ~PAGE_IS_GUARD;
	q.return_mask &= ~PAGE_IS_GUARD;
	return pagemap_scan(pagemap, start, end, &q, found, err);
}

static int arm_and_look(int pagemap, const struct track_vma *v, struct page_regions *found,
			struct err *err)
{
	struct pagemap_query q = arming;

	q.return_mask |= track_page_kinds(v);
	q.mask = q.inverted = PAGE_IS_GUARD;
	return scan_guards_apart(pagemap, &q, v->start, v->end, found, err);
}

#define FEATURES                                                                                   \
	(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

/* --- does it work here? ------------------------------------------------------ */

static int probe_on(char *page, int uffd, int pagemap, struct err *err)
{
	const struct track_vma v = { (uintptr_t)page, (uintptr_t)page + PAGE };
	struct page_regions before = {}, after = {};
	int rc = uffd_init(uffd, FEATURES);

	page[0] = 1;
	if (!rc)
		rc = uffd_register(uffd, v.start, v.end);
	if (rc < 0)
		return err_code(err, rc,
				"this kernel's userfaultfd cannot write-protect "
				"asynchronously");
	rc = arm_and_look(pagemap, &v, &before, err);
	page[0] = 2;
	if (!rc)
		rc = arm_and_look(pagemap, &v, &after, err);
	if (!rc && (after.n != 1 || !(after.v[0].categories & PAGE_IS_WRITTEN)))
		rc = err_set(err, -ENOTSUP, "PAGEMAP_SCAN does not report a written page here");
	page_regions_release(&before);
	page_regions_release(&after);
	return rc;
}

static int wp_probe(struct err *err)
{
	scoped_fd uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	scoped_fd pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *page;
	int rc;

	if (uffd < 0)
		return err_errno(err, "userfaultfd");
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return err_errno(err, "mapping a page");
	rc = probe_on(page, uffd, pagemap, err);
	munmap(page, PAGE);
	return rc;
}

/* --- the descriptors of this tree ----------------------------------------------- */

struct wp {
	struct kept *kept; /* one a task; fd -1: none */
	size_t n, cap;
	struct early {
		pid_t pid;
		uint64_t start_time;
		struct track_runs runs;
	} * early; /* what was armed before the freeze */
	size_t n_early, cap_early;
	bool early_failed; /* more may be armed than is in .early */
};

static struct kept *find_kept(struct wp *wp, pid_t pid, uint64_t start_time)
{
	for (size_t i = 0; i < wp->n; i++)
		if (wp->kept[i].pid == pid && wp->kept[i].start_time == start_time)
			return &wp->kept[i];
	return NULL;
}

static struct kept *find(struct wp *wp, const struct task *task)
{
	return find_kept(wp, task->pid, task->start_time);
}

static int wp_open(struct track *t, struct err *err)
{
	t->own = xcalloc(1, sizeof(struct wp));
	return 0;
}

static int wp_begin(struct track *t, struct tree *tree, struct err *err)
{
	scoped char *name = armed_tree_name(tree->task[0]);
	struct wp *wp = t->own;
	struct err why = {};

	if (t->armed && !t->armed->keeper)
		track_set_full(t, "no task of the tree could be tracked");
	else if (keeper_take(name, &wp->kept, &wp->n, &why) < 0)
		track_set_full(t, "the keeper of the tracker is gone");
	wp->cap = wp->n;
	return 0;
}

/*
 * A task that cannot have one (its descriptor table is full, say) is not
 * tracked: all its pages are written, every time.
 */
static void give_descriptor(struct track *t, struct task *task, struct batch *batch)
{
	struct kept k = { .pid = task->pid, .start_time = task->start_time };
	struct wp *wp = t->own;
	struct err why = {};
	int rc = k.fd = uffd_open_in(batch, task->pidfd, &why);

	if (k.fd >= 0)
		rc = uffd_init(k.fd, FEATURES);
	if (rc < 0) {
		track_set_untracked(t, task, rc, &why);
		if (k.fd >= 0)
			close(k.fd);
		k.fd = -1;
	}
	ARRAY_PUSH(wp->kept, wp->n, wp->cap, k);
}

static int run_entered(struct batch *b, struct err *err)
{
	return remote_run(b->thread->task, &b->plan, err);
}

static void give_descriptor_entered(struct track *t, struct task *task)
{
	struct batch b = { .thread = task_leader(task), .run = run_entered };

	remote_plan_init(task, &b.plan);
	give_descriptor(t, task, &b);
	plan_release(&b.plan);
}

/* --- scanning ------------------------------------------------------------------- */

struct scan {
	struct track *t;
	struct task *task;
	struct kept *k;
	struct track_pages at;
	uint64_t wide; /* bytes: larger mappings are mostly holes */
	bool known;    /* the parent has this task, and was armed for it */
	struct page_regions found;
};

/* @fresh: registered only now, so that nothing is known of it. */
static void take_regions(struct scan *s, const struct track_vma *v, bool fresh)
{
	for (size_t i = 0; i < s->found.n; i++) {
		const struct page_region *r = &s->found.v[i];

		track_region_add(&s->at, v, r,
				 fresh || !s->known || r->categories & PAGE_IS_WRITTEN);
	}
}

static int scan_vma(struct scan *s, const struct track_vma *v, struct err *err)
{
	bool fresh = false;
	int rc;

	s->found.n = 0;
	rc = arm_and_look(s->at.pagemap, v, &s->found, err);
	if (rc == -EPERM) {
		fresh = true;
		rc = uffd_register(s->k->fd, v->start, v->end);
		if (rc < 0)
			return rc;
		s->found.n = 0;
		rc = arm_and_look(s->at.pagemap, v, &s->found, err);
	}
	if (rc < 0)
		return rc;
	take_regions(s, v, fresh);
	return 0;
}

/* What cannot be registered is written every time. */
static int scan_each(struct scan *s, const struct track_vma *vma, size_t n_vma, struct err *err)
{
	for (size_t i = 0; i < n_vma; i++) {
		int rc = scan_vma(s, &vma[i], err);

		if (rc < 0)
			rc = track_populated(s->task, &vma[i], 1, s->at.runs, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- scanning many at once ------------------------------------------------------ */

/*
 * Of pages that are not to be reported one by one, the kernel tells in a third of the time: one walk
 * reports what does not count, one arms and reports what was written, and the rest is
 * unwritten. In this order: a page that somebody outside of the tree puts there between the
 * two is then still written. Memory that is not registered is passed over by the second
 * (WPALLOWED); what is in it, the first reports too.
 */
static const struct pagemap_query uncounted = {
	.anyof = PAGE_IS_PRESENT | PAGE_IS_GUARD | PAGE_IS_PFNZERO | PAGE_IS_WPALLOWED,
	.inverted = PAGE_IS_PRESENT | PAGE_IS_WPALLOWED,
	.return_mask = THERE | PAGE_IS_GUARD | PAGE_IS_PFNZERO | PAGE_IS_WPALLOWED,
};

static const struct pagemap_query arming_written = {
	.flags = PM_SCAN_WP_MATCHING,
	.mask = PAGE_IS_WRITTEN | PAGE_IS_WPALLOWED | PAGE_IS_GUARD,
	.inverted = PAGE_IS_GUARD,
	.anyof = THERE,
	.return_mask = PAGE_IS_WRITTEN | PAGE_IS_PFNZERO,
};

/* A row of anonymous VMAs, and what the first walk found in them. */
struct span {
	struct page_regions none;  /* holes, guard pages and the zero page */
	struct page_regions fresh; /* pages that are not registered */
	size_t at;		   /* before it .none ends below whatever is looked at next */
};

static void sort_out(struct span *span, const struct page_regions *found)
{
	for (size_t i = 0; i < found->n; i++) {
		const struct page_region *r = &found->v[i];
		bool page = r->categories & THERE &&
			    !(r->categories & (PAGE_IS_GUARD | PAGE_IS_PFNZERO));

		if (!page)
			ARRAY_PUSH(span->none.v, span->none.n, span->none.cap, *r);
		else if (!(r->categories & PAGE_IS_WPALLOWED))
			ARRAY_PUSH(span->fresh.v, span->fresh.n, span->fresh.cap, *r);
	}
}

static void skip_below(const struct page_regions *r, size_t *at, uint64_t start)
{
	while (*at < r->n && r->v[*at].end <= start)
		++*at;
}

static void add_unwritten(struct scan *s, uint64_t start, uint64_t end, struct span *span)
{
	const struct page_regions *none = &span->none;

	skip_below(none, &span->at, start);
	for (size_t i = span->at; start < end; i++) {
		uint64_t upto = i < none->n ? lower(end, none->v[i].start) : end;

		track_run_add(s->at.runs, start, upto, false);
		start = i < none->n ? higher(start, none->v[i].end) : end;
	}
}

/* What is in s->found was written; @w: before it they end below @v. */
static void take_known(struct scan *s, const struct track_vma *v, size_t *w, struct span *span)
{
	uint64_t start = v->start;

	skip_below(&s->found, w, start);
	for (size_t i = *w; i < s->found.n && s->found.v[i].start < v->end; i++) {
		const struct page_region *r = &s->found.v[i];
		uint64_t end = lower(r->end, v->end);

		add_unwritten(s, start, r->start, span);
		if (track_page_counts(v, r->categories))
			track_run_add(s->at.runs, higher(r->start, start), end, true);
		start = end;
	}
	add_unwritten(s, start, v->end, span);
}

/* None of them holds pages that are not registered. */
static int scan_registered(struct scan *s, const struct track_vma *v, size_t n, struct span *span,
			   struct err *err)
{
	size_t w = 0;
	int rc;

	if (!n)
		return 0;
	s->found.n = 0;
	rc = scan_guards_apart(s->at.pagemap, &arming_written, v->start, v[n - 1].end, &s->found,
			       err);
	if (rc < 0)
		return track_populated(s->task, v, n, s->at.runs, err);
	for (size_t i = 0; i < n; i++)
		take_known(s, &v[i], &w, span);
	return 0;
}

static int scan_sorted(struct scan *s, const struct track_vma *v, size_t n, struct span *span,
		       struct err *err)
{
	size_t fresh = 0, done = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++) {
		skip_below(&span->fresh, &fresh, v[i].start);
		if (fresh == span->fresh.n || span->fresh.v[fresh].start >= v[i].end)
			continue;
		rc = scan_registered(s, &v[done], i - done, span, err);
		if (!rc)
			rc = scan_each(s, &v[i], 1, err);
		done = i + 1;
	}
	return rc ? rc : scan_registered(s, &v[done], n - done, span, err);
}

static int scan_row(struct scan *s, const struct track_vma *v, size_t n, struct err *err)
{
	struct page_regions found = {};
	struct span span = {};
	int rc = scan_guards_apart(s->at.pagemap, &uncounted, v->start, v[n - 1].end, &found, err);

	if (rc < 0) {
		rc = scan_each(s, v, n, err);
	} else {
		sort_out(&span, &found);
		rc = scan_sorted(s, v, n, &span, err);
	}
	page_regions_release(&found);
	page_regions_release(&span.none);
	page_regions_release(&span.fresh);
	return rc;
}

/*
 * Holes are reported by the 2 MiB, and a terabyte with a thousand pages in it has half a million.
 * There the pages are to be reported, as there are few of them.
 */
static void find_wide(struct scan *s)
{
	enum { SPARSE = 4 };
	const uint64_t always = 64ull << 20;
	struct proc_stat st;

	s->wide = always;
	if (proc_stat_read(s->task->proc, &st, NULL) == 0)
		s->wide += SPARSE * st.rss * PAGE;
}

/*
 * To tell a file's page from a copy of it costs more than all else, so that private mappings
 * of files are asked about one by one, too.
 */
static bool goes_in_row(const struct scan *s, const struct track_vma *v)
{
	return !v->file && !v->shared && v->end - v->start <= s->wide;
}

/* What lies between two of a row is walked through as well, and may be shared memory. */
static size_t row_from(const struct scan *s, const struct track_vma *v, size_t n)
{
	const uint64_t near = 64ull << 20;
	size_t i = 0;

	while (i < n && goes_in_row(s, &v[i]) && (!i || v[i].start - v[i - 1].end <= near))
		i++;
	return i;
}

static int scan_known(struct scan *s, const struct track_vma *vma, size_t n_vma, struct err *err)
{
	int rc = 0;

	find_wide(s);
	for (size_t i = 0; !rc && i < n_vma;) {
		size_t n = row_from(s, &vma[i], n_vma - i);

		rc = n ? scan_row(s, &vma[i], n, err) : scan_each(s, &vma[i], 1, err);
		i += n ? n : 1;
	}
	return rc;
}

/* How many VMAs from the first on lie side by side and are alike. */
static size_t side_by_side(const struct track_vma *v, size_t n)
{
	size_t i = 1;

	while (i < n && v[i].start == v[i - 1].end && v[i].file == v->file &&
	       v[i].shared == v->shared)
		i++;
	return i;
}

/*
 * Where all is new anyway, one walk arms many VMAs that lie side by side. When it comes upon one that
 * is not registered it ends in an error, and what it reported before that is lost.
 */
static int scan_span(struct scan *s, const struct track_vma *v, size_t n, struct err *err)
{
	const struct track_vma span = {
		.start = v->start, .end = v[n - 1].end, .file = v->file, .shared = v->shared
	};
	struct err why;
	int rc = n > 1 ? uffd_register(s->k->fd, span.start, span.end) : -EAGAIN;

	s->found.n = 0;
	if (!rc)
		rc = arm_and_look(s->at.pagemap, &span, &s->found, &why);
	if (rc < 0)
		return scan_each(s, v, n, err);
	take_regions(s, &span, true);
	return 0;
}

static int scan_all(struct scan *s, const struct track_vma *vma, size_t n_vma, struct err *err)
{
	int rc = 0;

	if (s->known)
		return scan_known(s, vma, n_vma, err);
	for (size_t i = 0, n; !rc && i < n_vma; i += n) {
		n = side_by_side(&vma[i], n_vma - i);
		rc = scan_span(s, &vma[i], n, err);
	}
	return rc;
}

/* After exec(2) the descriptor belongs to an address space that is gone. */
static bool is_stale(struct kept *k, const struct track_vma *v)
{
	return k->fd >= 0 && uffd_register(k->fd, v->start, v->end) == -ESRCH;
}

static int wp_scan(struct track *t, struct task *task, const struct track_vma *vma, size_t n_vma,
		   struct track_runs *runs, struct err *err)
{
	struct wp *wp = t->own;
	struct scan s = { .t = t, .task = task, .at.runs = runs };
	scoped_fd pagemap = proc_pagemap_open(task->proc, err);
	scoped_fd mem = proc_openat(task->proc, "mem", O_RDONLY);
	int rc;

	if (pagemap < 0)
		return pagemap;
	if (mem < 0)
		return err_code(err, mem, "opening mem");
	if (!n_vma)
		return 0;
	s.at.pagemap = pagemap;
	s.at.mem = mem;
	s.k = find(wp, task);
	s.known = s.k && s.k->fd >= 0 && !t->full_reason && armed_knows(t->armed, task);
	if (s.k && is_stale(s.k, &vma[0])) {
		close(s.k->fd);
		s.k->pid = 0;
		s.k->fd = -1;
		s.k = NULL;
		s.known = false;
	}
	if (!s.k) {
		give_descriptor_entered(t, task);
		s.k = find(wp, task);
	}
	rc = s.k->fd < 0 ? track_populated(task, vma, n_vma, runs, err)
			 : scan_all(&s, vma, n_vma, err);
	page_regions_release(&s.found);
	return rc;
}

static int wp_canary(struct track *t, const struct task *task, uint64_t addr, struct err *err)
{
	static const struct pagemap_query looking = { .mask = PAGE_IS_WRITTEN,
						      .anyof = THERE,
						      .return_mask = PAGE_IS_WRITTEN };
	scoped_fd pagemap = proc_pagemap_open(task->proc, err);
	struct page_regions found = {};
	int rc;

	if (pagemap < 0)
		return pagemap;
	rc = pagemap_scan(pagemap, addr & ~(PAGE - 1), (addr & ~(PAGE - 1)) + PAGE, &looking,
			  &found, err);
	if (!rc)
		rc = found.n > 0;
	page_regions_release(&found);
	return rc;
}

/*
 * Of a task that runs: all that is registered, in one walk. A store that another processor
 * makes meanwhile by an old entry of its TLB is made before the walk returns, so that
 * whoever reads the page then sees it.
 */
static int arm_running(int pagemap, uint64_t start, uint64_t end, uint64_t most,
		       struct page_regions *found, struct err *err)
{
	struct pagemap_query q = arming_written;

	q.max_pages = most;
	return start < end ? scan_guards_apart(pagemap, &q, start, end, found, err) : 0;
}

static uint64_t add_written(struct early *e, struct track_runs *runs, struct page_regions *found)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < found->n; i++) {
		track_run_add(runs, found->v[i].start, found->v[i].end, true);
		track_run_add(&e->runs, found->v[i].start, found->v[i].end, true);
		pages += (found->v[i].end - found->v[i].start) / PAGE;
	}
	found->n = 0;
	return pages;
}

static void wp_early(struct track *t, const struct task *task, uint64_t canary, uint64_t most,
		     struct track_runs *runs)
{
	scoped_fd pagemap = proc_pagemap_open(task->proc, NULL);
	struct early e = { .pid = task->pid, .start_time = task->start_time };
	uint64_t gap = canary & ~(PAGE - 1), pages;
	struct page_regions found = {};
	struct wp *wp = t->own;
	int rc;

	if (pagemap < 0 || !most)
		return;
	rc = arm_running(pagemap, 0, gap, most, &found, NULL);
	pages = add_written(&e, runs, &found);
	if (!rc && pages < most)
		rc = arm_running(pagemap, gap ? gap + PAGE : 0, PAGEMAP_END - PAGE, most - pages,
				 &found, NULL);
	add_written(&e, runs, &found);
	ARRAY_PUSH(wp->early, wp->n_early, wp->cap_early, e);
	if (rc < 0) {
		wp->early_failed = true;
		track_set_full(t, "task %d could not be tracked before the freeze", task->pid);
	}
	page_regions_release(&found);
}

/* The bytes that were written since the parent, and armed in vain, count as written again. */
static bool wp_undo_early(struct track *t)
{
	struct wp *wp = t->own;

	if (wp->early_failed)
		return false;
	if (!wp->kept && keeper_take(t->early_tree, &wp->kept, &wp->n, NULL) < 0)
		return false;
	for (size_t i = 0; i < wp->n_early; i++) {
		const struct early *e = &wp->early[i];
		const struct kept *k = find_kept(wp, e->pid, e->start_time);

		for (size_t j = 0; j < e->runs.n; j++)
			if (!k ||
			    uffd_unprotect(k->fd, e->runs.run[j].start, e->runs.run[j].end) < 0)
				return false;
	}
	return true;
}

/* A newborn: what is written from here on counts. */
static int wp_arm(struct track *t, struct task *task, struct batch *batch,
		  const struct track_vma *vma, size_t n_vma, struct err *err)
{
	scoped_fd pagemap = proc_pagemap_open(task->proc, err);
	struct wp *wp = t->own;
	struct track_runs all = {};
	struct scan s = { .t = t, .task = task, .at = { pagemap, -1, &all } };
	int rc = 0;

	if (pagemap < 0)
		return pagemap;
	give_descriptor(t, task, batch);
	s.k = find(wp, task);
	if (s.k->fd >= 0)
		rc = scan_all(&s, vma, n_vma, err);
	page_regions_release(&s.found);
	track_runs_release(&all);
	return rc;
}

/* --- from this dump to the next ---------------------------------------------------- */

static void forget_descriptors(struct wp *wp)
{
	for (size_t i = 0; i < wp->n; i++)
		if (wp->kept[i].fd >= 0)
			close(wp->kept[i].fd);
	for (size_t i = 0; i < wp->n_early; i++)
		track_runs_release(&wp->early[i].runs);
	free(wp->early);
	free(wp->kept);
	free(wp);
}

/* Those of tasks that still are; the others' address spaces are gone. */
static size_t keep_living(struct wp *wp, struct tree *tree)
{
	size_t n = 0;

	for (size_t i = 0; i < wp->n; i++) {
		struct kept *k = &wp->kept[i];
		const struct task *task = tree_find(tree, k->pid);

		if (k->fd >= 0 && task && task->start_time == k->start_time) {
			k->pidfd = task->pidfd;
			wp->kept[n++] = *k;
		} else if (k->fd >= 0)
			close(k->fd);
	}
	return wp->n = n;
}

static int wp_close(struct track *t, struct tree *tree, bool published, struct err *err)
{
	struct wp *wp = t->own;
	bool keep;
	int rc = 0;

	if (t->scanned) {
		scoped char *name = armed_tree_name(tree->task[0]);

		keeper_end(name);
		STEP();
		keep = published && keep_living(wp, tree);
		if (keep)
			rc = keeper_start(name, wp->kept, wp->n, err);
		STEP();
		if (!rc && keep)
			t->next->keeper = xstrdup(name);
	}
	forget_descriptors(wp);
	t->own = NULL;
	return rc;
}

const struct tracker track_wp_async = {
	.name = "wp-async",
	.arms = true,
	.written = PAGE_IS_WRITTEN | PAGE_IS_WPALLOWED,
	.probe = wp_probe,
	.open = wp_open,
	.early = wp_early,
	.undo_early = wp_undo_early,
	.begin = wp_begin,
	.canary = wp_canary,
	.scan = wp_scan,
	.arm = wp_arm,
	.close = wp_close,
};
