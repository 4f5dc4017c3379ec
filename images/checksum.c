/* checksum.c - XXH3-64 of files and blocks, and pages files checked as they are used. */
#include "images/checksum.h"
#include "images/img-internal.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
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
	scoped void *buf = xmalloc(SUM_BLOCK);
	XXH3_state_t *state;
	int rc = length_of(fd, name, size, err);

	if (rc < 0)
		return rc;
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

/* --- all blocks of a file, by several threads where there are many ------------------------ */

#define BLOCKS_A_THREAD 16u /* fewer are not worth one */
#define MOST_THREADS	8u

struct summing {
	int fd;
	const char *name;
	uint64_t size;
	uint64_t *sum;
	size_t n;
	atomic_size_t next;
	pthread_mutex_t lock;
	int rc; /* of the first that failed, as what @err says */
	struct err *err;
};

static void sum_failed(struct summing *s, int rc, const struct err *err)
{
	pthread_mutex_lock(&s->lock);
	if (!s->rc && s->err)
		*s->err = *err;
	s->rc = s->rc ? s->rc : rc;
	pthread_mutex_unlock(&s->lock);
	atomic_store(&s->next, s->n);
}

static void *sum_some(void *arg)
{
	scoped void *buf = xmalloc(SUM_BLOCK);
	struct summing *s = arg;
	struct err err;
	size_t i;

	while ((i = atomic_fetch_add(&s->next, 1)) < s->n) {
		uint64_t at = (uint64_t)i * SUM_BLOCK;
		size_t len = block_len(s->size, at, SUM_BLOCK);
		int rc = read_block(s->fd, s->name, buf, at, len, &err);

		if (rc < 0) {
			sum_failed(s, rc, &err);
			break;
		}
		s->sum[i] = XXH3_64bits(buf, len);
	}
	return NULL;
}

/* Beside the caller; one that cannot be had is done without. */
static size_t start_helpers(struct summing *s, pthread_t thread[MOST_THREADS])
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t want = s->n / BLOCKS_A_THREAD, n = 0;

	want = want > MOST_THREADS ? MOST_THREADS : want;
	while (n + 1 < want && (long)n + 1 < cpus && !pthread_create(&thread[n], NULL, sum_some, s))
		n++;
	return n;
}

int sum_blocks(int fd, const char *name, uint64_t *size, uint64_t **hash, size_t *n,
	       struct err *err)
{
	struct summing s = {
		.fd = fd, .name = name, .lock = PTHREAD_MUTEX_INITIALIZER, .err = err
	};
	pthread_t thread[MOST_THREADS];
	size_t helpers;
	int rc = length_of(fd, name, size, err);

	if (rc < 0)
		return rc;
	s.size = *size;
	s.n = *size / SUM_BLOCK + !!(*size % SUM_BLOCK);
	s.sum = xcalloc(s.n, sizeof(*s.sum));
	helpers = start_helpers(&s, thread);
	sum_some(&s);
	while (helpers)
		pthread_join(thread[--helpers], NULL);
	if (s.rc < 0) {
		free(s.sum);
		return s.rc;
	}
	*hash = s.sum;
	*n = s.n;
	return 0;
}

/* --- a pages file, checked block by block ----------------------------------------------- */

struct page_file {
	char *name;
	int fd;
	uint64_t size;
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

static int check_block(struct page_file *f, size_t i, void *buf, struct err *err)
{
	uint64_t at = (uint64_t)i * f->block;
	size_t len = block_len(f->size, at, f->block);
	int rc = read_block(f->fd, f->name, buf, at, len, err);

	if (rc < 0)
		return rc;
	if (XXH3_64bits(buf, len) != f->hash[i])
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
		if (!buf)
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
	mem_close_p(&f->fd);
	free(f->name);
	free(f->hash);
	free((void *)f->checked);
	free(f);
	*fp = NULL;
}
