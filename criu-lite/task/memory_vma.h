/*
 * memory_vma - what a VMA is: in /proc, in images, and what of it is kept.
 *
 * Internal to the memory files of this room; memory.h is what others use.
 */
#ifndef TASK_MEMORY_VMA_H
#define TASK_MEMORY_VMA_H

#include "criu-lite/proc/maps.h"
#include "criu-lite/proc/pagemap.h"
#include "criu-lite/proc/smaps.h"
#include "criu-lite/task/memory.h"
#include "criu-lite/task/parents.h"
#include "criu-lite/task/precopy.h"
#include "images/chain.h"

#include <string.h>
#include <sys/stat.h>

#define PAGE_SIZE     UINT64_C(4096)
#define USER_END      ((UINT64_C(1) << 47) - PAGE_SIZE) /* no VMA ends above */
#define VSYSCALL_ADDR UINT64_C(0xffffffffff600000)

/* VmaEntry.status */
enum vma_status {
	VMA_REGULAR = 1 << 0,
	VMA_STACK = 1 << 1,
	VMA_VSYSCALL = 1 << 2,
	VMA_VDSO = 1 << 3,
	VMA_HEAP = 1 << 5,
	VMA_FILE_PRIVATE = 1 << 6,
	VMA_FILE_SHARED = 1 << 7,
	VMA_ANON_SHARED = 1 << 8,
	VMA_ANON_PRIVATE = 1 << 9,
	VMA_SYSVIPC = 1 << 10,
	VMA_SOCKET = 1 << 11,
	VMA_VVAR = 1 << 12,
	VMA_AIORING = 1 << 13,
	VMA_MEMFD = 1 << 14,
	VMA_SHSTK = 1 << 15,
	VMA_GUARD = 1 << 16,
	VMA_EXT_PLUGIN = 1 << 27,
};

/* Made by the kernel or by us elsewhere, never by memory_map. */
#define VMA_SPECIAL (VMA_VSYSCALL | VMA_VDSO | VMA_VVAR)

/* One task's memory, hanging off struct task. */
struct task_memory {
	/* Saving: what smaps said, and whether that was before the freeze. */
	struct proc_smap *smap;
	size_t n_smaps;
	bool early;
	struct page_regions guards;
	struct page_regions watched;	/* where somebody waits for write faults */
	uint64_t locked_kb;		/* before there was scratch */
	size_t cap_on_fault, cap_names; /* of the lists in the leader's extra */
	struct mapped_file {
		unsigned int maj, min;
		uint64_t ino;
		uint32_t flags;
		char *path;
		char *link, *target; /* of the first VMA that maps it; where that leads */
		struct stat st;
		bool saved; /* what follows is known */
		bool memfd;
		uint32_t id;
	} * file; /* seen in this task already */
	size_t n_files, cap_files;

	/* Rebuilding. */
	struct page_sources src; /* levels: indexes of struct memory_build's links */
	int tool_pidfd;		 /* descriptor in the task, for as long as it is being built */
	int uffd;		 /* of the task, to fill it; -1: none */
};

/* The task's messages, made if there are none yet. */
MmEntry *memory_mm(struct task *task);
struct task_memory *memory_of(struct task *task);
void memory_of_release(struct task *task);
/* Where the pages of this dump wait; made with the first call. */
struct spool *memory_spool(struct saver *s);
/* Of s->parent, s's own, with what was read before the freeze. NULL, and no error: there is none. */
int memory_parents(struct saver *s, struct parents **out, struct err *err);
/* What was read of @task before the freeze; NULL: nothing. */
const struct precopied *memory_precopied(const struct saver *s, const struct task *task);

void mapped_file_release(struct mapped_file *f);
/* Where the file of a VMA is, if it has one: only reading, of each file once. */
void vma_read(struct task *task, const struct proc_vma *v, const struct proc_smap *smap);
/*
 * What is saved of one VMA: a new entry, or none when this one belongs to the
 * entry before (the clocks' part of vvar). Refuses by name.
 */
int vma_save(struct saver *s, struct task *task, const struct proc_vma *v,
	     const struct proc_smap *smap, VmaEntry **out, struct err *err);
/* What the task itself called it (PR_SET_VMA_ANON_NAME), to be freed; NULL: nothing. */
char *vma_given_name(const struct proc_vma *v);
VmaEntry *vma_guard(uint64_t start, uint64_t end);

/* An address space that was read: order, bounds, kinds, files. */
int vmas_check(const struct builder *b, const MmEntry *mm, struct err *err);

static inline bool page_is_zero(const char *page)
{
	const uint64_t *word = (const uint64_t *)page;

	return !*word && !memcmp(page, page + 8, PAGE_SIZE - 8);
}

/* Private memory whose pages are in the task's own pagemap. */
static inline bool vma_has_pages(const VmaEntry *e)
{
	return (e->status & (VMA_ANON_PRIVATE | VMA_FILE_PRIVATE)) && (e->status & VMA_REGULAR) &&
	       !(e->status & (VMA_VVAR | VMA_VSYSCALL));
}

#endif
