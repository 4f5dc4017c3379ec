/* runner.S - walks plans inside a task that goes on afterwards; see runner.h. */
#include "criu-lite/arch/x86-64/runner-rows.inc"

#define NR_rt_sigreturn	   15
#define NR_rt_sigtimedwait 128
#define EAGAIN		   11

	.section .rodata
	.globl	runner_start, runner_len
	.hidden	runner_start, runner_len

/* rt_sigtimedwait(nothing, NULL, limit): wakes by a stop or when time is up. */
.macro wait_for limit
	lea	SLICE_EMPTY_SET(%rbx), %rdi
	xor	%esi, %esi
	lea	\limit(%rbx), %rdx
	mov	$8, %r10d
	mov	$NR_rt_sigtimedwait, %eax
	syscall
.endm

	.balign	16
runner_start:
look:
	cmpl	$RUNNER_RUN, SLICE_CMD(%rbx)
	je	walk
	wait_for SLICE_LIMIT
	cmp	$-EAGAIN, %rax
	je	rescue
	jmp	look

walk:
	movl	$RUNNER_IDLE, SLICE_CMD(%rbx)
	walk_rows
	announce_done
	jmp	look

rescue:
	movl	$RUNNER_GONE, SLICE_STATE(%rbx)
	walk_undo
	cmpq	$0, SLICE_TABLE(%rbx)
	jne	leader

	/*
	 * Another thread: its stack pointer has been behind the first word of its frame all
	 * along. The call pushes into that word, which says "left scratch" from outside of it.
	 */
	mov	SLICE_SIGRETURN(%rbx), %rax
	jmp	*SLICE_CALL(%rbx)

leader:
	/* Scratch may go when each frame in the table is struck off or has its word pushed. */
	xor	%r15d, %r15d
again:
	mov	SLICE_TABLE(%rbx), %r12
	mov	SLICE_TABLE_LEN(%rbx), %r13
each:
	test	%r13, %r13
	jz	all_out
	mov	(%r12), %r14
	test	%r14, %r14
	jz	out
	cmpq	$0, (%r14)
	je	not_yet
out:
	add	$8, %r12
	dec	%r13
	jmp	each
all_out:
	/* The last one out may still stand before its sigreturn, on a frame in our stack. */
	test	%r15d, %r15d
	jnz	leave
	inc	%r15d
	cmpq	$0, SLICE_TABLE_LEN(%rbx)
	je	leave
not_yet:
	wait_for SLICE_GRACE
	jmp	again
leave:
	mov	SLICE_CHAIN(%rbx), %rsp
	mov	$NR_rt_sigreturn, %eax
	syscall
	ud2
runner_end:

	.balign	4
runner_len:
	.long	runner_end - runner_start
	.section .note.GNU-stack,"",@progbits
