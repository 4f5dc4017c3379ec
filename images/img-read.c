/* img-read.c - reading image files, bounded by what the file has. */
#include "images/img-internal.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

struct img_reader {
	const struct img_family *family;
	char *name;
	int fd;
	uint64_t end; /* of the file, without the seal */
	uint64_t at;  /* offset of the next byte to hand out */
	unsigned char *buf;
	size_t have, used; /* bytes in buf, of these handed out */
	uint64_t payload;  /* raw bytes left after the last entry */
	uint64_t subs;	   /* entries of family->sub to come */
	uint64_t entries;  /* handed out so far */
	unsigned char *packed;
	size_t packed_cap;
};

int img_error(const struct img_reader *r, struct err *err, const char *fmt, ...)
{
	scoped char *what = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		abort();
	va_end(ap);
	return err_set(err, -EBADMSG, "%s: offset %llu: %s", r->name, (unsigned long long)r->at,
		       what);
}

/* @n bytes, known to lie within the file. */
static int take(struct img_reader *r, void *dst, size_t n, struct err *err)
{
	unsigned char *p = dst;
	int rc;

	while (n) {
		size_t now = r->have - r->used;

		if (!now) {
			now = r->end - r->at < IMG_BUFFER ? r->end - r->at : IMG_BUFFER;
			rc = full_pread(r->fd, r->buf, now, r->at);
			if (rc < 0)
				return err_code(err, rc, "%s: read at offset %llu", r->name,
						(unsigned long long)r->at);
			r->have = now;
			r->used = 0;
		}
		now = now < n ? now : n;
		memcpy(p, r->buf + r->used, now);
		r->used += now;
		r->at += now;
		p += now;
		n -= now;
	}
	return 0;
}

static void pass_over(struct img_reader *r, uint64_t n)
{
	uint64_t buffered = r->have - r->used;

	r->at += n;
	if (n <= buffered)
		r->used += n;
	else
		r->have = r->used = 0;
}

static int read_head(struct img_reader *r, struct err *err)
{
	const struct img_family *f = r->family;
	unsigned char word[4];
	uint32_t outer = f->head == IMG_HEAD_SERVICE ? IMG_SERVICE_MAGIC : IMG_COMMON_MAGIC;
	int rc;

	if (r->end < 4)
		return img_error(r, err, "file ends within its head");
	rc = take(r, word, 4, err);
	/* Directories of img_version 1 have the family's magic alone in all files. */
	if (rc < 0 || get_le32(word) == f->magic)
		return rc;
	if (f->head == IMG_HEAD_TYPE || get_le32(word) != outer)
		return img_error(r, err, "magic number is %#x", get_le32(word));
	if (r->end < 8)
		return img_error(r, err, "file ends within its head");
	rc = take(r, word, 4, err);
	if (rc < 0 || get_le32(word) == f->magic)
		return rc;
	return img_error(r, err, "magic number is %#x and not %#x", get_le32(word), f->magic);
}

static int check_seal(struct img_reader *r, struct err *err)
{
	XXH3_state_t *hash;
	unsigned char sum[IMG_SEAL_LEN];
	uint64_t at = 0, digest;
	int rc = 0;

	if (r->end < IMG_SEAL_LEN)
		return img_error(r, err, "file ends within its checksum");
	r->end -= IMG_SEAL_LEN;
	hash = XXH3_createState();
	XXH3_64bits_reset(hash);
	while (at < r->end && !rc) {
		size_t n = r->end - at < IMG_BUFFER ? r->end - at : IMG_BUFFER;

		rc = full_pread(r->fd, r->buf, n, at);
		if (!rc)
			XXH3_64bits_update(hash, r->buf, n);
		at += n;
	}
	digest = XXH3_64bits_digest(hash);
	XXH3_freeState(hash);
	if (!rc)
		rc = full_pread(r->fd, sum, sizeof(sum), r->end);
	if (rc < 0)
		return err_code(err, rc, "%s: read", r->name);
	if (get_le64(sum) != digest)
		return err_set(err, -EBADMSG, "%s: checksum at offset %llu does not match", r->name,
			       (unsigned long long)r->end);
	return 0;
}

int img_open_file(int dirfd, const char *name, uint64_t *size, struct err *err)
{
	scoped_fd fd = -1;
	struct stat st;

	/* O_NONBLOCK: a fifo in place of the file must not hold us up. */
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "%s", name);
	if (fstat(fd, &st) < 0)
		return err_errno(err, "%s: stat", name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EBADMSG, "%s: not a regular file", name);
	if (size)
		*size = st.st_size;
	return fd_take(&fd);
}

static int open_as(struct img_reader **out, const struct img_family *f, int dirfd, const char *name,
		   struct err *err)
{
	scoped_reader r = NULL;
	uint64_t size;
	int fd = img_open_file(dirfd, name, &size, err), rc = 0;

	if (fd < 0)
		return fd;
	r = xcalloc(1, sizeof(*r));
	r->family = f;
	r->name = xstrdup(name);
	r->fd = fd;
	r->end = size;
	r->buf = xmalloc(IMG_BUFFER);
	if (f->sealed)
		rc = check_seal(r, err);
	if (!rc && f->head != IMG_HEAD_NONE)
		rc = read_head(r, err);
	if (rc < 0)
		return rc;
	if (!f->first)
		r->payload = r->end;
	*out = r;
	r = NULL;
	return 0;
}

