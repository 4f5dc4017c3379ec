/* img_fuzz - a directory for the images that a fuzzer makes up. */
#ifndef TEST_IMG_FUZZ_H
#define TEST_IMG_FUZZ_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char fuzz_path[64];

static void fuzz_remove(void)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -rf -- %s", fuzz_path);
	if (system(command))
		abort();
}

/* One directory a process, empty at first. */
static inline int fuzz_dir(void)
{
	static int fd = -1;

	if (fd >= 0)
		return fd;
	/* In memory: a disk would be all that there is to wait for. */
	snprintf(fuzz_path, sizeof(fuzz_path), "%s/fuzz-images-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(fuzz_path))
		abort();
	atexit(fuzz_remove);
	fd = open(fuzz_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? (abort(), -1) : fd;
}

/* @head, then @data. */
static inline void fuzz_put(int dirfd, const char *name, const void *head, size_t head_size,
			    const void *data, size_t size)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, head, head_size) != (ssize_t)head_size ||
	    write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

/* A file of @size bytes, all holes. */
static inline void fuzz_grow(int dirfd, const char *name, uint64_t size)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, size) < 0)
		abort();
	close(fd);
}

#endif
