/*
 * decoy.S - a whole program, ELF header and all, that does nothing: see decoy.h.
 */
	.section .rodata
	.globl decoy_program, decoy_size

	.set	base, 0x400000

decoy_program:
	.ascii	"\177ELF"
	.byte	2, 1, 1, 0		/* 64 bits, little-endian, version 1, System V */
	.zero	8
	.short	2, 62			/* an executable, x86-64 */
	.long	1
	.quad	base + (code - decoy_program)
	.quad	segment - decoy_program
	.quad	0			/* no sections */
	.long	0
	.short	segment - decoy_program, code - segment, 1, 0, 0, 0
segment:
	.long	1, 5			/* to be loaded, readable and executable */
	.quad	0, base, base
	.quad	decoy_program_end - decoy_program
	.quad	decoy_program_end - decoy_program
	.quad	0x1000
code:
	movl	$34, %eax		/* pause */
	syscall
	jmp	code
decoy_program_end:

	.balign	8
decoy_size:
	.quad	decoy_program_end - decoy_program

	.section .note.GNU-stack, "", @progbits
