/*
 * img_archive - a whole checkpoint as one input: images one after the other.
 *
 * An image is its family (index in img_families, one byte), the number in its
 * name (four bytes), the length of what follows (two) and its bytes without
 * magic numbers and seal, which the reader writes itself. Of pages there is
 * only their count. pack.c writes these, restore_images.c takes them apart.
 */
#ifndef TEST_IMG_ARCHIVE_H
#define TEST_IMG_ARCHIVE_H

#include "images/img.h"

#include <stdio.h>
#include <string.h>

#define ARCHIVE_HEAD	  7
#define ARCHIVE_PAGES_MAX 65535

static inline size_t archive_families(void)
{
	size_t n = 0;

	while (img_families[n].pattern)
		n++;
	return n;
}

/* Magic numbers in front: how many bytes of @head (common or service, then the family's) count. */
static inline size_t archive_magic(const struct img_family *f, uint32_t head[2])
{
	head[0] = f->head == IMG_HEAD_SERVICE ? IMG_SERVICE_MAGIC : IMG_COMMON_MAGIC;
	head[1] = f->magic;
	if (f->head == IMG_HEAD_TYPE)
		head[0] = f->magic;
	return f->head == IMG_HEAD_NONE ? 0 : f->head == IMG_HEAD_TYPE ? 4 : 8;
}

static inline void archive_name(const struct img_family *f, uint32_t number, char *name, size_t n)
{
	const char *percent = strchr(f->pattern, '%');
	size_t before = percent ? (size_t)(percent - f->pattern) : 0;

	if (!percent)
		snprintf(name, n, "%s", f->pattern);
	else if (percent[1] == 's')
		snprintf(name, n, "%.*sa%s", (int)before, f->pattern, percent + 2);
	else if (percent[1] == 'x')
		snprintf(name, n, "%.*s%x%s", (int)before, f->pattern, number, percent + 2);
	else
		snprintf(name, n, "%.*s%u%s", (int)before, f->pattern, number, percent + 2);
}

static inline bool archive_is_pages(const struct img_family *f)
{
	return !strncmp(f->pattern, "pages-", 6);
}

#endif
