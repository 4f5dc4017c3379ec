/* chain-internal - what chain*.c share. */
#ifndef IMAGES_CHAIN_INTERNAL_H
#define IMAGES_CHAIN_INTERNAL_H

#include "images/chain.h"

#define CHAIN_FORMAT_VERSION 1u
#define CHAIN_PLAIN_TMP	     ".criu-lite.tmp"

struct chain {
	int dirfd;
	int lock; /* -1: not a writer */
	char *path;
	char id[33];
	uint32_t *seq; /* published, ascending */
	size_t n, cap;
	uint32_t newest; /* what chain_newest answers */

	/* A plain directory to write into: what --prev-images-dir leads to. */
	bool plain;
	char *prev;
	int prev_fd; /* -1: none */
	char prev_id[33];
	bool prev_spent;

	/* The checkpoint being built; building_fd is -1 when there is none. */
	int building_fd;
	uint32_t building, parent;
	char building_name[32]; /* ".N.tmp", or CHAIN_PLAIN_TMP */
	bool published;
	SdFileSum **file;
	size_t n_files, cap_files;
	SdBlockSums **pages;
	size_t n_pages, cap_pages;
};

/* A decimal number without sign or leading zero, whole string. */
bool chain_number(const char *s, uint32_t *n);
/* May only we and root write there? */
int chain_check_owner(int dirfd, const char *path, struct err *err);
/* A flat directory with all that is in it. */
int chain_remove_directory(int dirfd, const char *name, struct err *err);
/* chain-plain.c: what chain_commit does there instead of one rename. */
int chain_publish_plain(struct chain *c, struct err *err);
/* One image in place of another, by one rename; durable when it returns. */
int chain_replace(int dirfd, const char *name, const void *message, struct err *err);
/* What a writer that died left of a checkpoint. Only under the lock. */
int chain_remove_leftovers(struct chain *c, struct err *err);

#endif
