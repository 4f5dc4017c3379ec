/*
 * cpu - the instructions that a processor offers to programs, by the names that
 * /proc/cpuinfo has for them. A program asks once, when it starts, and calls
 * what it found ever after: on a processor without them it would be killed.
 */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cpuid_reg { EAX, EBX, ECX, EDX, CPUID_REGS };

/* CPUID. False: this processor has no such leaf. */
bool cpu_ask(uint32_t leaf, uint32_t subleaf, uint32_t r[CPUID_REGS]);

/* The names of all that this processor has; the array is allocated, the names are not. */
const char **cpu_features(size_t *n);

/* False, too, for a name that is not known here. */
bool cpu_has(const char *feature);

#endif
