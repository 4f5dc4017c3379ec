/* img-write.c - making image files. */
#include "images/img-internal.h"
#include "base/mem.h"
#include "base/step.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <xxhash.h>

struct img_writer {
	const struct img_family *family;
	char *name;
	int fd;
	unsigned char *buf;
	size_t used;
	unsigned char *packed; /* the entry being packed */
	size_t packed_cap;
	XXH3_state_t *hash; /* sealed families */
};

static int flush(struct img_writer *w, struct err *err)
{
	int rc = full_write(w->fd, w->buf, w->used);

	if (rc < 0)
		return err_code(err, rc, "%s: write", w->name);
	w->used = 0;
	return 0;
}

int img_append_raw(struct img_writer *w, const void *data, size_t n, struct err *err)
{
	int rc;

	if (w->hash)
		XXH3_64bits_update(w->hash, data, n);
	if (w->used + n > IMG_BUFFER) {
		rc = flush(w, err);
		if (rc < 0)
			return rc;
	}
	if (n > IMG_BUFFER) {
		rc = full_write(w->fd, data, n);
		return rc < 0 ? err_code(err, rc, "%s: write", w->name) : 0;
	}
	if (n)
		memcpy(w->buf + w->used, data, n);
	w->used += n;
	return 0;
}

static int write_head(struct img_writer *w, struct err *err)
{
	unsigned char head[8];
	size_t n = 0;

	if (w->family->head == IMG_HEAD_NONE)
		return 0;
	if (w->family->head != IMG_HEAD_TYPE) {
		put_le32(head,
			 w->family->head == IMG_HEAD_COMMON ? IMG_COMMON_MAGIC : IMG_SERVICE_MAGIC);
		n = 4;
	}
	put_le32(head + n, w->family->magic);
	return img_append_raw(w, head, n + 4, err);
}

int img_create_as(struct img_writer **out, const struct img_family *f, int dirfd, const char *name,
		  struct err *err)
{
	struct img_writer *w;
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return err_errno(err, "%s: create", name);
	w = xcalloc(1, sizeof(*w));
	w->family = f;
	w->name = xstrdup(name);
	w->fd = fd;
	w->buf = xmalloc(IMG_BUFFER);
	if (f->sealed) {
		w->hash = XXH3_createState();
		XXH3_64bits_reset(w->hash);
	}
	rc = write_head(w, err);
	if (rc < 0)
		img_writer_release(&w);
	else
		*out = w;
	return rc;
}

static int vcreate(struct img_writer **out, struct err *err, int dirfd, const char *fmt, va_list ap)
{
	char name[NAME_MAX + 1];
	const struct img_family *f;
	int rc = img_name_of_kind(name, &f, err, fmt, ap);

	return rc < 0 ? rc : img_create_as(out, f, dirfd, name, err);
}

int img_create(struct img_writer **out, struct err *err, int dirfd, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vcreate(out, err, dirfd, fmt, ap);
	va_end(ap);
	return rc;
}

int img_append(struct img_writer *w, const void *message, struct err *err)
{
	const ProtobufCMessage *m = message;
	const struct img_family *f = w->family;
	size_t n = protobuf_c_message_get_packed_size(m);
	unsigned char frame[4];
	int rc;

	assert(m->descriptor == f->first || m->descriptor == f->rest || m->descriptor == f->sub);
	if (n > IMG_ENTRY_MAX)
		return err_set(err, -E2BIG, "%s: entry of %zu bytes is too large to be read back",
			       w->name, n);
	if (n > w->packed_cap) {
		w->packed_cap = 2 * n;
		w->packed = xreallocarray(w->packed, w->packed_cap, 1);
	}
	put_le32(frame, n);
	rc = img_append_raw(w, frame, sizeof(frame), err);
	if (rc < 0 || !n)
		return rc;
	protobuf_c_message_pack(m, w->packed);
	return img_append_raw(w, w->packed, n, err);
}

static int seal(struct img_writer *w, struct err *err)
{
	unsigned char sum[IMG_SEAL_LEN];

	if (!w->hash)
		return 0;
	put_le64(sum, XXH3_64bits_digest(w->hash));
	XXH3_freeState(w->hash);
	w->hash = NULL;
	return img_append_raw(w, sum, sizeof(sum), err);
}

int img_sync(struct img_writer *w, struct err *err)
{
	int rc = seal(w, err);

	if (!rc)
		rc = flush(w, err);
	if (!rc && fsync(w->fd) < 0)
		rc = err_errno(err, "%s: fsync", w->name);
	return rc;
}

int img_close(struct img_writer **wp, struct err *err)
{
	struct img_writer *w = *wp;
	int rc = seal(w, err);

	STEP();
	if (!rc)
		rc = flush(w, err);
	STEP();
	if (!rc) {
		int fd = fd_take(&w->fd);

		if (close(fd) < 0)
			rc = err_errno(err, "%s: close", w->name);
	}
	img_writer_release(wp);
	return rc;
}

void img_writer_release(struct img_writer **wp)
{
	struct img_writer *w = *wp;

	if (!w)
		return;
	mem_close_p(&w->fd);
	XXH3_freeState(w->hash);
	free(w->packed);
	free(w->buf);
	free(w->name);
	free(w);
	*wp = NULL;
}

int img_write_one(const void *message, struct err *err, int dirfd, const char *fmt, ...)
{
	scoped_writer w = NULL;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vcreate(&w, err, dirfd, fmt, ap);
	va_end(ap);
	if (!rc)
		rc = img_append(w, message, err);
	return rc < 0 ? rc : img_close(&w, err);
}
