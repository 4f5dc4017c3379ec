/*
 * gadget - instructions of the task's own that a rescue is made of.
 *
 * They must outlive scratch, so they lie in the program, its libraries or the
 * vdso, and nothing is ever written there. Looking takes a while (it reads the
 * text): it is done before the freeze, and what was found is checked again
 * after it, because a library may have been unmapped meanwhile.
 */
#ifndef ARCH_GADGET_H
#define ARCH_GADGET_H

#include "base/err.h"
#include "criu-lite/proc/maps.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Addresses; 0: not found. */
struct gadgets {
	uint64_t syscall_ret; /* syscall; ret */
	uint64_t sigreturn;   /* mov $15,%eax; syscall */
	uint64_t call;	      /* call *%rax */
};

/*
 * Look through the executable mappings among @vma of task @pid. Reading a
 * mapping that goes away meanwhile is no error: what is not found stays 0.
 */
void gadgets_find(pid_t pid, const struct proc_vma *vma, size_t n, struct gadgets *out);

/* Are the bytes at all addresses that are not 0 still the same? */
bool gadgets_hold(pid_t pid, const struct gadgets *g);

/* The same for bytes in hand, which lie at @addr: fills what is still 0. */
void gadgets_scan(const uint8_t *text, size_t len, uint64_t addr, struct gadgets *g);

#endif
