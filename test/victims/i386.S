/* i386.S - a 32-bit program that waits until it is killed; see odd.c. */
	.globl	_start
_start:
	movl	$29, %eax		/* pause */
	int	$0x80
	jmp	_start
	.section .note.GNU-stack, "", @progbits
