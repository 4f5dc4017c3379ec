/*
 * memory.c - saves the memory of a child that holds still, rebuilds it in
 * another, and compares the two.
 *
 * All that is compared lies in one range of addresses that nobody else uses. The
 * child that is rebuilt walks plans for the tool, in C: no ptrace is needed.
 */
#include "base/kernel-abi.h"
#include "base/mem.h"
#include "criu-lite/file/memfd.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/task/kinds.h"
#include "criu-lite/task/memory_build.h"
#include "criu-lite/track/tracker.h"
#include "images/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#define YARD	 UINT64_C(0x200000000000)
#define YARD_END UINT64_C(0x220000000000)
#define P	 PAGE_SIZE

#define must(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "line %d: %s: %m\n", __LINE__, #x);                        \
			_exit(9);                                                                  \
		}                                                                                  \
	} while (0)

/* --- the child that is saved ----------------------------------------------------- */

enum place {
	ANON = 0,
	READONLY,
	NO_ACCESS,
	FILE_PRIVATE,
	FILE_SHARED,
	SHARED,
	MEMFD,
	MEMFD_RO,
	GROWS,
	GUARDED,
	ADVISED,
	LOCKED,
	ON_FAULT,
	EXECUTE,
	ZEROS,
	HUGE_HOLE = 32,
};

static char *place(enum place p)
{
	return (char *)(uintptr_t)(YARD + p * (UINT64_C(64) << 20));
}

static char *map(enum place p, size_t pages, int prot, int flags, int fd, off_t off)
{
	char *at = mmap(place(p), pages * P, prot, flags | MAP_FIXED_NOREPLACE, fd, off);

	must(at == place(p));
	return at;
}

/* Every page says where it is and which round wrote it. */
static void mark(char *page, int round)
{
	for (size_t i = 0; i < P; i += 8)
		*(uint64_t *)(page + i) = (uintptr_t)page + i + round;
}

#define ANON_PRIVATE_MAP (MAP_PRIVATE | MAP_ANONYMOUS)

