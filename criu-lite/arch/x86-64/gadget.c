/* gadget.c - find system call and sigreturn instructions in a task's text. */
#include "criu-lite/arch/x86-64/gadget.h"
#include "base/mem.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define CHUNK	(256 * 1024)
#define LONGEST 9 /* bytes of the longest pattern */

static const struct pattern {
	size_t at; /* in struct gadgets */
	size_t len;
	uint8_t bytes[LONGEST];
} patterns[] = {
	{ offsetof(struct gadgets, syscall_ret), 3, { 0x0f, 0x05, 0xc3 } },
	/* libc's restorer and Go's have the first form, some compilers' the second */
	{ offsetof(struct gadgets, sigreturn), 9, { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 } },
	{ offsetof(struct gadgets, sigreturn), 7, { 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05 } },
	{ offsetof(struct gadgets, call), 2, { 0xff, 0xd0 } },
};

static uint64_t *slot(struct gadgets *g, const struct pattern *p)
{
	return (uint64_t *)((char *)g + p->at);
}

void gadgets_scan(const uint8_t *text, size_t len, uint64_t addr, struct gadgets *g)
{
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		const uint8_t *hit;

		if (*slot(g, &patterns[i]))
			continue;
		hit = memmem(text, len, patterns[i].bytes, patterns[i].len);
		if (hit)
			*slot(g, &patterns[i]) = addr + (uint64_t)(hit - text);
	}
}

static bool complete(const struct gadgets *g)
{
	return g->syscall_ret && g->sigreturn && g->call;
}

static ssize_t peek(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec here = { buf, len }, there = { (void *)addr, len };

	return process_vm_readv(pid, &here, 1, &there, 1, 0);
}

static void find_in(pid_t pid, const struct proc_vma *vma, uint8_t *buf, struct gadgets *g)
{
	for (uint64_t at = vma->start; at < vma->end && !complete(g); at += CHUNK) {
		size_t want = vma->end - at < CHUNK + LONGEST ? vma->end - at : CHUNK + LONGEST;
		ssize_t got = peek(pid, at, buf, want);

		if (got <= 0)
			return;
		gadgets_scan(buf, (size_t)got, at, g);
	}
}

/* Text that stays: of a file or the vdso. Code made at run time comes and goes. */
static bool lasting_text(const struct proc_vma *vma)
{
	if (!(vma->prot & PROT_EXEC) || !(vma->prot & PROT_READ) || (vma->prot & PROT_WRITE))
		return false;
	if (!vma->path || vma->shared)
		return false;
	return vma->path[0] == '/' || strcmp(vma->path, "[vdso]") == 0;
}

/* The last first: that is the dynamic loader, which is small and has them all. */
void gadgets_find(pid_t pid, const struct proc_vma *vma, size_t n, struct gadgets *out)
{
	scoped uint8_t *buf = xmalloc(CHUNK + LONGEST);

	*out = (struct gadgets) {};
	for (size_t i = n; i-- > 0 && !complete(out);)
		if (lasting_text(&vma[i]))
			find_in(pid, &vma[i], buf, out);
}

static bool holds(pid_t pid, const struct pattern *p, uint64_t addr)
{
	uint8_t now[LONGEST];

	return peek(pid, addr, now, p->len) == (ssize_t)p->len && !memcmp(now, p->bytes, p->len);
}

bool gadgets_hold(pid_t pid, const struct gadgets *g)
{
	struct gadgets copy = *g;

	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		uint64_t *addr = slot(&copy, &patterns[i]);

		if (*addr && holds(pid, &patterns[i], *addr))
			*addr = 0;
	}
	return !copy.syscall_ret && !copy.sigreturn && !copy.call;
}
