/*
 * runner-rows.h - assembler macros that all runners share.
 *
 * %rbx holds the slice and stays; walk_rows uses every other register but %rsp
 * and %rbp. Rows, flags and undo mean what remote/plan.h says.
 */
#include "criu-lite/arch/x86-64/runner-offsets.h"

/* Walk .count rows. An undo entry is made as soon as its row is through, and struck off when a
 * later row makes just that call: a rescue then finds exactly what is still to be undone. */
.macro walk_rows
	mov	SLICE_COUNT(%rbx), %r12
	lea	SLICE_ROWS(%rbx), %r13
.Lrow\@:
	test	%r12, %r12
	jz	.Lwalked\@
	mov	ROW_OFF_USE(%r13), %eax
	test	%eax, %eax
	jz	.Lload\@
	mov	SLICE_KEPT(%rbx), %rdx
	mov	%rdx, ROW_OFF_NR(%r13,%rax,8)	/* argument N is the Nth word behind .nr */
.Lload\@:
	mov	ROW_OFF_NR(%r13), %rax
	mov	ROW_OFF_ARG+0(%r13), %rdi
	mov	ROW_OFF_ARG+8(%r13), %rsi
	mov	ROW_OFF_ARG+16(%r13), %rdx
	mov	ROW_OFF_ARG+24(%r13), %r10
	mov	ROW_OFF_ARG+32(%r13), %r8
	mov	ROW_OFF_ARG+40(%r13), %r9
	syscall
	mov	%rax, ROW_OFF_RET(%r13)
	testl	$2, ROW_OFF_FLAGS(%r13)		/* ROW_KEEP */
	jz	.Lfailed\@
	mov	%rax, SLICE_KEPT(%rbx)
.Lfailed\@:
	test	%rax, %rax
	jns	.Lundo\@
	testl	$1, ROW_OFF_FLAGS(%r13)		/* ROW_STOP */
	jz	.Lnext\@
	cmp	$-4095, %rax
	jae	.Lwalked\@
	jmp	.Lnext\@
.Lundo\@:
	mov	SLICE_N_UNDO(%rbx), %rcx
	lea	SLICE_UNDO(%rbx), %r14
	mov	ROW_OFF_UNDO(%r13), %rdx
	test	%rdx, %rdx
	jz	.Lstrike\@
	shl	$4, %rcx
	mov	%rdx, 0(%r14,%rcx)
	mov	%rax, 8(%r14,%rcx)
	incq	SLICE_N_UNDO(%rbx)
	jmp	.Lnext\@
.Lstrike\@:
	test	%rcx, %rcx
	jz	.Lnext\@
	mov	ROW_OFF_NR(%r13), %rdx
	cmp	%rdx, 0(%r14)
	jne	.Lother\@
	mov	ROW_OFF_ARG(%r13), %rdx
	cmp	%rdx, 8(%r14)
	jne	.Lother\@
	movq	$0, 0(%r14)			/* done already: see walk_undo */
.Lother\@:
	add	$16, %r14
	dec	%rcx
	jmp	.Lstrike\@
.Lnext\@:
	add	$ROW_SIZE, %r13
	dec	%r12
	jmp	.Lrow\@
.Lwalked\@:
.endm

/* Undo what is on the list, the last first. */
.macro walk_undo
	mov	SLICE_N_UNDO(%rbx), %r12
	lea	SLICE_UNDO(%rbx), %r13
.Lback\@:
	test	%r12, %r12
	jz	.Lundone\@
	dec	%r12
	mov	%r12, %rcx
	shl	$4, %rcx
	mov	0(%r13,%rcx), %rax
	test	%rax, %rax
	jz	.Lback\@
	mov	8(%r13,%rcx), %rdi
	syscall
	jmp	.Lback\@
.Lundone\@:
.endm

/* Say "walked"; the last of all wakes the tool. */
.macro announce_done
	movl	$RUNNER_DONE, SLICE_STATE(%rbx)
	mov	SLICE_DONE(%rbx), %rdi
	mov	$1, %eax
	lock xadd %eax, DONE_COUNT(%rdi)
	inc	%eax
	cmp	DONE_TARGET(%rdi), %eax
	jne	.Lsaid\@
	mov	$1, %esi			/* FUTEX_WAKE, one waiter */
	mov	$1, %edx
	mov	$202, %eax			/* futex */
	syscall
.Lsaid\@:
.endm
