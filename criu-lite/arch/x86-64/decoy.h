/* decoy - a program that waits for ever, some hundred bytes to be written to a file and executed. */
#ifndef X86_64_DECOY_H
#define X86_64_DECOY_H

#include <stdint.h>

extern const char decoy_program[];
extern const uint64_t decoy_size;

#endif
