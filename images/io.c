/* io.c - whole reads and writes, little-endian numbers, names. */
#include "images/img-internal.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int full_write(int fd, const void *buf, size_t n)
{
	const char *p = buf;

	while (n) {
		ssize_t rc = write(fd, p, n);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0)
			return rc ? -errno : -ENOSPC;
		p += rc;
		n -= rc;
	}
	return 0;
}

int full_pwrite(int fd, const void *buf, size_t n, uint64_t offset)
{
	const char *p = buf;

	while (n) {
		ssize_t rc = pwrite(fd, p, n, offset);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0)
			return rc ? -errno : -ENOSPC;
		p += rc;
		n -= rc;
		offset += rc;
	}
	return 0;
}

int full_pread(int fd, void *buf, size_t n, uint64_t offset)
{
	char *p = buf;

	while (n) {
		ssize_t rc = pread(fd, p, n, offset);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0)
			return rc ? -errno : -ENODATA;
		p += rc;
		n -= rc;
		offset += rc;
	}
	return 0;
}

void put_le64(unsigned char *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = v >> (8 * i);
}

uint64_t get_le64(const unsigned char *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

void put_le32(unsigned char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = v >> (8 * i);
}

uint32_t get_le32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

int img_format_name(char name[NAME_MAX + 1], struct err *err, const char *fmt, va_list ap)
{
	int n = vsnprintf(name, NAME_MAX + 1, fmt, ap);

	if (n <= 0 || n > NAME_MAX || strchr(name, '/'))
		return err_set(err, -EINVAL, "%s: not a file name", name);
	return 0;
}

int img_name_of_kind(char name[NAME_MAX + 1], const struct img_family **family, struct err *err,
		     const char *fmt, va_list ap)
{
	int rc = img_format_name(name, err, fmt, ap);

	if (rc < 0)
		return rc;
	*family = img_family_of(name);
	return *family ? 0 : err_set(err, -EINVAL, "%s: no image has such a name", name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int img_names(char ***names, size_t *n, int dirfd, struct err *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scoped_dir dir = fd < 0 ? NULL : fdopendir(fd);
	char **list = NULL;
	size_t count = 0, cap = 0;
	struct dirent *de;

	if (!dir) {
		int rc = err_errno(err, "read directory");

		mem_close_p(&fd);
		return rc;
	}
	while (errno = 0, (de = readdir(dir)))
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			ARRAY_PUSH(list, count, cap, xstrdup(de->d_name));
	if (errno) {
		int rc = err_errno(err, "read directory");

		img_names_release(list, count);
		return rc;
	}
	if (count)
		qsort(list, count, sizeof(*list), by_name);
	*names = list;
	*n = count;
	return 0;
}

void img_names_release(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}
