/* fd_memfd.c - save and rebuild shared memory objects: memfds, shared anonymous memory. */
#include "criu-lite/file/memfd.h"
#include "base/kernel-abi.h"
#include "base/mem.h"
#include "criu-lite/file/state.h"
#include "criu-lite/proc/proc.h"
#include "images/img.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define PREFIX	   "/memfd:"
#define DELETED	   " (deleted)"
#define ANON_NAME  "/dev/zero"
#define NAME_LIMIT 249u /* memfd_create(2) */
#define ALL_SEALS                                                                                  \
	(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE |          \
	 F_SEAL_EXEC)

struct memfds_save {
	struct memfd_object *object;
	size_t n, cap;
	struct mapped { /* how objects are mapped: one MEMFD entry for each way */
		uint32_t inode_id, flags, id;
	} * mapped;
	size_t n_mapped, cap_mapped;
};

/* --- what it is ------------------------------------------------------------------ */

/* Device number of the tmpfs that the kernel keeps for itself; 0 if that cannot be found. */
static dev_t shmem_dev(void)
{
	scoped_fd fd = memfd_create("probe", MFD_CLOEXEC);
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) ? st.st_dev : 0;
}

bool memfd_is_shmem(const struct stat *st)
{
	static dev_t dev; /* cannot change while the machine is up */

	if (!dev)
		dev = shmem_dev();
	return dev && st->st_dev == dev;
}

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

bool memfd_is_object(const struct stat *st, const char *link)
{
	return memfd_is_shmem(st) && (starts(link, PREFIX) || !strcmp(link, ANON_NAME DELETED));
}

/* The name it was made with: the link without its frame. Caller frees. */
static char *object_name(const char *link)
{
	size_t end = strlen(link), tail = strlen(DELETED);
	char *name;

	if (end > tail && !strcmp(link + end - tail, DELETED))
		end -= tail;
	if (starts(link, PREFIX)) {
		link += strlen(PREFIX);
		end -= strlen(PREFIX);
	}
	name = xmalloc(end + 1);
	memcpy(name, link, end);
	name[end] = '\0';
	return name;
}

/* --- saving ---------------------------------------------------------------------- */

static struct memfds_save *saved(struct file_save *s)
{
	struct file_save_state *state = file_state(s);

	if (!state->memfds)
		state->memfds = xcalloc(1, sizeof(*state->memfds));
	return state->memfds;
}

size_t memfd_objects(const struct file_save *s, const struct memfd_object **v)
{
	const struct memfds_save *m = s->state ? s->state->memfds : NULL;

	*v = m ? m->object : NULL;
	return m ? m->n : 0;
}

static struct memfd_object *object_find(struct memfds_save *m, const struct stat *st)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->object[i].dev == st->st_dev && m->object[i].ino == st->st_ino)
			return &m->object[i];
	return NULL;
}

static MemfdInodeEntry *inode_entry(const struct stat *st, const char *link, int seals,
				    uint64_t inode_id)
{
	MemfdInodeEntry *e = xmalloc(sizeof(*e));

	memfd_inode_entry__init(e);
	e->name = object_name(link);
	e->uid = st->st_uid;
	e->gid = st->st_gid;
	e->size = st->st_size;
	e->shmid = st->st_ino;
	e->seals = seals;
	e->inode_id = inode_id;
	e->has_mode = true;
	e->mode = st->st_mode & 07777;
	return e;
}

/*
 * The object behind @fd, which @name of /proc/PID opens and @link names: found
 * or added. Its index in *@i.
 */
static int object_add(struct file_save *s, struct task *task, const char *name, const char *link,
		      int fd, const struct stat *st, uint32_t *inode_id, struct err *err)
{
	struct memfds_save *m = saved(s);
	struct memfd_object *o = object_find(m, st);
	struct memfd_object fresh = { .dev = st->st_dev, .ino = st->st_ino, .task = task };
	int seals;

	if (o) {
		*inode_id = o->inode->inode_id;
		return 0;
	}
	if (st->st_ino > UINT32_MAX) /* pagemap-shmem-ID has room for 32 bits */
		return err_set(err, ERR_REFUSED, "%s: inode number %ju is not supported", link,
			       (uintmax_t)st->st_ino);
	/* In images the name alone tells the two apart. */
	if (starts(link, PREFIX) && !strcmp(link + strlen(PREFIX), ANON_NAME DELETED))
		return err_set(err, ERR_REFUSED, "a memfd named " ANON_NAME " is not supported");
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0)
		return err_errno(err, "reading the seals of %s", link);
	if (seals & ~ALL_SEALS)
		return err_set(err, ERR_REFUSED, "%s: seals %#x are not supported", link, seals);
	*inode_id = m->n + 1;
	fresh.inode = inode_entry(st, link, seals, *inode_id);
	fresh.link = xstrdup(name);
	ARRAY_PUSH(m->object, m->n, m->cap, fresh);
	return 0;
}

