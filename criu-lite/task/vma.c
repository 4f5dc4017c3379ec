/* vma.c - what a VMA is: /proc into an image entry, and entries that were read checked. */
#include "base/kernel-abi.h"
#include "base/mem.h"
#include "criu-lite/file/memfd.h"
#include "criu-lite/task/memory_vma.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define PROT_ALL (PROT_READ | PROT_WRITE | PROT_EXEC)

/* Mappings that the kernel makes itself; no path of a file begins with a bracket. */
static const struct {
	const char *name;
	uint32_t status;
} special[] = {
	{ "[vdso]", VMA_REGULAR | VMA_ANON_PRIVATE | VMA_VDSO },
	{ "[vvar]", VMA_REGULAR | VMA_ANON_PRIVATE | VMA_VVAR },
	{ "[vvar_vclock]", VMA_REGULAR | VMA_ANON_PRIVATE | VMA_VVAR },
	{ "[vsyscall]", VMA_ANON_PRIVATE | VMA_VSYSCALL },
};

static const struct {
	uint64_t flags;
	const char *what;
} refused_flags[] = {
	{ VMF_BIT(VMF_HT), "huge pages (hugetlb)" },
	{ VMF_BIT(VMF_SS), "a shadow stack" },
	{ VMF_BIT(VMF_UM) | VMF_BIT(VMF_UI), "memory served by userfaultfd" },
	{ VMF_BIT(VMF_SL), "sealed memory (mseal)" },
	{ VMF_BIT(VMF_SF), "a MAP_SYNC mapping" },
	{ VMF_BIT(VMF_PF) | VMF_BIT(VMF_IO), "device memory" },
};

/* What is mapped that is neither a file nor shared memory, by the beginning of its name. */
static const struct {
	const char *prefix, *what;
} refused_names[] = {
	{ "/SYSV", "System V shared memory" },
	{ "/[aio]", "the ring of an AIO context" },
	{ "socket:", "the ring of a packet socket" },
	{ "anon_inode:[io_uring]", "the rings of io_uring" },
	{ "anon_inode:[perf_event]", "a perf event buffer" },
	{ "[uprobes]", "uprobes" },
};

/* --- saving ---------------------------------------------------------------------- */

struct look_at {
	struct saver *s;
	struct task *task;
	const struct proc_vma *v;
	const struct proc_smap *smap;
};

static void refuse_vma(const struct look_at *l, const char *what)
{
	refuse(l->s->refusals, "task %d: memory at %#" PRIx64 ": %s is not supported", l->task->pid,
	       l->v->start, what);
}

static uint32_t special_status(const struct proc_vma *v)
{
	for (size_t i = 0; v->path && i < ARRAY_SIZE(special); i++)
		if (!strcmp(v->path, special[i].name))
			return special[i].status;
	return 0;
}

/* A key that the task chose; execute-only memory has one that the kernel chose and will again. */
static bool has_own_key(const struct look_at *l)
{
	return l->smap->pkey && l->v->prot != PROT_EXEC;
}

static bool refused_by_flags(const struct look_at *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused_flags); i++) {
		if (l->smap->flags & refused_flags[i].flags) {
			refuse_vma(l, refused_flags[i].what);
			return true;
		}
	}
	if (has_own_key(l))
		refuse_vma(l, "memory with a protection key");
	if (l->v->end > USER_END)
		refuse_vma(l, "an address above 47 bits");
	return has_own_key(l) || l->v->end > USER_END;
}

static bool refused_by_name(const struct look_at *l, const char *link)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused_names); i++) {
		if (!strncmp(link, refused_names[i].prefix, strlen(refused_names[i].prefix))) {
			refuse_vma(l, refused_names[i].what);
			return true;
		}
	}
	return false;
}

static uint32_t map_flags(const struct look_at *l)
{
	static const struct {
		enum proc_vmflag flag;
		uint32_t map;
	} table[] = {
		{ VMF_GD, MAP_GROWSDOWN },
		{ VMF_LO, MAP_LOCKED },
		{ VMF_NR, MAP_NORESERVE },
	};
	uint32_t flags = l->v->shared ? MAP_SHARED : MAP_PRIVATE;

	if (l->smap->flags & VMF_BIT(VMF_DP)) /* a kind of its own, beside shared and private */
		flags = MAP_DROPPABLE;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (l->smap->flags & VMF_BIT(table[i].flag))
			flags |= table[i].map;
	return flags;
}

