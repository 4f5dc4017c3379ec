/*
 * cpuinfo - what CPUID says, in the words of cpuinfo.img.
 */
#ifndef ARCH_CPUINFO_H
#define ARCH_CPUINFO_H

#include "base/err.h"
#include "proto/cpuinfo.pb-c.h"

/* Of this machine; free it with cpuinfo_x86_entry__free_unpacked. */
CpuinfoX86Entry *cpuinfo_here(void);
/*
 * Has this machine every instruction and state component that @there had? ERR_REFUSED
 * names the first word of capabilities, or the component, that is missing.
 */
int cpuinfo_check(const CpuinfoX86Entry *there, struct err *err);

#endif