static bool memfd_match(const struct fd_look *l)
{
	return starts(l->link, PREFIX) || memfd_is_object(&l->st, l->link);
}

static int memfd_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
{
	char name[32];
	off_t pos;

	if (!memfd_is_object(&l->st, l->link))
		return err_set(err, ERR_REFUSED, "memfd in huge pages is not supported");
	pos = lseek(l->copy, 0, SEEK_CUR);
	if (pos < 0)
		return err_errno(err, "lseek");
	e->memfd->pos = pos;
	snprintf(name, sizeof(name), "fd/%d", l->fd);
	return object_add(s, l->task, name, l->link, l->copy, &l->st, &e->memfd->inode_id, err);
}

static uint32_t mapped_entry(struct file_save *s, uint32_t inode_id, uint32_t flags)
{
	struct memfds_save *m = saved(s);
	struct mapped way = { .inode_id = inode_id, .flags = flags };
	FileEntry *e;

	for (size_t i = 0; i < m->n_mapped; i++)
		if (m->mapped[i].inode_id == inode_id && m->mapped[i].flags == flags)
			return m->mapped[i].id;
	way.id = file_new_id(s);
	e = file_entry_new(FD_TYPES__MEMFD, way.id, flags);
	e->memfd->inode_id = inode_id;
	file_append(s, e);
	ARRAY_PUSH(m->mapped, m->n_mapped, m->cap_mapped, way);
	return way.id;
}

int file_add_memfd_link(struct file_save *s, struct task *task, const char *link, uint32_t flags,
			uint32_t *id, struct err *err)
{
	scoped char *target = NULL;
	scoped_fd fd = -1;
	uint32_t inode_id = 0;
	struct stat st;
	int rc;

	rc = proc_readlink(task->proc, link, &target, err);
	if (rc < 0)
		return rc;
	fd = proc_openat(task->proc, link, O_RDONLY);
	if (fd < 0)
		return err_code(err, fd, "opening %s", link);
	if (fstat(fd, &st) < 0)
		return err_errno(err, "%s", link);
	rc = object_add(s, task, link, target, fd, &st, &inode_id, err);
	if (rc < 0)
		return rc;
	*id = mapped_entry(s, inode_id, flags);
	return 0;
}

static int memfd_settle(struct file_save *s, struct err *err)
{
	const struct memfd_object *o;
	size_t n = memfd_objects(s, &o);

	for (size_t i = 0; i < n; i++) {
		pid_t pid = file_outsider(s, HELD_MEMORY, o[i].ino);

		if (pid)
			refuse(s->refusals,
			       "task %d: %s: shared memory (memfd %s) that task %d outside of the"
			       " tree has as well is not supported",
			       o[i].task->pid, o[i].link, o[i].inode->name, pid);
	}
	return 0;
}

static int memfd_write(struct file_save *s, int dirfd, struct err *err)
{
	const struct memfd_object *o;
	scoped_writer w = NULL;
	size_t n = memfd_objects(s, &o);
	int rc;

	if (!n)
		return 0;
	rc = img_create(&w, err, dirfd, "memfd.img");
	for (size_t i = 0; !rc && i < n; i++)
		rc = img_append(w, o[i].inode, err);
	return rc < 0 ? rc : img_close(&w, err);
}

static void memfd_save_release(struct file_save *s)
{
	struct memfds_save *m = s->state->memfds;

	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		free(m->object[i].inode->name);
		free(m->object[i].inode);
		free(m->object[i].link);
	}
	free(m->object);
	free(m->mapped);
	free(m);
	s->state->memfds = NULL;
}

/* --- rebuilding ------------------------------------------------------------------ */