static void build_private(const char *file)
{
	int fd = open(file, O_RDWR);
	char *at;

	at = map(ANON, 64, PROT_READ | PROT_WRITE, ANON_PRIVATE_MAP, -1, 0);
	for (int i = 0; i < 32; i++)
		mark(at + i * P, 1);
	at = map(READONLY, 8, PROT_READ | PROT_WRITE, ANON_PRIVATE_MAP, -1, 0);
	mark(at + 3 * P, 1);
	must(!mprotect(at, 8 * P, PROT_READ));
	at = map(NO_ACCESS, 8, PROT_READ | PROT_WRITE, ANON_PRIVATE_MAP, -1, 0);
	mark(at + 2 * P, 1);
	must(!mprotect(at, 8 * P, PROT_NONE));
	must(fd >= 0);
	at = map(FILE_PRIVATE, 4, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, P);
	mark(at + P, 1);
	memset(at + 2 * P, 0, P); /* a page of zeros is not the file's page */
	at = map(FILE_SHARED, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	at = map(GROWS, 16, PROT_READ | PROT_WRITE, ANON_PRIVATE_MAP | MAP_GROWSDOWN, -1, 0);
	mark(at + 15 * P, 1);
	at = map(EXECUTE, 2, PROT_READ | PROT_WRITE, ANON_PRIVATE_MAP, -1, 0);
	mark(at, 1);
	must(!mprotect(at, 2 * P, PROT_READ | PROT_EXEC));
	at = map(ZEROS, 16, PROT_READ | PROT_WRITE, ANON_PRIVATE_MAP, -1, 0);
	memset(at, 0, 16 * P);
}

static void build_special(bool guards)
{
	char *at = map(GUARDED, 16, PROT_READ | PROT_WRITE, ANON_PRIVATE_MAP, -1, 0);

	mark(at + 8 * P, 1);
	must(!guards || !madvise(at + 2 * P, 3 * P, MADV_GUARD_INSTALL));
	at = map(ADVISED, 1024, PROT_READ | PROT_WRITE, ANON_PRIVATE_MAP, -1, 0);
	must(!madvise(at, 1024 * P, MADV_DONTFORK) && !madvise(at, 1024 * P, MADV_NOHUGEPAGE) &&
	     !madvise(at, 1024 * P, MADV_DONTDUMP) && !madvise(at, 1024 * P, MADV_RANDOM));
	mark(at, 1);
	at = map(LOCKED, 4, PROT_READ | PROT_WRITE, ANON_PRIVATE_MAP, -1, 0);
	mark(at, 1);
	must(!syscall(SYS_mlock2, at, 4 * P, 0)); /* sanitizers replace mlock */
	at = map(ON_FAULT, 4096, PROT_READ | PROT_WRITE, ANON_PRIVATE_MAP, -1, 0);
	mark(at, 1);
	must(!syscall(SYS_mlock2, at, 4096 * P, MLOCK_ONFAULT));
	at = mmap(place(HUGE_HOLE), UINT64_C(1) << 40, PROT_READ | PROT_WRITE,
		  ANON_PRIVATE_MAP | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	must(at == place(HUGE_HOLE));
	must(!madvise(at, UINT64_C(1) << 40, MADV_NOHUGEPAGE));
	for (uint64_t i = 0; i < 100; i++)
		mark(at + i * (UINT64_C(10) << 30), 1);
}

static void build_shared(void)
{
	char *at = map(SHARED, 32, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = memfd_create("a name", MFD_ALLOW_SEALING);

	for (int i = 0; i < 10; i++)
		mark(at + 2 * i * P, 1);
	must(fd >= 0 && !ftruncate(fd, 8 * P - 100));
	at = map(MEMFD, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	mark(at + 5 * P, 1);
	memset(at + 7 * P, 7, P);
	must(!munmap(at, 8 * P) && !fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW));
	map(MEMFD_RO, 8, PROT_READ, MAP_SHARED, fd, 0);
	map(MEMFD, 8, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	mark(place(MEMFD) + 6 * P, 1);
	close(fd);
}

/* What changes between two checkpoints. */
static void second_round(void)
{
	mark(place(ANON) + 1 * P, 2);
	memset(place(ANON) + 2 * P, 0, P);
	must(!madvise(place(ANON) + 3 * P, P, MADV_DONTNEED));
	mark(place(ANON) + 40 * P, 2);
	mark(place(SHARED) + 4 * P, 2);
	memset(place(SHARED) + 6 * P, 0, P);
	mark(place(ZEROS) + 5 * P, 2);
}

struct child {
	pid_t pid;
	int talk;
};

static void child_say(int talk)
{
	must(write(talk, "!", 1) == 1);
}

static struct child victim_start(const char *file, bool guards)
{
	struct child c;
	int talk[2];
	char order;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk), 0);
	c.pid = fork();
	if (!c.pid) {
		close(talk[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		build_private(file);
		build_special(guards);
		build_shared();
		child_say(talk[1]);
		while (read(talk[1], &order, 1) == 1) {
			second_round();
			child_say(talk[1]);
		}
		_exit(0);
	}
	close(talk[1]);
	c.talk = talk[0];
	assert_int_equal(read(c.talk, &order, 1), 1);
	return c;
}

static void victim_change(const struct child *c)
{
	char said;

	assert_int_equal(write(c->talk, "2", 1), 1);
	assert_int_equal(read(c->talk, &said, 1), 1);
}

static void child_end(struct child *c)
{
	if (c->pid <= 0)
		return;
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->talk);
	c->pid = 0;
}

/* --- saving it ---------------------------------------------------------------------- */

/* Knows what second_round writes; sees no store that it is not told of. */
static int told_scan(struct track *t, struct task *task, const struct track_vma *vma, size_t n_vma,
		     struct track_runs *runs, struct err *err)
{
	static const struct {
		enum place at;
		int page;
	} written[] = { { ANON, 1 }, { ANON, 2 }, { ANON, 40 }, { ZEROS, 5 } };
	struct track_runs all = {};
	int rc = track_populated(task, vma, n_vma, &all, err);

	for (size_t i = 0; i < all.n; i++) {
		for (uint64_t at = all.run[i].start; at < all.run[i].end; at += P) {
			bool hit = !t->parent || at < YARD || at >= YARD_END;

			for (size_t k = 0; k < ARRAY_SIZE(written); k++)
				hit |= at == (uintptr_t)place(written[k].at) + written[k].page * P;
			track_run_add(runs, at, at + P, hit);
		}
	}
	track_runs_release(&all);
	return rc;
}

static const struct tracker told = { .name = "told", .scan = told_scan };

struct saved {
	struct tree tree;
	struct refusals refusals;
	struct file_save files;
	struct saver s;
	struct track track;
	SdArmed armed; /* tasks are noted in it, for nobody */
};

static struct task *tree_of(struct saved *d, pid_t pid)
{
	struct task *task = tree_add_task(&d->tree, pid);
	struct thread *t = task_add_thread(task, pid);

	assert_int_equal(proc_open(&task->proc, NULL, pid, NULL), 0);
	t->core = core_new(true);
	d->files = (struct file_save) { .tree = &d->tree, .refusals = &d->refusals };
	d->s = (struct saver) { .tree = &d->tree,
				.refusals = &d->refusals,
				.files = &d->files,
				.track = &d->track,
				.dirfd = -1 };
	return task;
}

#define ok(err, call)                                                                              \
	do {                                                                                       \
		int ok_rc = (call);                                                                \
		if (ok_rc < 0)                                                                     \
			fail_msg("%s: %d: %s", #call, ok_rc, (err)->text);                         \
	} while (0)

static void look(struct saved *d, struct task *task)
{
	struct err err = {};

	ok(&err, kind_mm.look(&d->s, task_leader(task), &err));
	ok(&err, memory_read(&d->s, task, &err));
	ok(&err, memory_look(&d->s, task, &err));
	ok(&err, refusals_result(&d->refusals, &err));
}

static void save_extra(struct thread *t, int dirfd)
{
	struct img_writer *w = NULL;
	struct err err = {};

	ok(&err, img_create(&w, &err, dirfd, "criu-lite-tasks.img"));
	ok(&err, img_append(w, t->extra, &err));
	ok(&err, img_close(&w, &err));
}

static void load_extra(struct thread *t, int dirfd)
{
	struct img_reader *r = NULL;
	struct err err = {};

	ok(&err, img_open(&r, &err, dirfd, "criu-lite-tasks.img"));
	assert_int_equal(img_next(r, &t->extra, &err), 1);
	img_reader_release(&r);
}

static uint32_t cwd_id, root_id; /* files_load wants every task to have both */

static void save(struct saved *d, struct chain *c, pid_t pid, uint32_t parent)
{
	struct task *task = tree_of(d, pid);
	SdCheckpoint info = SD_CHECKPOINT__INIT;
	struct err err = {};
	uint64_t bytes;

	d->track = (struct track) { .tracker = &told, .parent = parent, .next = &d->armed };
	look(d, task);
	ok(&err, chain_begin(c, parent, &err));
	d->s.dirfd = chain_fd(c);
	d->s.parent = chain_parent_at(c, parent);
	ok(&err, memory_save(&d->s, &err));
	ok(&err, memory_write(&d->s, c, &err));
	ok(&err, img_write_one(task->mm, &err, d->s.dirfd, "mm-%d.img", pid));
	save_extra(task_leader(task), d->s.dirfd);
	ok(&err, file_add_link(&d->files, task, "cwd", O_RDONLY, &cwd_id, &err));
	ok(&err, file_add_link(&d->files, task, "root", O_RDONLY, &root_id, &err));
	ok(&err, files_write(&d->files, d->s.dirfd, &err));
	ok(&err, chain_seal(c, &bytes, &err));
	info.boot_id = info.kernel_release = info.tracker = (char *)"told";
	info.tasks = info.threads = 1;
	ok(&err, chain_commit(c, &info, &err));
}

static void saved_end(struct saved *d)
{
	for (size_t i = 0; i < d->armed.n_tasks; i++)
		sd_armed_task__free_unpacked(d->armed.tasks[i], NULL);
	free(d->armed.tasks);
	files_save_release(&d->files);
	memory_save_release(&d->s);
	kinds_save_release(&d->s);
	refusals_release(&d->refusals);
	tree_release(&d->tree);
	*d = (struct saved) {};
}

/* --- the child that is rebuilt --------------------------------------------------------- */

struct hand {
	struct plan_row row[PLAN_ROWS];
	uint64_t n;
	char data[PLAN_DATA];
};

static struct hand *hand; /* shared, at the same address in both */

static void walk(void)
{
	long kept = -1;

	for (uint64_t i = 0; i < hand->n; i++) {
		struct plan_row *r = &hand->row[i];
		uint64_t a[6];

		memcpy(a, r->arg, sizeof(a));
		if (r->use)
			a[r->use - 1] = kept;
		r->ret = syscall(r->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
		if (r->ret < 0)
			r->ret = -errno;
		if (r->flags & ROW_KEEP)
			kept = r->ret;
		if (r->flags & ROW_STOP && r->ret < 0 && r->ret > -4096)
			break;
	}
}

#define TOOL_PIDFD 700

static struct child newborn_start(void)
{
	struct child c;
	int talk[2];
	char order;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk), 0);
	c.pid = fork();
	if (!c.pid) {
		pid_t tool = getppid();

		close(talk[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		must(dup2(syscall(SYS_pidfd_open, tool, 0), TOOL_PIDFD) == TOOL_PIDFD);
		while (read(talk[1], &order, 1) == 1) {
			walk();
			child_say(talk[1]);
		}
		_exit(0);
	}
	close(talk[1]);
	c.talk = talk[0];
	return c;
}

static int newborn_run(struct batch *b, struct err *err)
{
	struct child *c = b->arg;
	char said;

	memcpy(hand->row, b->plan.row, b->plan.n * sizeof(*hand->row));
	memcpy(hand->data, b->plan.data, b->plan.len);
	hand->n = b->plan.n;
	if (write(c->talk, "!", 1) != 1 || read(c->talk, &said, 1) != 1)
		return err_set(err, -EPIPE, "the newborn has ended");
	memcpy(b->plan.row, hand->row, b->plan.n * sizeof(*hand->row));
	memcpy(b->plan.data, hand->data, b->plan.len);
	return 0;
}

struct built {
	struct tree tree;
	struct file_build files;
	struct builder b;
	struct child child;
};

/* What lies outside of the yard is the test program itself, in both children. */
static void keep_yard(struct task *task)
{
	MmEntry *mm = task->mm;
	struct page_sources *src = &task->memory->src;
	size_t n = 0;

	for (size_t i = 0; i < mm->n_vmas; i++) {
		if (mm->vmas[i]->start >= YARD && mm->vmas[i]->end <= YARD_END)
			mm->vmas[n++] = mm->vmas[i];
		else
			vma_entry__free_unpacked(mm->vmas[i], NULL);
	}
	mm->n_vmas = n;
	n = 0;
	for (size_t i = 0; i < src->n; i++)
		if (src->src[i].vaddr >= YARD && src->src[i].vaddr < YARD_END)
			src->src[n++] = src->src[i];
	src->n = n;
}

static void build(struct built *n, struct chain *c, uint32_t seq, pid_t saved_pid)
{
	struct batch batch = { .run = newborn_run, .arg = &n->child };
	struct task *task = tree_add_task(&n->tree, saved_pid);
	struct err err = {};

	batch.thread = task_add_thread(task, saved_pid);
	task->fs = xmalloc(sizeof(*task->fs));
	fs_entry__init(task->fs);
	task->fs->cwd_id = cwd_id;
	task->fs->root_id = root_id;
	n->files.tree = n->b.tree = &n->tree;
	n->b.files = &n->files;
	n->b.chain_dirfd = chain_dirfd(c);
	n->b.seq = seq;
	n->b.dirfd = n->files.dirfd = chain_checkpoint(n->b.chain_dirfd, seq, &err);
	assert_true(n->b.dirfd >= 0);
	load_extra(batch.thread, n->b.dirfd);
	ok(&err, files_load(&n->files, &err));
	ok(&err, memory_load(&n->b, &err));
	keep_yard(task);
	n->child = newborn_start();
	plan_init(&batch.plan, (uintptr_t)hand->data, PLAN_ROWS, PLAN_DATA);
	ok(&err, memory_map(&n->b, &batch, TOOL_PIDFD, &err));
	task->pid = n->child.pid; /* the double has a number of its own */
	ok(&err, memory_fill(&n->b, &err));
	ok(&err, memory_settle(&n->b, &batch, &err));
	ok(&err, batch_flush(&batch, &err));
	plan_release(&batch.plan);
}

static void built_end(struct built *n)
{
	child_end(&n->child);
	files_build_release(&n->files);
	memory_build_release(&n->b);
	tree_release(&n->tree);
	close(n->b.dirfd);
	*n = (struct built) {};
}

/* --- comparing ---------------------------------------------------------------------- */

static size_t yard_smaps(pid_t pid, struct proc_smap **v)
{
	scoped_proc dir = NULL;
	struct err err = {};
	size_t n, kept = 0;

	assert_int_equal(proc_open(&dir, NULL, pid, NULL), 0);
	ok(&err, proc_smaps_read(dir, v, &n, &err));
	for (size_t i = 0; i < n; i++)
		if ((*v)[i].start >= YARD && (*v)[i].end <= YARD_END)
			(*v)[kept++] = (*v)[i];
	return kept;
}

static int open_mem(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	return open(path, O_RDONLY);
}

static void compare_pages(int a, int b, uint64_t start, uint64_t end)
{
	static char x[P], y[P];

	for (uint64_t at = start; at < end; at += P) {
		ssize_t n = pread(a, x, P, at);

		if (pread(b, y, P, at) != n)
			fail_msg("page %#" PRIx64 " can be read in one of the two only", at);
		if (n == (ssize_t)P && memcmp(x, y, P))
			fail_msg("page %#" PRIx64 " differs", at);
	}
}

static void compare(pid_t was, pid_t is)
{
	/* VMF_SH: of a sealed memfd the kernel calls a mapping shared that was made before. */
	const uint64_t ignored =
		VMF_BIT(VMF_AC) | VMF_BIT(VMF_SD) | VMF_BIT(VMF_GU) | VMF_BIT(VMF_SH);
	scoped struct proc_smap *a = NULL, *b = NULL;
	size_t n = yard_smaps(was, &a);
	int x = open_mem(was), y = open_mem(is);

	assert_int_equal(yard_smaps(is, &b), n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(a[i].start, b[i].start);
		assert_int_equal(a[i].end, b[i].end);
		if ((a[i].flags ^ b[i].flags) & ~ignored)
			fail_msg("VMA %#" PRIx64 ": flags %#" PRIx64 ", not %#" PRIx64, a[i].start,
				 b[i].flags, a[i].flags);
		if (a[i].end - a[i].start < UINT64_C(1) << 30)
			compare_pages(x, y, a[i].start, a[i].end);
		else
			for (uint64_t k = 0; k < 100; k++)
				compare_pages(x, y, a[i].start + k * (UINT64_C(10) << 30),
					      a[i].start + k * (UINT64_C(10) << 30) + 2 * P);
	}
	close(x);
	close(y);
}

/* --- the tests ---------------------------------------------------------------------- */

struct here {
	char dir[64], file[96];
	bool guards;
	struct chain *chain;
	struct child victim;
	struct saved d;
	struct built n;
};

static bool has_guards(void)
{
	char *p = mmap(NULL, P, PROT_READ, ANON_PRIVATE_MAP, -1, 0);
	bool has = !madvise(p, P, MADV_GUARD_INSTALL);

	munmap(p, P);
	return has;
}

static int setup(void **state)
{
	struct here *h = xcalloc(1, sizeof(*h));
	struct err err = {};
	int fd;

	snprintf(h->dir, sizeof(h->dir), "/tmp/unit-memory.XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	snprintf(h->file, sizeof(h->file), "%s/mapped", h->dir);
	fd = open(h->file, O_RDWR | O_CREAT, 0600);
	for (int i = 0; i < 8; i++)
		assert_int_equal(pwrite(fd, "the file's own page", 19, i * P + 17), 19);
	assert_int_equal(ftruncate(fd, 8 * P), 0);
	close(fd);
	h->guards = has_guards();
	ok(&err, chain_open(&h->chain, h->dir, CHAIN_WRITE, &err));
	h->victim = victim_start(h->file, h->guards);
	*state = h;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct here *h = *state;

	child_end(&h->victim);
	chain_release(&h->chain);
	nftw(h->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(h);
	return 0;
}

static const VmaEntry *entry_at(const struct task *task, enum place p)
{
	for (size_t i = 0; i < task->mm->n_vmas; i++)
		if (task->mm->vmas[i]->start == (uintptr_t)place(p))
			return task->mm->vmas[i];
	fail_msg("no VMA at place %d", p);
	return NULL;
}

static void looks_at_every_kind(void **state)
{
	static const struct {
		enum place at;
		uint32_t status, flags, prot;
	} want[] = {
		{ ANON, VMA_REGULAR | VMA_ANON_PRIVATE, ANON_PRIVATE_MAP, PROT_READ | PROT_WRITE },
		{ READONLY, VMA_REGULAR | VMA_ANON_PRIVATE, ANON_PRIVATE_MAP, PROT_READ },
		{ NO_ACCESS, VMA_REGULAR | VMA_ANON_PRIVATE, ANON_PRIVATE_MAP, PROT_NONE },
		{ FILE_PRIVATE, VMA_REGULAR | VMA_FILE_PRIVATE, MAP_PRIVATE,
		  PROT_READ | PROT_WRITE },
		{ FILE_SHARED, VMA_REGULAR | VMA_FILE_SHARED, MAP_SHARED, PROT_READ | PROT_WRITE },
		{ SHARED, VMA_REGULAR | VMA_FILE_SHARED | VMA_MEMFD, MAP_SHARED,
		  PROT_READ | PROT_WRITE },
		{ MEMFD, VMA_REGULAR | VMA_FILE_PRIVATE | VMA_MEMFD, MAP_PRIVATE,
		  PROT_READ | PROT_WRITE },
		{ MEMFD_RO, VMA_REGULAR | VMA_FILE_SHARED | VMA_MEMFD, MAP_SHARED, PROT_READ },
		{ GROWS, VMA_REGULAR | VMA_ANON_PRIVATE, ANON_PRIVATE_MAP | MAP_GROWSDOWN,
		  PROT_READ | PROT_WRITE },
		{ LOCKED, VMA_REGULAR | VMA_ANON_PRIVATE, ANON_PRIVATE_MAP | MAP_LOCKED,
		  PROT_READ | PROT_WRITE },
		{ HUGE_HOLE, VMA_REGULAR | VMA_ANON_PRIVATE, ANON_PRIVATE_MAP | MAP_NORESERVE,
		  PROT_READ | PROT_WRITE },
	};
	struct here *h = *state;
	struct task *task = tree_of(&h->d, h->victim.pid);
	const VmaEntry *e;

	look(&h->d, task);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		e = entry_at(task, want[i].at);
		assert_int_equal(e->status, want[i].status);
		assert_int_equal(e->flags, want[i].flags);
		assert_int_equal(e->prot, want[i].prot);
		assert_int_equal(e->fd, -1);
	}
	assert_int_equal(entry_at(task, FILE_PRIVATE)->pgoff, P);
	assert_int_equal(entry_at(task, FILE_SHARED)->fdflags, O_RDWR);
	assert_int_equal(entry_at(task, MEMFD_RO)->fdflags, O_RDONLY);
	assert_int_equal(entry_at(task, ADVISED)->madv, 1 << MADV_DONTFORK | 1 << MADV_NOHUGEPAGE |
								1 << MADV_DONTDUMP |
								1 << MADV_RANDOM);
	if (h->guards) {
		e = task->mm->vmas[task->mm->n_vmas - 1];
		assert_int_equal(e->status, VMA_GUARD);
		assert_int_equal(e->start, (uintptr_t)place(GUARDED) + 2 * P);
		assert_int_equal(e->end, (uintptr_t)place(GUARDED) + 5 * P);
	}
	saved_end(&h->d);
}

static void rebuilds_the_same(void **state)
{
	struct here *h = *state;

	save(&h->d, h->chain, h->victim.pid, 0);
	assert_true(h->d.s.pages_zero >= 16);
	saved_end(&h->d);
	build(&h->n, h->chain, 1, h->victim.pid);
	compare(h->victim.pid, h->n.child.pid);
	built_end(&h->n);
}

static uint32_t run_flags(const struct pagemap *p, const char *addr)
{
	const struct pagemap_run *r = pagemap_find(p, (uintptr_t)addr);

	return r ? r->flags : 0;
}

/* The number of the object at SHARED: none other has its size. */
static uint32_t shared_id(int dir)
{
	struct img_reader *r = NULL;
	MemfdInodeEntry *e;
	struct err err = {};
	uint32_t id = 0;

	ok(&err, img_open(&r, &err, dir, "memfd.img"));
	while (img_next(r, &e, &err) == 1) {
		if (!strcmp(e->name, "/dev/zero") && e->size == 32 * P)
			id = e->shmid;
		memfd_inode_entry__free_unpacked(e, NULL);
	}
	img_reader_release(&r);
	assert_int_not_equal(id, 0);
	return id;
}

static void check_increment(struct here *h)
{
	struct pagemap p = {};
	struct err err = {};
	char name[64];
	int dir = chain_checkpoint(chain_dirfd(h->chain), 2, &err);

	snprintf(name, sizeof(name), "pagemap-%d.img", h->victim.pid);
	ok(&err, pagemap_load(&p, dir, name, &err));
	assert_int_equal(run_flags(&p, place(ANON)), PAGE_IN_PARENT);
	assert_int_equal(run_flags(&p, place(ANON) + P), PAGE_PRESENT);
	assert_int_equal(run_flags(&p, place(ANON) + 2 * P), 0);
	assert_int_equal(run_flags(&p, place(ANON) + 3 * P), 0);
	assert_int_equal(run_flags(&p, place(ANON) + 4 * P), PAGE_IN_PARENT);
	assert_int_equal(run_flags(&p, place(ANON) + 40 * P), PAGE_PRESENT);
	assert_int_equal(run_flags(&p, place(ZEROS)), 0);
	assert_int_equal(run_flags(&p, place(ZEROS) + 5 * P), PAGE_PRESENT);
	assert_int_equal(run_flags(&p, place(FILE_PRIVATE) + 2 * P), PAGE_IN_PARENT);
	pagemap_release(&p);

	snprintf(name, sizeof(name), "pagemap-shmem-%u.img", shared_id(dir));
	p = (struct pagemap) {};
	ok(&err, pagemap_load(&p, dir, name, &err));
	assert_int_equal(run_flags(&p, (char *)(2 * P)), PAGE_IN_PARENT);
	assert_int_equal(run_flags(&p, (char *)(4 * P)), PAGE_PRESENT);
	assert_int_equal(run_flags(&p, (char *)(6 * P)), 0);
	assert_int_equal(run_flags(&p, (char *)(18 * P)), PAGE_IN_PARENT);
	pagemap_release(&p);
	close(dir);
}

static void increments_hold_what_changed(void **state)
{
	struct here *h = *state;

	save(&h->d, h->chain, h->victim.pid, 0);
	saved_end(&h->d);
	victim_change(&h->victim);
	save(&h->d, h->chain, h->victim.pid, 1);
	assert_true(h->d.s.pages_parent > 100);
	saved_end(&h->d);
	check_increment(h);
	build(&h->n, h->chain, 2, h->victim.pid);
	compare(h->victim.pid, h->n.child.pid);
	built_end(&h->n);
}

static void shared_memory_stays_shared(void **state)
{
	struct here *h = *state;
	scoped_proc dir = NULL;
	char *target;
	char link[64];

	save(&h->d, h->chain, h->victim.pid, 0);
	saved_end(&h->d);
	build(&h->n, h->chain, 1, h->victim.pid);
	assert_int_equal(proc_open(&dir, NULL, h->n.child.pid, NULL), 0);
	snprintf(link, sizeof(link), "map_files/%" PRIxPTR "-%" PRIxPTR, (uintptr_t)place(SHARED),
		 (uintptr_t)(place(SHARED) + 32 * P));
	assert_int_equal(proc_readlink(dir, link, &target, NULL), 0);
	assert_string_equal(target, "/dev/zero (deleted)");
	free(target);
	snprintf(link, sizeof(link), "map_files/%" PRIxPTR "-%" PRIxPTR, (uintptr_t)place(MEMFD_RO),
		 (uintptr_t)(place(MEMFD_RO) + 8 * P));
	assert_int_equal(proc_readlink(dir, link, &target, NULL), 0);
	assert_string_equal(target, "/memfd:a name (deleted)");
	free(target);
	built_end(&h->n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(looks_at_every_kind, setup, teardown),
		cmocka_unit_test_setup_teardown(rebuilds_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(increments_hold_what_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_memory_stays_shared, setup, teardown),
	};

	hand = mmap(NULL, sizeof(*hand), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (hand == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
