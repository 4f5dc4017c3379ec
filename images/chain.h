/*
 * chain - a directory of checkpoints, each complete or not there at all.
 *
 *	DIR/1 DIR/2 ...		published checkpoints; they never change again
 *	DIR/N/parent		-> ../P in an increment
 *	DIR/N/criu-lite.img	what checkpoint N is, and checksums of all its files
 *	DIR/latest		-> N, for people and shells; nothing here reads it
 *	DIR/armed		which checkpoint the trackers are armed for
 *	DIR/lock		held (flock) by whoever writes
 *	DIR/.N.tmp		being built; left by a crash it is removed by the next chain_open(CHAIN_WRITE)
 *
 * A *plain* directory is a checkpoint by itself, wherever it lies:
 *
 *	ANY/inventory.img	renamed into place last: from there on it is a checkpoint
 *	ANY/parent		-> the directory of the parent, wherever that lies
 *	ANY/criu-lite.img	as above; seq is 0, chain_id its own and no other's
 *	ANY/armed		the trackers are armed for this one
 *	ANY/.criu-lite.tmp	being built
 *
 * A writer: chain_open(CHAIN_WRITE), chain_begin, files into chain_fd, then
 * (after the thaw) chain_seal, chain_commit; or chain_abort. Whatever goes
 * wrong before chain_commit leaves the published checkpoints as they were.
 */
#ifndef IMAGES_CHAIN_H
#define IMAGES_CHAIN_H

#include "images/checksum.h"
#include "images/pagemap.h"
#include "proto/criu-lite.pb-c.h"

enum chain_mode {
	CHAIN_LOOK,  /* list, show, verify: anybody's directory */
	CHAIN_READ,  /* restore: only a directory that nobody else can write */
	CHAIN_PLAIN, /* the same; an image directory is one by itself, whatever its name is */
	CHAIN_WRITE, /* dump: the same, made if missing (0700), and locked */
};

struct chain;

/*
 * @dir may also be a single image directory (one that has inventory.img
 * itself): named by a number beside others it stands for that checkpoint of
 * the directory above (chain_newest returns it), else it is checkpoint 0 of
 * its own. Not for CHAIN_WRITE.
 * -EBUSY: locked, the message names the process.
 */
int chain_open(struct chain **out, const char *dir, enum chain_mode mode, struct err *err);
/*
 * To write a checkpoint into the plain directory @dir, which is there already. @prev, a path
 * from @dir, is the parent's directory; NULL: none. One that is not there is no parent: that
 * is found out by chain_has_prev. Images that lie in @dir are replaced, at the commit.
 */
int chain_open_plain(struct chain **out, const char *dir, const char *prev, struct err *err);
bool chain_has_prev(const struct chain *c);
/* It gave pages back that its child does not need: it can be the parent of no other. */
bool chain_prev_spent(const struct chain *c);
/* For a reader that goes on as a writer (restore arms trackers for the next dump). */
int chain_lock(struct chain *c, struct err *err);
/* Aborts what was begun. Safe on NULL. */
void chain_release(struct chain **c);

int chain_dirfd(const struct chain *c);
/* Plain: the id of the directory behind @prev, "" when another program wrote it. Else NULL. */
const char *chain_prev_id(const struct chain *c);
int chain_prev_dirfd(const struct chain *c); /* -1: none */
/* A new one, random. */
int chain_new_id(char id[33], struct err *err);
/* 32 hexadecimal digits; "" for a directory of checkpoints that others wrote. */
const char *chain_id(const struct chain *c);
/* Published numbers, ascending; the array is the chain's. */
size_t chain_numbers(const struct chain *c, const uint32_t **seq);
/* The one to restore by default; 0 when there is none (see above for the exception). */
uint32_t chain_newest(const struct chain *c);
bool chain_has(const struct chain *c, uint32_t seq);

/* --- one published checkpoint ------------------------------------------------ */

/* Where one lies: number @seq in @dirfd or, 0, @dirfd itself. */
struct chain_at {
	int dirfd; /* -1: nowhere */
	uint32_t seq;
};

/* Its directory, no links: a descriptor or a negative errno. */
int chain_checkpoint(int chain_dirfd, uint32_t seq, struct err *err);
/*
 * Its criu-lite.img, verified. -ENOENT: written by another program. -EBADMSG: damaged, or missing
 * although the images are ours. Caller frees.
 */
int chain_info(SdCheckpoint **out, int checkpoint_dirfd, struct err *err);
/* Number of the parent by the link in it, 0 if none. Only ../NUMBER is accepted. */
int chain_parent(int checkpoint_dirfd, uint32_t *seq, struct err *err);

/* --- a new checkpoint ---------------------------------------------------------- */

