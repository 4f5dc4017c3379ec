/* checksum.c - XXH3-64 of files and blocks, and pages files checked as they are used. */
#include "images/checksum.h"
#include "images/img-internal.h"
#include "base/mem.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* The length by fstat(2): files are complete when their sums are taken. */
static int length_of(int fd, const char *name, uint64_t *size, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, "%s: stat", name);
	*size = st.st_size;
	return 0;
}

static int read_block(int fd, const char *name, void *buf, uint64_t at, size_t n, struct err *err)
{
	int rc = full_pread(fd, buf, n, at);

	return rc < 0 ? err_code(err, rc, "%s: offset %llu: read", name, (unsigned long long)at)
		      : 0;
}

static size_t block_len(uint64_t size, uint64_t at, size_t block)
{
	return size - at < block ? size - at : block;
}

int sum_file(int fd, const char *name, uint64_t *size, uint64_t *hash, struct err *err)
{
	scoped void *buf = NULL;
	XXH3_state_t *state;
	int rc = length_of(fd, name, size, err);

	if (rc < 0)
		return rc;
	buf = xmalloc(block_len(*size, 0, SUM_BLOCK) + 1);
	state = XXH3_createState();
	XXH3_64bits_reset(state);
	for (uint64_t at = 0; at < *size && !rc; at += SUM_BLOCK) {
		size_t n = block_len(*size, at, SUM_BLOCK);

		rc = read_block(fd, name, buf, at, n, err);
		if (!rc)
			XXH3_64bits_update(state, buf, n);
	}
	*hash = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	return rc;
}

/* --- the blocks of a file that is being written ------------------------------------------ */

struct block_sums {
	XXH3_state_t *block; /* the one begun last */
	uint64_t size;
	uint64_t *hash; /* of all before it */
	size_t n, cap;
};

struct block_sums *block_sums_new(void)
{
	struct block_sums *s = xcalloc(1, sizeof(*s));

	s->block = XXH3_createState();
	XXH3_64bits_reset(s->block);
	return s;
}

static void end_block(struct block_sums *s)
{
	ARRAY_PUSH(s->hash, s->n, s->cap, XXH3_64bits_digest(s->block));
	XXH3_64bits_reset(s->block);
}

void block_sums_add(struct block_sums *s, const void *bytes, size_t len)
{
	const char *from = bytes;

	while (len) {
		size_t room = SUM_BLOCK - s->size % SUM_BLOCK, n = len < room ? len : room;

		XXH3_64bits_update(s->block, from, n);
		s->size += n;
		from += n;
		len -= n;
		if (s->size % SUM_BLOCK == 0)
			end_block(s);
	}
}

SdBlockSums *block_sums_message(struct block_sums *s, const char *name)
{
	SdBlockSums *m = xmalloc(sizeof(*m));

	if (s->size % SUM_BLOCK)
		end_block(s);
	sd_block_sums__init(m);
	m->name = xstrdup(name);
	m->size = s->size;
	m->block_size = SUM_BLOCK;
	m->hash = s->hash;
	m->n_hash = s->n;
	s->hash = NULL;
	s->n = s->cap = 0;
	return m;
}

void block_sums_free(struct block_sums *s)
{
	if (!s)
		return;
	XXH3_freeState(s->block);
	free(s->hash);
	free(s);
}

int sum_blocks(SdBlockSums **out, int fd, const char *name, struct err *err)
{
	scoped void *buf = xmalloc(SUM_BLOCK);
	struct block_sums *s;
	uint64_t size;
	int rc = length_of(fd, name, &size, err);

	if (rc < 0)
		return rc;
	s = block_sums_new();
	for (uint64_t at = 0; at < size && !rc; at += SUM_BLOCK) {
		size_t n = block_len(size, at, SUM_BLOCK);

		rc = read_block(fd, name, buf, at, n, err);
		block_sums_add(s, buf, n);
	}
	if (!rc)
		*out = block_sums_message(s, name);
	block_sums_free(s);
	return rc;
}

/* --- a pages file, checked block by block ----------------------------------------------- */

struct page_file {
	char *name;
	int fd;
	uint64_t size;
	char *map;	 /* NULL: not mapped */
	size_t block, n; /* 0 blocks: no sums */
	uint64_t *hash;
	_Atomic uint8_t *checked; /* a block that two threads check at once is checked twice */
};

