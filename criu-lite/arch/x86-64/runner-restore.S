/* runner-restore.S - what a newborn executes until it is let go; see runner-restore.h. */
#include "criu-lite/arch/x86-64/runner-restore.h"
#include "criu-lite/arch/x86-64/runner-rows.inc"

#define NR_close	3
#define NR_poll		7
#define NR_rt_sigreturn 15
#define NR_sched_yield	24
#define NR_futex	202
#define NR_exit_group	231
#define EINTR		4
#define POLLIN		1

	.section .rodata
	.globl	runner_restore_start, runner_restore_len
	.hidden	runner_restore_start, runner_restore_len
	.balign	16
runner_restore_start:
look:
	mov	SLICE_CMD(%rbx), %eax
	cmp	$RUNNER_RUN, %eax
	je	walk
	cmp	$RUNNER_GATE, %eax
	je	gate
	ja	leave
	lea	SLICE_CMD(%rbx), %rdi	/* FUTEX_WAIT while it is RUNNER_IDLE */
	xor	%esi, %esi
	xor	%edx, %edx
	xor	%r10d, %r10d
	mov	$NR_futex, %eax
	syscall
	jmp	look

walk:
	movl	$RUNNER_IDLE, SLICE_CMD(%rbx)
	walk_rows
	announce_done
	jmp	look

gate:
	lea	NEWBORN_GATE(%rbx), %rdi
	mov	$1, %esi
	mov	$-1, %rdx
	mov	$NR_poll, %eax
	syscall
	cmp	$-EINTR, %rax
	je	gate
	testw	$POLLIN, NEWBORN_REVENTS(%rbx)
	jz	die

leave:
	mov	NEWBORN_INSIDE(%rbx), %r12
	cmpl	$0, NEWBORN_LEADER(%rbx)
	je	thread
	mov	NEWBORN_OUT(%rbx), %rsp
	cmpl	$1, NEWBORN_CERTIFIED(%rbx)
	je	out
	/*
	 * The tool is gone. Whether a thread that is about to leave has left cannot be told, so
	 * scratch stays; but nobody who has not passed the gate yet may find it closed.
	 */
	mov	NEWBORN_OUT_ALONE(%rbx), %rsp
wait:
	cmpl	$0, (%r12)
	jle	out
	mov	$NR_sched_yield, %eax
	syscall
	jmp	wait
out:
	mov	NEWBORN_GATE(%rbx), %edi
	mov	$NR_close, %eax
	syscall
	mov	$NR_rt_sigreturn, %eax
	syscall
	ud2
thread:
	mov	NEWBORN_OUT(%rbx), %rsp
	lock decl (%r12)
	mov	$NR_rt_sigreturn, %eax
	syscall
	ud2

die:
	mov	$1, %edi
	mov	$NR_exit_group, %eax
	syscall
	ud2
runner_restore_end:

	.balign	4
runner_restore_len:
	.long	runner_restore_end - runner_restore_start
	.section .note.GNU-stack,"",@progbits
