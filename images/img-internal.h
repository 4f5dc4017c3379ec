/* img-internal - what the files of this folder share and nobody else needs. */
#ifndef IMAGES_IMG_INTERNAL_H
#define IMAGES_IMG_INTERNAL_H

#include "images/img.h"

#include <limits.h>
#include <stdarg.h>

#define IMG_BUFFER   (64u << 10)
#define IMG_SEAL_LEN 8u

/* A file of family @f under another name, until it is renamed. */
int img_create_as(struct img_writer **out, const struct img_family *f, int dirfd, const char *name,
		  struct err *err);
/* fsync(2) what is written so far. */
int img_sync(struct img_writer *w, struct err *err);

/* All of it, however often the kernel stops in between. Negative errno; read: -ENODATA at the end. */
int full_write(int fd, const void *buf, size_t n);
int full_pwrite(int fd, const void *buf, size_t n, uint64_t offset);
int full_pread(int fd, void *buf, size_t n, uint64_t offset);

/* Little-endian, whatever the host. */
void put_le64(unsigned char *p, uint64_t v);
uint64_t get_le64(const unsigned char *p);
void put_le32(unsigned char *p, uint32_t v);
uint32_t get_le32(const unsigned char *p);

/* A name that stays in its directory, else -EINVAL. */
int img_format_name(char name[NAME_MAX + 1], struct err *err, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
/* The same, and what kind of image it names; -EINVAL: none. */
int img_name_of_kind(char name[NAME_MAX + 1], const struct img_family **family, struct err *err,
		     const char *fmt, va_list ap) __attribute__((format(printf, 4, 0)));

#endif
