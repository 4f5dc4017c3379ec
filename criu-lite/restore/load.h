/*
 * load - the images of one checkpoint, read, bounded and compared with this
 * machine, as a tree.
 */
#ifndef RESTORE_LOAD_H
#define RESTORE_LOAD_H

#include "base/err.h"
#include "criu-lite/remote/tree.h"
#include "images/chain.h"
#include "proto/inventory.pb-c.h"
#include "proto/seccomp.pb-c.h"

struct loaded {
	struct chain *chain;
	uint32_t seq;
	int dirfd;	    /* of the checkpoint */
	SdCheckpoint *info; /* NULL: another program wrote it */
	InventoryEntry *inventory;
	SeccompEntry *seccomp;
	struct tree tree;
};

/*
 * Open the chain at @dir (@plain: the one checkpoint) and read checkpoint @seq (0: the newest): inventory,
 * tree, cores, ids, our own additions, filters. ERR_REFUSED: it needs something
 * that is not here. @out must be zeroed; release it in any case.
 */
int load(struct loaded *out, const char *dir, bool plain, uint32_t seq, struct err *err);
void loaded_release(struct loaded *l);

/* The part of it that needs no files: is this a tree that can be built? */
int tree_check(const struct tree *tree, struct err *err);

#endif
