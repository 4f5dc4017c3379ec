/*
 * memfd - shared memory objects: memfd_create(2) files and the objects behind
 * MAP_SHARED|MAP_ANONYMOUS mappings (which the kernel calls "/dev/zero").
 *
 * One inode is one memfd.img entry, however many descriptors and mappings it
 * has; each open file description, and each way it is mapped, is a MEMFD entry
 * of files.img. Content is the business of task/pages.c: pagemap-shmem-SHMID.
 */
#ifndef FILE_MEMFD_H
#define FILE_MEMFD_H

#include "criu-lite/file/file.h"
#include "proto/memfd.pb-c.h"

/* --- saving -------------------------------------------------------------------- */

/* Lies in the kernel's own tmpfs, as every object of ours (and SysV memory) does. */
bool memfd_is_shmem(const struct stat *st);
/* A link of /proc that says so too: "/memfd:NAME (deleted)" or "/dev/zero (deleted)". */
bool memfd_is_object(const struct stat *st, const char *link);

/* One object that the tree maps or holds, and a link of /proc/PID that opens it. */
struct memfd_object {
	MemfdInodeEntry *inode;
	dev_t dev;
	ino_t ino;
	struct task *task;
	char *link;
};

/* Valid until the next object is added. */
size_t memfd_objects(const struct file_save *s, const struct memfd_object **v);

/* --- rebuilding ---------------------------------------------------------------- */

size_t memfd_count(const struct file_build *b);
const MemfdInodeEntry *memfd_inode(const struct file_build *b, size_t i);
/* The object itself, of full size and without content when new; stays the table's. */
int memfd_open_object(struct file_build *b, size_t i, int *fd, struct err *err);
/* Once all mappings exist and all content is there. */
int memfd_seal(struct file_build *b, struct err *err);

extern const struct file_kind fd_memfd;

#endif
