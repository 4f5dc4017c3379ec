/*
 * img - the files of an image directory: heads, entries, raw bytes.
 *
 * A file's name tells its family (img_family_of): which magic numbers start
 * it, which messages it holds, what raw bytes follow them. Entries are framed
 * by a 32-bit length. Documentation/image-format.md describes it all.
 *
 * Directories are given as descriptors, names as formats ("core-%u.img", tid).
 * A name never contains a slash; symbolic links and anything but regular files
 * are refused. Files are read as untrusted: a length beyond the end of the
 * file, a message nested too deep or one that wants unreasonable memory is an
 * error that names file and offset.
 *
 * Functions return 0 (or what is said) or a negative errno and fill @err.
 * -ENOENT: no such file; by convention of the format a missing image is an
 * empty one, and the caller decides whether that is fatal. -EBADMSG: damaged.
 */
#ifndef IMAGES_IMG_H
#define IMAGES_IMG_H

#include "base/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>
#include <sys/types.h>

#define IMG_COMMON_MAGIC  0x54564319u
#define IMG_SERVICE_MAGIC 0x55105940u
#define IMG_PAGE_SIZE	  4096u

/* The largest single entry that is read, the deepest nesting of messages in it. */
#define IMG_ENTRY_MAX (64u << 20)
#define IMG_DEPTH_MAX 64

enum img_head {
	IMG_HEAD_COMMON,  /* common magic, then the family's */
	IMG_HEAD_SERVICE, /* service magic, then the family's */
	IMG_HEAD_TYPE,	  /* the family's alone (and every file of img_version 1) */
	IMG_HEAD_NONE,	  /* raw file, not framed at all */
};

struct img_family {
	const char *pattern; /* "core-%u.img"; %u decimal, %x hexadecimal, %s a word */
	uint32_t magic;
	enum img_head head;
	bool single;				 /* exactly one entry */
	const ProtobufCMessageDescriptor *first; /* of the first entry; NULL: raw */
	const ProtobufCMessageDescriptor *rest;	 /* of the others, when different */
	uint64_t (*payload)(
		const void *message);	       /* raw bytes after an entry; UINT64_MAX: the rest */
	const ProtobufCMessageDescriptor *sub; /* entries in between ... */
	uint64_t (*sub_count)(const void *message); /* ... this many after each entry */
	bool sealed; /* 8 bytes at the end are the XXH3-64 of all before them */
};

/* The family that a file name belongs to, or NULL. */
const struct img_family *img_family_of(const char *name);
/* All families, ends with pattern NULL. */
extern const struct img_family img_families[];

/*
 * Writing. img_create makes a new file (it must not exist, mode 0600) and
 * writes its head; img_append adds an entry, img_append_raw bytes. Buffered:
 * img_close writes what is left and closes. img_writer_release gives up; the
 * file stays, as does the directory that was being built. None of them syncs:
 * chain_seal does so for the whole checkpoint.
 */
struct img_writer;

int img_create(struct img_writer **out, struct err *err, int dirfd, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int img_append(struct img_writer *w, const void *message, struct err *err);
int img_append_raw(struct img_writer *w, const void *data, size_t n, struct err *err);
/* Closes in any case; *@w becomes NULL. */
int img_close(struct img_writer **w, struct err *err);
void img_writer_release(struct img_writer **w); /* safe on NULL */

/* A file of one entry, in one call. */
int img_write_one(const void *message, struct err *err, int dirfd, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * Reading. img_next unpacks the next entry into *@out (an XxxEntry **, of the
 * type that the family tells; free it with its __free_unpacked function):
 * returns 1, or 0 at the clean end of the file. Raw bytes after an entry are
 * announced by img_payload_left; img_payload reads exactly @n of them; what is
 * not read is passed over by the next img_next.
 */
struct img_reader;

int img_open(struct img_reader **out, struct err *err, int dirfd, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int img_next(struct img_reader *r, void *out, struct err *err);
uint64_t img_payload_left(const struct img_reader *r);
int img_payload(struct img_reader *r, void *buf, size_t n, struct err *err);
const struct img_family *img_family(const struct img_reader *r);
uint64_t img_offset(const struct img_reader *r); /* of what comes next */
int img_error(const struct img_reader *r, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));	/* -EBADMSG: "NAME: offset N: ..." */
void img_reader_release(struct img_reader **r); /* safe on NULL */

#define scoped_reader __attribute__((cleanup(img_reader_release))) struct img_reader *
#define scoped_writer __attribute__((cleanup(img_writer_release))) struct img_writer *

/* The one entry of a file; anything after it is an error. */
int img_read_one(void *out, struct err *err, int dirfd, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Unpack @n bytes that need not be trusted: bounded depth and memory. NULL when malformed. */
ProtobufCMessage *img_unpack(const ProtobufCMessageDescriptor *desc, const void *data, size_t n);

/* openat(2) for reading, regular files only, no links; *@size may be NULL. */
int img_open_file(int dirfd, const char *name, uint64_t *size, struct err *err);

/* Names in a directory but "." and "..", sorted. */
int img_names(char ***names, size_t *n, int dirfd, struct err *err);
void img_names_release(char **names, size_t n);

#endif
