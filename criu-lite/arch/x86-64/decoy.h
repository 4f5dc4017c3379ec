/* decoy - a program that waits for ever, some hundred bytes to be written to a file and executed. */
#ifndef X86_64_DECOY_H
#define X86_64_DECOY_H

extern const char decoy_program[], decoy_program_end[];

#endif