struct memfds_build {
	struct rebuilt {
		MemfdInodeEntry *inode;
		int fd; /* -1: not made yet */
	} * object;
	size_t n, cap;
};

static struct memfds_build *rebuilding(const struct file_build *b)
{
	if (!b->state->memfds)
		b->state->memfds = xcalloc(1, sizeof(*b->state->memfds));
	return b->state->memfds;
}

static struct rebuilt *rebuilt_find(struct memfds_build *m, uint64_t inode_id)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->object[i].inode->inode_id == inode_id)
			return &m->object[i];
	return NULL;
}

static int inode_check(struct memfds_build *m, const MemfdInodeEntry *e, struct err *err)
{
	bool anon = !strcmp(e->name, ANON_NAME);

	if (rebuilt_find(m, e->inode_id))
		return err_set(err, -EBADMSG, "inode %" PRIu64 " is there twice", e->inode_id);
	if (e->has_hugetlb_flag)
		return err_set(err, ERR_REFUSED, "memfd '%s' in huge pages is not supported",
			       e->name);
	if (strlen(e->name) > NAME_LIMIT || e->size > INT64_MAX - IMG_PAGE_SIZE)
		return err_set(err, -EBADMSG, "inode %" PRIu64 ": name or size is too large",
			       e->inode_id);
	if (anon && (!e->size || e->size % IMG_PAGE_SIZE))
		return err_set(err, -EBADMSG, "inode %" PRIu64 ": size %" PRIu64 " is odd",
			       e->inode_id, e->size);
	if (e->seals & ~ALL_SEALS)
		return err_set(err, ERR_REFUSED, "memfd '%s': seals %#x are not supported", e->name,
			       e->seals);
	return 0;
}

static int memfd_load(struct file_build *b, struct err *err)
{
	struct memfds_build *m = rebuilding(b);
	scoped_reader r = NULL;
	MemfdInodeEntry *e;
	int rc = img_open(&r, err, b->dirfd, "memfd.img");

	if (rc == -ENOENT)
		return 0;
	while (!rc && (rc = img_next(r, &e, err)) == 1) {
		struct rebuilt o = { .inode = e, .fd = -1 };

		rc = inode_check(m, e, err);
		if (rc < 0)
			rc = err_add(err, rc, "memfd.img");
		ARRAY_PUSH(m->object, m->n, m->cap, o);
	}
	return rc;
}

/*
 * What a MAP_SHARED|MAP_ANONYMOUS mapping is made of can only be made by such a
 * mapping; map_files opens it, and then the mapping may go. Where there is not
 * enough memory to promise all of it, the task had asked for MAP_NORESERVE.
 */
static int anon_create(uint64_t size, struct err *err)
{
	int flags = MAP_SHARED | MAP_ANONYMOUS;
	char path[80];
	void *p;
	int fd;

	p = mmap(NULL, size, PROT_NONE, flags, -1, 0);
	if (p == MAP_FAILED && errno == ENOMEM)
		p = mmap(NULL, size, PROT_NONE, flags | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return err_errno(err, "shared memory of %" PRIu64 " bytes", size);
	snprintf(path, sizeof(path), "/proc/self/map_files/%" PRIxPTR "-%" PRIxPTR, (uintptr_t)p,
		 (uintptr_t)p + size);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fd = err_errno(err, "%s", path);
	munmap(p, size);
	return fd;
}

/* Where no mode was saved: sealed against changes of the x bits it is sealed all over. */
static bool executable(const MemfdInodeEntry *e)
{
	const uint32_t all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;

	return e->has_mode ? e->mode & 0111 : (e->seals & all) == all;
}

static unsigned int create_flags(const MemfdInodeEntry *e)
{
	unsigned int flags = MFD_CLOEXEC;

	if (e->seals != F_SEAL_SEAL)
		flags |= MFD_ALLOW_SEALING;
	/* The seal keeps these bits as they are, whichever way. */
	return flags | (e->seals & F_SEAL_EXEC && !executable(e) ? MFD_NOEXEC_SEAL : MFD_EXEC);
}

static int memfd_make(const MemfdInodeEntry *e, struct err *err)
{
	unsigned int flags = create_flags(e);
	scoped_fd fd = memfd_create(e->name, flags);

	if (fd < 0 && errno == EINVAL) /* before 6.3, where all are executable */
		fd = memfd_create(e->name, flags & ~(MFD_EXEC | MFD_NOEXEC_SEAL));
	if (fd < 0)
		return err_errno(err, "memfd_create");
	if (ftruncate(fd, e->size) < 0)
		return err_errno(err, "making it %" PRIu64 " bytes long", e->size);
	return fd_take(&fd);
}

static int object_owner(int fd, const MemfdInodeEntry *e, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, "fstat");
	if ((st.st_uid != e->uid || st.st_gid != e->gid) && fchown(fd, e->uid, e->gid) < 0)
		return err_errno(err, "fchown");
	if (e->has_mode && (st.st_mode & 07777) != (e->mode & 07777) &&
	    fchmod(fd, e->mode & 07777) < 0)
		return err_errno(err, "fchmod");
	return 0;
}