/* Could it be written to if it were mprotected? Shared: that is how the file was opened. */
static uint32_t open_mode(const struct look_at *l)
{
	return l->v->shared && (l->smap->flags & VMF_BIT(VMF_MW)) ? O_RDWR : O_RDONLY;
}

static bool is_dev_zero(const struct look_at *l, const struct stat *st)
{
	return !l->v->shared && S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 5);
}

static bool same_file(const struct mapped_file *f, const struct proc_vma *v, uint32_t flags)
{
	return f->ino == v->ino && f->maj == v->maj && f->min == v->min && f->flags == flags &&
	       !strcmp(f->path, v->path);
}

void mapped_file_release(struct mapped_file *f)
{
	free(f->path);
	free(f->link);
	free(f->target);
}

static struct mapped_file *known_file(const struct look_at *l)
{
	struct task_memory *m = memory_of(l->task);
	uint32_t flags = open_mode(l);

	for (size_t i = m->n_files; i-- > 0;)
		if (same_file(&m->file[i], l->v, flags))
			return &m->file[i];
	return NULL;
}

static int read_target(const struct look_at *l, struct mapped_file *f, struct err *err)
{
	const struct proc_dir *dir = l->task->proc;
	int rc;

	f->link = xasprintf("map_files/%" PRIx64 "-%" PRIx64, l->v->start, l->v->end);
	rc = proc_readlink(dir, f->link, &f->target, err);
	if (!rc && fstatat(proc_dirfd(dir), f->link, &f->st, 0) < 0)
		rc = err_errno(err, "%s", f->link);
	return rc;
}

/* A file mapped in many pieces is asked about once. */
static int find_file(const struct look_at *l, struct mapped_file **out, struct err *err)
{
	struct task_memory *m = memory_of(l->task);
	const struct proc_vma *v = l->v;
	struct mapped_file f = { .maj = v->maj, .min = v->min, .ino = v->ino };
	int rc;

	*out = known_file(l);
	if (*out)
		return 0;
	f.flags = open_mode(l);
	f.path = xstrdup(v->path);
	rc = read_target(l, &f, err);
	if (rc < 0) {
		mapped_file_release(&f);
		return rc;
	}
	ARRAY_PUSH(m->file, m->n_files, m->cap_files, f);
	*out = &m->file[m->n_files - 1];
	return 0;
}

void vma_read(struct task *task, const struct proc_vma *v, const struct proc_smap *smap)
{
	const struct look_at l = { .task = task, .v = v, .smap = smap };
	struct mapped_file *f;

	/* Why it cannot be read matters to whoever needs it: then it is tried again. */
	if (v->ino)
		find_file(&l, &f, NULL);
}

/* Its id and kind: 1, or 0 when it is refused. */
static int save_target(const struct look_at *l, struct mapped_file *f, struct err *err)
{
	struct file_target at = { f->link, f->target, &f->st };
	int rc;

	if (f->saved)
		return 1;
	f->memfd = memfd_is_object(&f->st, f->target);
	if (!f->memfd && (memfd_is_shmem(&f->st) || !S_ISREG(f->st.st_mode)) &&
	    !is_dev_zero(l, &f->st)) {
		if (!refused_by_name(l, f->target))
			refuse_vma(l, f->target);
		return 0;
	}
	rc = f->memfd ? file_add_memfd_link(l->s->files, l->task, f->link, f->flags, &f->id, err)
		      : file_add_target(l->s->files, l->task, &at, f->flags, &f->id, err);
	if (rc == ERR_REFUSED) {
		refuse(l->s->refusals, "task %d: memory at %#" PRIx64 ": %s", l->task->pid,
		       l->v->start, err ? err->text : "this file is not supported");
		return 0;
	}
	f->saved = rc == 0;
	return rc < 0 ? rc : 1;
}

