/* chain-internal - what chain*.c share. */
#ifndef IMAGES_CHAIN_INTERNAL_H
#define IMAGES_CHAIN_INTERNAL_H

#include "images/chain.h"

#define CHAIN_FORMAT_VERSION 1u

struct chain {
	int dirfd;
	int lock; /* -1: not a writer */
	char *path;
	char id[33];
	uint32_t *seq; /* published, ascending */
	size_t n, cap;
	uint32_t newest; /* what chain_newest answers */

	/* The checkpoint being built; building_fd is -1 when there is none. */
	int building_fd;
	uint32_t building, parent;
	char building_name[32]; /* ".N.tmp" */
	SdFileSum **file;
	size_t n_files, cap_files;
	SdBlockSums **pages;
	size_t n_pages, cap_pages;
};

/* A decimal number without sign or leading zero, whole string. */
bool chain_number(const char *s, uint32_t *n);
/* What a writer that died left of a checkpoint. Only under the lock. */
int chain_remove_leftovers(struct chain *c, struct err *err);

#endif