static int object_make(const MemfdInodeEntry *e, struct err *err)
{
	scoped_fd fd = !strcmp(e->name, ANON_NAME) ? anon_create(e->size, err) : memfd_make(e, err);
	int rc;

	if (fd < 0)
		return err_add(err, fd, "memfd '%s'", e->name);
	rc = object_owner(fd, e, err);
	if (rc < 0)
		return err_add(err, rc, "memfd '%s'", e->name);
	return fd_take(&fd);
}

size_t memfd_count(const struct file_build *b)
{
	return rebuilding(b)->n;
}

const MemfdInodeEntry *memfd_inode(const struct file_build *b, size_t i)
{
	return rebuilding(b)->object[i].inode;
}

int memfd_open_object(struct file_build *b, size_t i, int *fd, struct err *err)
{
	struct rebuilt *o = &rebuilding(b)->object[i];

	if (o->fd < 0) {
		int made = object_make(o->inode, err);

		if (made < 0)
			return made;
		o->fd = made;
	}
	*fd = o->fd;
	return 0;
}

static int memfd_build(struct file_build *b, const FileEntry *e, int *fd, struct err *err)
{
	struct memfds_build *m = rebuilding(b);
	struct rebuilt *o = rebuilt_find(m, e->memfd->inode_id);
	char path[48];
	int object, rc;

	if (!o)
		return err_set(err, -EBADMSG, "memfd.img has no inode %u", e->memfd->inode_id);
	rc = memfd_open_object(b, o - m->object, &object, err);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", object);
	*fd = open(path, (e->memfd->flags & ~(O_CREAT | O_EXCL | O_TRUNC)) | O_CLOEXEC);
	if (*fd < 0)
		return err_errno(err, "memfd '%s'", o->inode->name);
	if (e->memfd->pos && lseek(*fd, e->memfd->pos, SEEK_SET) < 0) {
		rc = err_errno(err, "memfd '%s': position", o->inode->name);
		close(*fd);
	}
	return rc;
}

int memfd_seal(struct file_build *b, struct err *err)
{
	struct memfds_build *m = rebuilding(b);

	for (size_t i = 0; i < m->n; i++) {
		const MemfdInodeEntry *e = m->object[i].inode;
		int fd, seals, rc;

		if (!strcmp(e->name, ANON_NAME) || !e->seals || e->seals == F_SEAL_SEAL)
			continue;
		rc = memfd_open_object(b, i, &fd, err);
		if (rc < 0)
			return rc;
		seals = fcntl(fd, F_GET_SEALS);
		if (seals < 0)
			return err_errno(err, "memfd '%s': seals", e->name);
		if ((e->seals & ~seals) && fcntl(fd, F_ADD_SEALS, e->seals & ~seals) < 0)
			return err_errno(err, "memfd '%s': adding seals %#x", e->name, e->seals);
	}
	return 0;
}

static void memfd_build_release(struct file_build *b)
{
	struct memfds_build *m = b->state->memfds;

	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		memfd_inode_entry__free_unpacked(m->object[i].inode, NULL);
		if (m->object[i].fd >= 0)
			close(m->object[i].fd);
	}
	free(m->object);
	free(m);
	b->state->memfds = NULL;
}

const struct file_kind fd_memfd = {
	.name = "memfd",
	.type = FD_TYPES__MEMFD,
	.match = memfd_match,
	.save = memfd_save,
	.settle = memfd_settle,
	.build = memfd_build,
	.write = memfd_write,
	.load = memfd_load,
	.save_release = memfd_save_release,
	.build_release = memfd_build_release,
};
