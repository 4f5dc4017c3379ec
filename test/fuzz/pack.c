/*
 * pack.c - seeds out of a checkpoint: pack CHECKPOINT SEEDS
 *
 * Every image becomes an input of img_decode, all together one of restore_images;
 * the largest pagemap one of img_pagemap, hashes one each of track_hashes.
 */
#include "test/fuzz/img_archive.h"

#include "base/mem.h"

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <xxhash.h>

static const char *seeds;

struct bytes {
	uint8_t *v;
	size_t n;
};

static void add(struct bytes *b, const void *from, size_t n)
{
	b->v = xreallocarray(b->v, b->n + n, 1);
	memcpy(b->v + b->n, from, n);
	b->n += n;
}

static struct bytes read_file(int dirfd, const char *name)
{
	scoped_fd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	struct bytes b = {};
	char buf[65536];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		add(&b, buf, n);
	if (fd < 0 || n < 0)
		err(1, "%s", name);
	return b;
}

/* Under the name of what is in it: equal seeds are one. */
static void seed(const char *target, const struct bytes *b)
{
	scoped char *dir = xasprintf("%s/%s", seeds, target);
	scoped char *path =
		xasprintf("%s/%016llx", dir, (unsigned long long)XXH3_64bits(b->v, b->n));
	FILE *f;

	mkdir(dir, 0700);
	f = fopen(path, "w");
	if (!f || fwrite(b->v, 1, b->n, f) != b->n || fclose(f))
		err(1, "%s", path);
}

static uint32_t number_of(const char *name, const struct img_family *f)
{
	const char *percent = strchr(f->pattern, '%');

	return percent ? strtoul(name + (percent - f->pattern), NULL, percent[1] == 'x' ? 16 : 10)
		       : 0;
}

static void seed_alone(const struct img_family *f, const struct bytes *body)
{
	uint8_t index = f - img_families, some_pages = 255;
	struct bytes b = {};

	add(&b, &index, 1);
	add(&b, body->v, body->n);
	seed("img_decode", &b);
	if (!strcmp(f->pattern, "pagemap-%u.img")) {
		b.v[0] = some_pages;
		seed("img_pagemap", &b);
	}
	if (!strncmp(f->pattern, "criu-lite-hashes", 16))
		seed("track_hashes", body);
	free(b.v);
}

static void pack(struct bytes *all, int dirfd, const char *name)
{
	const struct img_family *f = img_family_of(name);
	struct bytes file = read_file(dirfd, name), body = file;
	uint8_t index = f - img_families;
	uint32_t number = number_of(name, f), magic[2];
	size_t skip = archive_magic(f, magic);
	uint16_t n;

	if (file.n < skip + (f->sealed ? 8 : 0))
		errx(1, "%s is cut", name);
	body.v += skip;
	body.n -= skip + (f->sealed ? 8 : 0);
	if (archive_is_pages(f))
		body.n = file.n / IMG_PAGE_SIZE;
	else
		seed_alone(f, &body);
	n = body.n;
	if (body.n <= UINT16_MAX && strcmp(f->pattern, "criu-lite.img")) {
		add(all, &index, 1);
		add(all, &number, 4);
		add(all, &n, 2);
		if (!archive_is_pages(f))
			add(all, body.v, body.n);
	}
	free(file.v);
}

int main(int argc, char **argv)
{
	scoped_fd dirfd = argc == 3 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	struct bytes all = {};
	char **names;
	size_t n;

	if (argc != 3)
		errx(2, "usage: pack CHECKPOINT SEEDS");
	seeds = argv[2];
	if (dirfd < 0 || img_names(&names, &n, dirfd, NULL) < 0)
		err(1, "%s", argv[1]);
	for (size_t i = 0; i < n; i++)
		if (img_family_of(names[i]))
			pack(&all, dirfd, names[i]);
	if (faccessat(dirfd, "parent", F_OK, 0) < 0) /* alone it says nothing */
		seed("restore_images", &all);
	img_names_release(names, n);
	free(all.v);
	return 0;
}
