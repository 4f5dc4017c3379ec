/* frame.c - signal frames, as the kernel's rt_sigreturn reads them. */
#include "criu-lite/arch/x86-64/frame.h"

#include <assert.h>
#include <string.h>

/* struct sigcontext of asm/sigcontext.h */
struct kernel_sigcontext {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2, fpstate, reserved[8];
};

/* struct ucontext of asm-generic/ucontext.h */
struct kernel_ucontext {
	uint64_t flags, link;
	uint64_t ss_sp;
	int32_t ss_flags, pad;
	uint64_t ss_size;
	struct kernel_sigcontext regs;
	uint64_t mask;
};
_Static_assert(sizeof(struct kernel_ucontext) == 304, "kernel layout");

/* struct _fpx_sw_bytes of asm/sigcontext.h, in the legacy part of the area */
struct kernel_fx_sw {
	uint32_t magic1, extended_size;
	uint64_t features;
	uint32_t xstate_size, padding[7];
};
_Static_assert(sizeof(struct kernel_fx_sw) == 48, "kernel layout");

#define FX_SW_AT   464
#define FX_MAGIC1  0x46505853u
#define FX_MAGIC2  0x46505845u
#define XSTATE_AT  320 /* behind the ucontext, aligned for XRSTOR */
#define HEADER_AT  512
#define HEADER_LEN 64

static size_t aligned(size_t n)
{
	return (n + FRAME_ALIGN - 1) & ~(size_t)(FRAME_ALIGN - 1);
}

size_t frame_size(const struct xstate *xstate)
{
	if (!xstate)
		return XSTATE_AT;
	return aligned(XSTATE_AT + xstate_frame_len(xstate) + sizeof(uint32_t));
}

static void put_regs(struct kernel_sigcontext *to, const struct user_regs_struct *from)
{
	*to = (struct kernel_sigcontext) {
		.r8 = from->r8,
		.r9 = from->r9,
		.r10 = from->r10,
		.r11 = from->r11,
		.r12 = from->r12,
		.r13 = from->r13,
		.r14 = from->r14,
		.r15 = from->r15,
		.rdi = from->rdi,
		.rsi = from->rsi,
		.rbp = from->rbp,
		.rbx = from->rbx,
		.rdx = from->rdx,
		.rax = from->rax,
		.rcx = from->rcx,
		.rsp = from->rsp,
		.rip = from->rip,
		.eflags = from->eflags,
		.cs = (uint16_t)from->cs,
		.ss = (uint16_t)from->ss,
	};
}

/* No alternate stack is this small: the kernel declines and keeps the one in use. */
static const struct frame_altstack declined = { .sp = 4096, .size = 1 };

static void put_altstack(struct kernel_ucontext *uc, const struct frame_altstack *altstack)
{
	uc->ss_sp = altstack->sp;
	uc->ss_flags = altstack->flags;
	uc->ss_size = altstack->size;
}

/*
 * The size may not exceed what the kernel has for this thread, or it drops all
 * but x87 and SSE: so only features in use are announced, and never AMX.
 */
static void put_xstate(uint8_t *area, const struct xstate *x)
{
	uint64_t features = xstate_frame_features(x);
	size_t len = xstate_frame_len(x);
	uint32_t magic2 = FX_MAGIC2;
	uint64_t bv = xstate_in_use(x);
	struct kernel_fx_sw sw = {
		.magic1 = FX_MAGIC1,
		.extended_size = (uint32_t)(len + sizeof(magic2)),
		.features = features,
		.xstate_size = (uint32_t)len,
	};

	assert(len <= x->len);
	memcpy(area, x->area, len);
	memcpy(area + FX_SW_AT, &sw, sizeof(sw));
	memset(area + HEADER_AT, 0, HEADER_LEN);
	memcpy(area + HEADER_AT, &bv, sizeof(bv));
	memcpy(area + len, &magic2, sizeof(magic2));
}

size_t frame_build(void *buf, uint64_t addr, const struct frame *frame)
{
	size_t len = frame_size(frame->xstate);
	struct kernel_ucontext uc = { .flags = frame->flags, .mask = frame->mask };

	assert(addr % FRAME_ALIGN == 0);
	memset(buf, 0, len);
	put_regs(&uc.regs, &frame->regs->user);
	put_altstack(&uc, frame->altstack ? frame->altstack : &declined);
	if (frame->xstate) {
		uc.regs.fpstate = addr + XSTATE_AT;
		put_xstate((uint8_t *)buf + XSTATE_AT, frame->xstate);
	}
	memcpy(buf, &uc, sizeof(uc));
	return len;
}