static int take_sums(struct page_file *f, const SdBlockSums *s, struct err *err)
{
	if (!s)
		return 0;
	if (s->size != f->size)
		return err_set(err, -EBADMSG, "%s: has %llu bytes, was written with %llu", f->name,
			       (unsigned long long)f->size, (unsigned long long)s->size);
	if (s->unchecked)
		return 0;
	if (s->block_size < IMG_PAGE_SIZE || s->block_size > 64 * SUM_BLOCK ||
	    s->n_hash != s->size / s->block_size + !!(s->size % s->block_size))
		return err_set(err, -EBADMSG, "%s: checksums of %zu blocks of %u bytes", f->name,
			       s->n_hash, s->block_size);
	f->block = s->block_size;
	f->n = s->n_hash;
	f->hash = xmemdup(s->hash, f->n * sizeof(*f->hash));
	f->checked = xcalloc(f->n, 1);
	return 0;
}

int page_file_open(struct page_file **out, int dirfd, const char *name, const SdBlockSums *sums,
		   struct err *err)
{
	struct page_file *f;
	uint64_t size;
	int fd = img_open_file(dirfd, name, &size, err), rc;

	if (fd < 0)
		return fd;
	f = xcalloc(1, sizeof(*f));
	f->fd = fd;
	f->size = size;
	f->name = xstrdup(name);
	rc = take_sums(f, sums, err);
	if (rc < 0)
		page_file_release(&f);
	else
		*out = f;
	return rc;
}

int page_file_fd(const struct page_file *f)
{
	return f->fd;
}

uint64_t page_file_size(const struct page_file *f)
{
	return f->size;
}

int page_file_map(struct page_file *f, const char **at, struct err *err)
{
	void *p = NULL;

	if (!f->map && f->size) {
		p = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, f->fd, 0);
		if (p == MAP_FAILED)
			return err_errno(err, "%s: mapping it", f->name);
		f->map = p;
	}
	*at = f->map;
	return 0;
}

/*
 * A mapped file that cannot be read is a SIGBUS; asked in advance it is an error.
 * Kernels before 5.14 do not know the question.
 */
static int in_mapping(struct page_file *f, uint64_t at, size_t len, const void **bytes,
		      struct err *err)
{
	if (madvise(f->map + at, len, MADV_POPULATE_READ) < 0 && errno != EINVAL)
		return err_set(err, -EIO, "%s: offset %llu: cannot be read", f->name,
			       (unsigned long long)at);
	*bytes = f->map + at;
	return 0;
}

/* @buf: room for a block where the file is not mapped. */
static int check_block(struct page_file *f, size_t i, void *buf, struct err *err)
{
	uint64_t at = (uint64_t)i * f->block;
	size_t len = block_len(f->size, at, f->block);
	const void *bytes = buf;
	int rc = f->map ? in_mapping(f, at, len, &bytes, err)
			: read_block(f->fd, f->name, buf, at, len, err);

	if (rc < 0)
		return rc;
	if (XXH3_64bits(bytes, len) != f->hash[i])
		return err_set(err, -EBADMSG,
			       "%s: offset %llu: %zu bytes are not as they were written", f->name,
			       (unsigned long long)at, len);
	atomic_store_explicit(&f->checked[i], 1, memory_order_relaxed);
	return 0;
}

int page_file_check(struct page_file *f, uint64_t offset, uint64_t n, struct err *err)
{
	scoped void *buf = NULL;

	if (offset > f->size || n > f->size - offset)
		return err_set(err, -EBADMSG, "%s: offset %llu: %llu bytes are beyond the end",
			       f->name, (unsigned long long)offset, (unsigned long long)n);
	if (!n || !f->n)
		return 0;
	for (size_t i = offset / f->block; i <= (offset + n - 1) / f->block; i++) {
		int rc;

		if (atomic_load_explicit(&f->checked[i], memory_order_relaxed))
			continue;
		if (!buf && !f->map)
			buf = xmalloc(f->block);
		rc = check_block(f, i, buf, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

size_t page_file_check_all(struct page_file *f, void (*bad)(void *arg, const char *what), void *arg)
{
	scoped void *buf = f->n ? xmalloc(f->block) : NULL;
	size_t faults = 0;

	for (size_t i = 0; i < f->n; i++) {
		struct err err = {};

		if (check_block(f, i, buf, &err) < 0) {
			faults++;
			bad(arg, err.text);
		}
	}
	return faults;
}

void page_file_release(struct page_file **fp)
{
	struct page_file *f = *fp;

	if (!f)
		return;
	if (f->map)
		munmap(f->map, f->size);
	mem_close_p(&f->fd);
	free(f->name);
	free(f->hash);
	free((void *)f->checked);
	free(f);
	*fp = NULL;
}
