/*
 * mem - memory that is there or the program ends, arrays that grow, and
 * releases that cannot be forgotten.
 *
 * xmalloc and its kin abort when there is no memory: a tool that dies is safe
 * for its tracees (see Documentation/design.md, "Rescue"), and no caller could
 * do better.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <dirent.h>

void out_of_memory(void) __attribute__((noreturn));
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
void *xmemdup(const void *p, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Anonymous memory for much, in huge pages where the machine has them; munmap(2). NULL: no room. */
void *map_huge(size_t len);

/* Append @item to the array @ptr of @n items in use and @cap allocated; may move it. */
#define ARRAY_PUSH(ptr, n, cap, item)                                                              \
	do {                                                                                       \
		if ((n) == (cap)) {                                                                \
			(cap) = (cap) ? 2 * (cap) : 16;                                            \
			(ptr) = xreallocarray((ptr), (cap), sizeof(*(ptr)));                       \
		}                                                                                  \
		(ptr)[(n)++] = (item);                                                             \
	} while (0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define scoped	      __attribute__((cleanup(mem_free_p)))
#define scoped_fd     __attribute__((cleanup(mem_close_p))) int
#define scoped_file   __attribute__((cleanup(mem_fclose_p))) FILE *
#define scoped_dir    __attribute__((cleanup(mem_closedir_p))) DIR *

static inline void mem_free_p(void *p)
{
	free(*(void **)p);
}
static inline void mem_close_p(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
static inline void mem_fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
}
static inline void mem_closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* Give up ownership of a scoped descriptor: returns it, leaves -1 behind. */
static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
