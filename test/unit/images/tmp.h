/* tmp - a directory for one test, and files of known bytes in it. */
#ifndef TEST_TMP_H
#define TEST_TMP_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"

struct tmp {
	char path[64];
	int fd;
};

static inline int tmp_setup(void **state)
{
	struct tmp *t = xcalloc(1, sizeof(*t));

	strcpy(t->path, "/tmp/unit-images-XXXXXX");
	if (!mkdtemp(t->path))
		return -1;
	t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = t;
	return t->fd < 0 ? -1 : 0;
}

static inline int tmp_teardown(void **state)
{
	struct tmp *t = *state;
	char *rm = xasprintf("rm -rf -- %s", t->path);
	int rc = system(rm);

	free(rm);
	close(t->fd);
	free(t);
	return rc;
}

static inline void put(int dirfd, const char *name, const void *bytes, size_t n)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static inline size_t get(int dirfd, const char *name, void *buf, size_t n)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	assert_true(fd >= 0);
	got = read(fd, buf, n);
	close(fd);
	assert_true(got >= 0);
	return got;
}

/* One bit of a file is wrong now. */
static inline void flip(int dirfd, const char *name, off_t at)
{
	int fd = openat(dirfd, name, O_RDWR | O_CLOEXEC);
	unsigned char c;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 0x10;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

static inline bool exists(int dirfd, const char *name)
{
	struct stat st;

	return !fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW);
}

#define assert_says(err, want)                                                                     \
	do {                                                                                       \
		if (!strstr((err)->text, want))                                                    \
			fail_msg("\"%s\" does not say \"%s\"", (err)->text, want);                 \
	} while (0)

#define IMAGE_TEST(f) cmocka_unit_test_setup_teardown(f, tmp_setup, tmp_teardown)

#endif