static VmaEntry *entry_new(uint64_t start, uint64_t end)
{
	VmaEntry *e = xmalloc(sizeof(*e));

	vma_entry__init(e);
	e->start = start;
	e->end = end;
	e->fd = -1;
	return e;
}

char *vma_given_name(const struct proc_vma *v)
{
	static const char *const prefix[] = { "[anon:", "[anon_shmem:" };
	size_t len = v->path ? strlen(v->path) : 0;

	for (size_t i = 0; i < ARRAY_SIZE(prefix); i++) {
		size_t n = strlen(prefix[i]);

		if (len > n && !strncmp(v->path, prefix[i], n) && v->path[len - 1] == ']')
			return xasprintf("%.*s", (int)(len - n - 1), v->path + n);
	}
	return NULL;
}

VmaEntry *vma_guard(uint64_t start, uint64_t end)
{
	VmaEntry *e = entry_new(start, end);

	e->status = VMA_GUARD;
	return e;
}

static VmaEntry *entry_of(const struct look_at *l, uint32_t status)
{
	VmaEntry *e = entry_new(l->v->start, l->v->end);

	e->prot = l->v->prot;
	e->status = status;
	e->flags = map_flags(l);
	e->madv = proc_smap_madv(l->smap->flags);
	e->has_madv = e->madv != 0;
	return e;
}

static int save_file(const struct look_at *l, VmaEntry **out, struct err *err)
{
	struct mapped_file *f;
	VmaEntry *e;
	int rc;

	rc = find_file(l, &f, err);
	if (!rc)
		rc = save_target(l, f, err);
	if (rc <= 0)
		return rc;
	e = entry_of(l, VMA_REGULAR | (l->v->shared ? VMA_FILE_SHARED : VMA_FILE_PRIVATE) |
				(f->memfd ? VMA_MEMFD : 0));
	e->pgoff = l->v->pgoff_bytes;
	e->shmid = f->id;
	e->has_fdflags = true;
	e->fdflags = f->flags;
	*out = e;
	return 0;
}

static void save_anon(const struct look_at *l, VmaEntry **out)
{
	VmaEntry *e = entry_of(l, VMA_REGULAR | VMA_ANON_PRIVATE);

	e->flags |= MAP_ANONYMOUS;
	if (l->v->path && !strcmp(l->v->path, "[heap]"))
		e->status |= VMA_HEAP;
	*out = e;
}

static void save_special(const struct look_at *l, uint32_t status, VmaEntry **out)
{
	VmaEntry *e = entry_of(l, status);

	e->flags = MAP_PRIVATE | MAP_ANONYMOUS;
	e->madv = 0;
	e->has_madv = false;
	*out = e;
}

int vma_save(struct saver *s, struct task *task, const struct proc_vma *v,
	     const struct proc_smap *smap, VmaEntry **out, struct err *err)
{
	struct look_at l = { .s = s, .task = task, .v = v, .smap = smap };
	uint32_t status = special_status(v);

	*out = NULL;
	if (status) {
		save_special(&l, status, out);
		return 0;
	}
	if (refused_by_flags(&l) || (!v->ino && v->path && refused_by_name(&l, v->path)))
		return 0;
	if (v->ino)
		return save_file(&l, out, err);
	if (v->shared)
		refuse_vma(&l, v->path ? v->path : "shared memory without a file");
	else
		save_anon(&l, out);
	return 0;
}

/* --- checking what was read --------------------------------------------------------- */

#define MADV_BITS                                                                                  \
	(1ull << MADV_RANDOM | 1ull << MADV_SEQUENTIAL | 1ull << MADV_DONTFORK |                   \
	 1ull << MADV_MERGEABLE | 1ull << MADV_HUGEPAGE | 1ull << MADV_NOHUGEPAGE |                \
	 1ull << MADV_DONTDUMP | 1ull << MADV_WIPEONFORK)

