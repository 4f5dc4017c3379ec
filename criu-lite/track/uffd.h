/*
 * uffd - the userfaultfd of another task: to track its writes, and to give it pages.
 *
 * Functions return 0 or a negative errno; why a kernel says no is left to the caller.
 */
#ifndef TRACK_UFFD_H
#define TRACK_UFFD_H

#include "criu-lite/remote/batch.h"

/*
 * The task opens one, we take it by @pidfd, the task closes its own: no trace stays in it.
 * @b is empty before and after. Returns a descriptor or a negative errno, as a rule because
 * the task cannot have one (its descriptor table is full, say).
 */
int uffd_open_in(struct batch *b, int pidfd, struct err *err);
/* First of all, once. @features: UFFD_FEATURE_*. */
int uffd_init(int uffd, uint64_t features);
/* For write protection; nothing is protected yet. */
int uffd_register(int uffd, uint64_t start, uint64_t end);
/* What is write-protected there counts as written again. -ENOENT: not all of it is registered. */
int uffd_unprotect(int uffd, uint64_t start, uint64_t end);
/*
 * To be filled: until it is unregistered or the descriptor is closed, nobody else gets a page
 * there, and writing from outside is -EFAULT. Closing looks at no page, unlike after uffd_register.
 */
int uffd_register_empty(int uffd, uint64_t start, uint64_t end);
int uffd_unregister(int uffd, uint64_t start, uint64_t end);
/*
 * Fill @len bytes of registered private memory that holds nothing yet. Returns the
 * bytes that were copied, perhaps none: what comes then must go another way.
 */
uint64_t uffd_copy(int uffd, uint64_t to, const void *from, uint64_t len);

#endif
