/*
 * memory - a task's address space: VMAs, what is in them, and the mm's own marks.
 *
 * Saving: memory_read, memory_look (frozen, before entering), memory_save (pages; entered), memory_write.
 * Rebuilding: memory_load, memory_map, memory_fill, memory_settle in this order,
 * each over all tasks before the next; then the kind "mm" sets the marks.
 */
#ifndef TASK_MEMORY_H
#define TASK_MEMORY_H

#include "criu-lite/task/kind.h"
#include "criu-lite/track/track.h"
#include "images/chain.h"

/*
 * The mappings that a tracker is to look at, from task->mm. Not the shared ones: no tracker
 * sees every store into them, so content is compared. free() the array.
 */
struct track_vma *memory_tracked(const struct task *task, size_t *n);

/*
 * Before the freeze: begins the slow reads (smaps) of the tree's large tasks, which memory_precopy
 * waits for; optional. What was read is used only where no mapping moved since, and memory_late
 * must then confirm it.
 */
void memory_early(struct saver *s, pid_t root);
/*
 * After memory_early, as close to the freeze as may be: pages that were written are read, and
 * those that are likely to be read in the freeze get room. What is read of s->parent is used
 * if memory_save still finds it there.
 */
void memory_precopy(struct saver *s);
/* What is read of one frozen task, for several at once: before memory_look. */
int memory_read(struct saver *s, struct task *task, struct err *err);
/*
 * VMAs with flags, mapped files and shared objects into task->mm; refuses what cannot be saved.
 * -EAGAIN: perhaps so only because of what memory_early has read.
 */
int memory_look(struct saver *s, struct task *task, struct err *err);
/* Reads the pages of the tree, for pagemap-PID, pagemap-shmem-ID, pages-N in s->dirfd; counts in s. */
int memory_save(struct saver *s, struct err *err);
/* After the thaw: those files are written, as far as they are not yet; their sums go to @chain. */
int memory_write(struct saver *s, struct chain *chain, struct err *err);
/*
 * After memory_look: smaps again, where memory_early was believed, in idle time. Whether it may begin
 * in the freeze: it stands still for long anyway, or there are no large mappings, whose lock would
 * hold up what comes after the pages. memory_write begins what was not begun.
 */
void memory_late_begin(struct saver *s);
bool memory_late_fits(const struct saver *s);
/* After memory_write, what that has found: -EAGAIN when flags changed under us: the dump is to be
 * done again without memory_early. */
int memory_late(struct saver *s, struct err *err);
void memory_save_release(struct saver *s);

/* Read mm-PID (where task->mm is not there yet) and pagemaps of the chain, bounded and checked
 * against files.img, which has been read; refuses what this machine cannot map. */
int memory_load(struct builder *b, struct err *err);
/* An address range of @len bytes that no task's VMA (and no vdso place, old or new) touches. */
int memory_hole(struct builder *b, uint64_t len, uint64_t avoid_start, uint64_t avoid_end,
		uint64_t *start, struct err *err);
/* The leader's [stack] VMA and whether [start, end) in it holds no saved page. */
bool memory_stack(const struct task *task, uint64_t *start, uint64_t *end);
bool memory_unused(const struct builder *b, const struct task *task, uint64_t start, uint64_t end);
/* Rows: every VMA, writable where pages come; files by pidfd_getfd from the tool (pidfd at
 * descriptor @tool_pidfd of the task). Not vdso and vvar: those are the engine's. */
int memory_map(struct builder *b, struct batch *batch, int tool_pidfd, struct err *err);
/* Copy the pages of all tasks, several threads, userfaultfd(2) or process_vm_writev(2); checks
 * block checksums. */
int memory_fill(struct builder *b, struct err *err);
/* Rows: final protection, madvise, locks, guard pages. */
int memory_settle(struct builder *b, struct batch *batch, struct err *err);
void memory_build_release(struct builder *b);

#endif