static const struct {
	uint32_t status;
	const char *what;
} refused_status[] = {
	{ VMA_SYSVIPC, "System V shared memory" },
	{ VMA_ANON_SHARED, "shared memory in huge pages" },
	{ VMA_SOCKET, "the ring of a packet socket" },
	{ VMA_AIORING, "the ring of an AIO context" },
	{ VMA_SHSTK, "a shadow stack" },
	{ VMA_EXT_PLUGIN, "a device mapping" },
};

static int check_refused(const VmaEntry *e, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused_status); i++)
		if (e->status & refused_status[i].status)
			return err_set(err, ERR_REFUSED, "%s is not supported",
				       refused_status[i].what);
	if (e->flags & MAP_HUGETLB)
		return err_set(err, ERR_REFUSED, "huge pages are not supported");
	if (e->has_madv && (e->madv & ~MADV_BITS))
		return err_set(err, ERR_REFUSED, "advice %#" PRIx64 " is not supported",
			       (uint64_t)(e->madv & ~MADV_BITS));
	return 0;
}

static bool bounds_sane(const VmaEntry *e)
{
	if (e->status & VMA_VSYSCALL)
		return e->start == VSYSCALL_ADDR && e->end == VSYSCALL_ADDR + PAGE_SIZE;
	return e->start < e->end && !(e->start % PAGE_SIZE) && !(e->end % PAGE_SIZE) &&
	       e->end <= USER_END;
}

static int check_file(const struct builder *b, const VmaEntry *e, struct err *err)
{
	const FileEntry *f;

	if (!(e->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED)))
		return 0;
	if (e->pgoff % PAGE_SIZE || e->pgoff > INT64_MAX - (e->end - e->start))
		return err_set(err, -EBADMSG, "file offset %#" PRIx64 " is not sane", e->pgoff);
	f = e->shmid <= UINT32_MAX ? file_find(b->files, e->shmid) : NULL;
	if (!f || f->type != (e->status & VMA_MEMFD ? FD_TYPES__MEMFD : FD_TYPES__REG))
		return err_set(err, -EBADMSG, "file %" PRIu64 " is not in files.img", e->shmid);
	return 0;
}

/* Exactly one of the four ways to be mapped, and flags that agree with it. */
static bool kind_sane(const VmaEntry *e)
{
	uint32_t ways = e->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED | VMA_ANON_PRIVATE);
	uint32_t type = e->flags & (MAP_SHARED | MAP_PRIVATE | MAP_DROPPABLE);
	bool shared = e->status & VMA_FILE_SHARED;

	if (!ways || ways & (ways - 1) || e->prot & ~PROT_ALL)
		return false;
	if (e->status & VMA_SPECIAL)
		return true;
	if (!(e->status & VMA_REGULAR) ||
	    !(e->status & VMA_ANON_PRIVATE) != !(e->flags & MAP_ANONYMOUS))
		return false;
	return shared ? type == MAP_SHARED : type & (MAP_PRIVATE | MAP_DROPPABLE);
}

static int check_one(const struct builder *b, const VmaEntry *e, struct err *err)
{
	int rc;

	if (!bounds_sane(e))
		return err_set(err, -EBADMSG, "bounds are not sane");
	if (e->status == VMA_GUARD)
		return 0;
	rc = check_refused(e, err);
	if (rc < 0)
		return rc;
	if (!kind_sane(e))
		return err_set(err, -EBADMSG,
			       "status %#x, flags %#x and protection %#x do not agree", e->status,
			       e->flags, e->prot);
	return check_file(b, e, err);
}

int vmas_check(const struct builder *b, const MmEntry *mm, struct err *err)
{
	uint64_t end = 0, guard_end = 0;

	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *e = mm->vmas[i];
		uint64_t *last = e->status == VMA_GUARD ? &guard_end : &end;
		int rc = check_one(b, e, err);

		if (!rc && e->start < *last)
			rc = err_set(err, -EBADMSG, "out of order");
		if (!rc && guard_end && e->status != VMA_GUARD)
			rc = err_set(err, -EBADMSG, "a mapping behind the guard pages");
		if (rc < 0)
			return err_add(err, rc, "VMA %#" PRIx64 "-%#" PRIx64, e->start, e->end);
		*last = e->end;
	}
	return 0;
}