/*
 * @parent 0: full. The number is one more than the highest published. In a plain
 * directory any other @parent is the one that @prev named.
 */
int chain_begin(struct chain *c, uint32_t parent, struct err *err);
/* Where the parent @seq of one to be built lies; dirfd -1: it is 0. */
struct chain_at chain_parent_at(const struct chain *c, uint32_t seq);
int chain_fd(const struct chain *c); /* its directory, for all the writers of images */
/* Sums that pages_close gave, so that chain_seal need not read that file; owned from here on. */
void chain_take_sums(struct chain *c, SdBlockSums *sums);
/* All files are written: checksums, and everything to disk. *@bytes: their sizes together. */
int chain_seal(struct chain *c, uint64_t *bytes, struct err *err);
/*
 * Write criu-lite.img, publish, sync. Filled in here, in @info too:
 * format_version, seq, parent_seq; in the file only: chain_id, parent_id, version,
 * files, pages. All else is the caller's, @info stays the caller's too.
 */
int chain_commit(struct chain *c, SdCheckpoint *info, struct err *err);
/*
 * Is it there, and whole? True after a commit, also after one that failed because the last
 * sync did: whether it outlives a power cut is not known then. Not after chain_withdraw.
 */
bool chain_published(const struct chain *c);
void chain_abort(struct chain *c);
/* Of a plain directory: what was committed is no checkpoint any more. Numbered ones stay. */
void chain_withdraw(struct chain *c);

/* --- DIR/armed --------------------------------------------------------------- */

/* Durable when it returns. format_version is filled in. */
int chain_armed_write(int chain_dirfd, SdArmed *armed, struct err *err);
/* -ENOENT: there is none. -EBADMSG: damaged; treat it as none. Caller frees. */
int chain_armed_read(SdArmed **out, int chain_dirfd, struct err *err);
int chain_armed_clear(int chain_dirfd, struct err *err);

/* --- reading across checkpoints --------------------------------------------------- */

/* A checkpoint and its parents, newest first. */
struct chain_link {
	char name[80]; /* for messages: "checkpoint 3", or "parent/parent" */
	uint32_t seq;  /* 0: a plain directory */
	int dirfd;
	SdCheckpoint *info; /* NULL: written by another program, no checksums */
};

struct chain_links {
	struct chain_link *link;
	size_t n, cap;
};

/*
 * Follows parent links: from a number within the chain, from a plain directory (@seq 0)
 * to any directory that only its owner, root or us, can write. Loops, links elsewhere, and
 * parents that are not what criu-lite.img says, are errors. @l must be
 * zeroed; release it in any case.
 */
int chain_follow(struct chain_links *l, int chain_dirfd, uint32_t seq, struct err *err);
void chain_links_release(struct chain_links *l);
/* Sizes and checksums of all files but pages files, in every link: before a restore trusts them. */
int chain_check(const struct chain_links *l, struct err *err);

/* A run of pages and where its bytes are. */
struct page_source {
	uint64_t vaddr, nr_pages;
	uint64_t offset; /* in the pages file of that level */
	uint32_t level;	 /* index in the links; struct chain_link of it */
};

struct page_sources {
	struct page_source *src; /* ascending, not overlapping */
	size_t n, cap;
	uint32_t *pages_id; /* per level; 0 where no page comes from there */
};

/*
 * All pages of the newest link, by the name of their pagemap. A page that is
 * said to be in the parent and found nowhere is an error that names it.
 * -ENOENT: the newest has no such pagemap. @s must be zeroed; release in any case.
 */
int chain_resolve(struct page_sources *s, const struct chain_links *l, const char *pagemap,
		  struct err *err);
void page_sources_release(struct page_sources *s);
/* The pages file behind a level, with its checksums where there are any. */
int chain_pages(struct page_file **out, const struct chain_links *l, const struct page_sources *s,
		uint32_t level, struct err *err);

/* --- giving back ------------------------------------------------------------------- */

/*
 * What the parents of the plain directory @dirfd hold and it does not need is given back
 * to the disk; *@pages counts. A parent that lost something, and those between it and
 * @dirfd, are memory only from there on: a restore of them is refused, and so is one of any
 * other child of theirs. Killed at any instant it leaves @dirfd restorable.
 */
int chain_dedup(int dirfd, uint64_t *pages, struct err *err);

/* --- verify ------------------------------------------------------------------------ */

/*
 * Every checksum and image of checkpoint @seq (not of its parents), the links
 * from it to its oldest parent, and whether all pages of its pagemaps are found. Calls @bad once per fault; returns 0, 1
 * when there were faults, or a negative errno when it could not look.
 */
int chain_verify(int chain_dirfd, uint32_t seq, void (*bad)(void *arg, const char *what), void *arg,
		 struct err *err);

#endif