static int vopen(struct img_reader **out, struct err *err, int dirfd, const char *fmt, va_list ap)
{
	char name[NAME_MAX + 1];
	const struct img_family *f;
	int rc = img_name_of_kind(name, &f, err, fmt, ap);

	return rc < 0 ? rc : open_as(out, f, dirfd, name, err);
}

int img_open(struct img_reader **out, struct err *err, int dirfd, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vopen(out, err, dirfd, fmt, ap);
	va_end(ap);
	return rc;
}

/* What the next entry must be, NULL if there may be none. */
static const ProtobufCMessageDescriptor *expected(const struct img_reader *r)
{
	const struct img_family *f = r->family;

	if (!f->first || (f->single && r->entries))
		return NULL;
	if (r->subs)
		return f->sub;
	return r->entries && f->rest ? f->rest : f->first;
}

/* The entry is @m: what follows it, and is it within the file? */
static int note_followers(struct img_reader *r, const ProtobufCMessage *m, struct err *err)
{
	const struct img_family *f = r->family;
	uint64_t left = r->end - r->at;

	if (r->subs)
		r->subs--;
	else if (f->sub_count)
		r->subs = f->sub_count(m);
	r->entries++;
	r->payload = f->payload ? f->payload(m) : 0;
	if (r->payload == UINT64_MAX)
		r->payload = left;
	if (r->payload > left)
		return img_error(r, err, "%llu bytes should follow, the file has %llu more",
				 (unsigned long long)r->payload, (unsigned long long)left);
	return 0;
}

static int read_frame(struct img_reader *r, size_t *n, struct err *err)
{
	unsigned char frame[4];
	uint64_t left = r->end - r->at;
	int rc;

	if (left < 4)
		return img_error(r, err, "file ends within the length of an entry");
	rc = take(r, frame, 4, err);
	if (rc < 0)
		return rc;
	*n = get_le32(frame);
	if (*n > left - 4)
		return img_error(r, err, "entry of %zu bytes, the file has %llu more", *n,
				 (unsigned long long)(left - 4));
	if (*n > IMG_ENTRY_MAX)
		return img_error(r, err, "entry of %zu bytes is too large", *n);
	if (*n > r->packed_cap) {
		r->packed_cap = *n;
		r->packed = xreallocarray(r->packed, *n, 1);
	}
	return 0;
}

int img_next(struct img_reader *r, void *out, struct err *err)
{
	const ProtobufCMessageDescriptor *desc;
	ProtobufCMessage *m;
	uint64_t start;
	size_t n = 0;
	int rc;

	pass_over(r, r->payload);
	r->payload = 0;
	if (r->at == r->end)
		return r->subs ? img_error(r, err, "file ends, %llu entries are missing",
					   (unsigned long long)r->subs)
			       : 0;
	desc = expected(r);
	if (!desc)
		return img_error(r, err, "nothing should follow here");
	start = r->at;
	rc = read_frame(r, &n, err);
	if (!rc)
		rc = take(r, r->packed, n, err);
	if (rc < 0)
		return rc;
	m = img_unpack(desc, r->packed ? r->packed : (unsigned char *)"", n);
	if (!m)
		return err_set(err, -EBADMSG, "%s: offset %llu: malformed %s", r->name,
			       (unsigned long long)start, desc->name);
	rc = note_followers(r, m, err);
	if (rc < 0) {
		protobuf_c_message_free_unpacked(m, NULL);
		return rc;
	}
	*(ProtobufCMessage **)out = m;
	return 1;
}

uint64_t img_payload_left(const struct img_reader *r)
{
	return r->payload;
}

int img_payload(struct img_reader *r, void *buf, size_t n, struct err *err)
{
	if (n > r->payload)
		return img_error(r, err, "%zu bytes wanted, %llu are there", n,
				 (unsigned long long)r->payload);
	r->payload -= n;
	return take(r, buf, n, err);
}

const struct img_family *img_family(const struct img_reader *r)
{
	return r->family;
}

uint64_t img_offset(const struct img_reader *r)
{
	return r->at;
}

void img_reader_release(struct img_reader **rp)
{
	struct img_reader *r = *rp;

	if (!r)
		return;
	mem_close_p(&r->fd);
	free(r->packed);
	free(r->buf);
	free(r->name);
	free(r);
	*rp = NULL;
}

int img_read_one(void *out, struct err *err, int dirfd, const char *fmt, ...)
{
	scoped_reader r = NULL;
	ProtobufCMessage *m = NULL, *more = NULL;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vopen(&r, err, dirfd, fmt, ap);
	va_end(ap);
	if (rc < 0)
		return rc;
	rc = img_next(r, &m, err);
	if (!rc)
		return img_error(r, err, "file has no entry");
	if (rc < 0)
		return rc;
	rc = img_next(r, &more, err);
	if (rc > 0) {
		protobuf_c_message_free_unpacked(more, NULL);
		rc = img_error(r, err, "a second entry, where one belongs");
	}
	if (rc < 0)
		protobuf_c_message_free_unpacked(m, NULL);
	else
		*(ProtobufCMessage **)out = m;
	return rc;
}
