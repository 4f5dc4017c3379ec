/* cpu.c - instruction sets, as CPUID tells them. */
#include "criu-lite/arch/x86-64/cpu.h"
#include "base/mem.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static const struct leaf {
	uint32_t leaf, subleaf;
} leaves[] = {
	{ 0x1, 0 }, { 0x7, 0 }, { 0x7, 1 }, { 0xd, 1 }, { 0x80000001, 0 }, { 0x80000008, 0 },
};
enum { BASIC, MORE, EVEN_MORE, XSAVE, EXTENDED, EXTENDED_8, LEAVES };
_Static_assert(ARRAY_SIZE(leaves) == LEAVES, "a row each");

/*
 * What x86-64 always has is left out, and so is what may be missing unnoticed: hints
 * that older processors take for a nop, and what only makes something faster.
 */
static const struct feature {
	uint8_t leaf, reg, bit;
	const char *name;
} features[] = {
	{ BASIC, ECX, 0, "pni" },
	{ BASIC, ECX, 1, "pclmulqdq" },
	{ BASIC, ECX, 9, "ssse3" },
	{ BASIC, ECX, 12, "fma" },
	{ BASIC, ECX, 13, "cx16" },
	{ BASIC, ECX, 19, "sse4_1" },
	{ BASIC, ECX, 20, "sse4_2" },
	{ BASIC, ECX, 22, "movbe" },
	{ BASIC, ECX, 23, "popcnt" },
	{ BASIC, ECX, 25, "aes" },
	{ BASIC, ECX, 27, "xsave" },
	{ BASIC, ECX, 28, "avx" },
	{ BASIC, ECX, 29, "f16c" },
	{ BASIC, ECX, 30, "rdrand" },
	{ MORE, EBX, 0, "fsgsbase" },
	{ MORE, EBX, 3, "bmi1" },
	{ MORE, EBX, 5, "avx2" },
	{ MORE, EBX, 8, "bmi2" },
	{ MORE, EBX, 11, "rtm" },
	{ MORE, EBX, 16, "avx512f" },
	{ MORE, EBX, 17, "avx512dq" },
	{ MORE, EBX, 18, "rdseed" },
	{ MORE, EBX, 19, "adx" },
	{ MORE, EBX, 21, "avx512ifma" },
	{ MORE, EBX, 23, "clflushopt" },
	{ MORE, EBX, 24, "clwb" },
	{ MORE, EBX, 26, "avx512pf" },
	{ MORE, EBX, 27, "avx512er" },
	{ MORE, EBX, 28, "avx512cd" },
	{ MORE, EBX, 29, "sha_ni" },
	{ MORE, EBX, 30, "avx512bw" },
	{ MORE, EBX, 31, "avx512vl" },
	{ MORE, ECX, 1, "avx512vbmi" },
	{ MORE, ECX, 4, "ospke" },
	{ MORE, ECX, 5, "waitpkg" },
	{ MORE, ECX, 6, "avx512_vbmi2" },
	{ MORE, ECX, 8, "gfni" },
	{ MORE, ECX, 9, "vaes" },
	{ MORE, ECX, 10, "vpclmulqdq" },
	{ MORE, ECX, 11, "avx512_vnni" },
	{ MORE, ECX, 12, "avx512_bitalg" },
	{ MORE, ECX, 14, "avx512_vpopcntdq" },
	{ MORE, ECX, 22, "rdpid" },
	{ MORE, ECX, 27, "movdiri" },
	{ MORE, ECX, 28, "movdir64b" },
	{ MORE, ECX, 29, "enqcmd" },
	{ MORE, EDX, 2, "avx512_4vnniw" },
	{ MORE, EDX, 3, "avx512_4fmaps" },
	{ MORE, EDX, 8, "avx512_vp2intersect" },
	{ MORE, EDX, 14, "serialize" },
	{ MORE, EDX, 16, "tsxldtrk" },
	{ MORE, EDX, 22, "amx_bf16" },
	{ MORE, EDX, 23, "avx512_fp16" },
	{ MORE, EDX, 24, "amx_tile" },
	{ MORE, EDX, 25, "amx_int8" },
	{ EVEN_MORE, EAX, 4, "avx_vnni" },
	{ EVEN_MORE, EAX, 5, "avx512_bf16" },
	{ EVEN_MORE, EAX, 23, "avx_ifma" },
	{ XSAVE, EAX, 0, "xsaveopt" },
	{ XSAVE, EAX, 1, "xsavec" },
	{ XSAVE, EAX, 2, "xgetbv1" },
	{ EXTENDED, ECX, 0, "lahf_lm" },
	{ EXTENDED, ECX, 5, "abm" },
	{ EXTENDED, ECX, 6, "sse4a" },
	{ EXTENDED, ECX, 11, "xop" },
	{ EXTENDED, ECX, 16, "fma4" },
	{ EXTENDED, ECX, 21, "tbm" },
	{ EXTENDED, EDX, 27, "rdtscp" },
	{ EXTENDED, EDX, 30, "3dnowext" },
	{ EXTENDED, EDX, 31, "3dnow" },
	{ EXTENDED_8, EBX, 0, "clzero" },
};

/* __get_cpuid_count asks for the highest leaf each time, as slow as the rest of it. */
bool cpu_ask(uint32_t leaf, uint32_t subleaf, uint32_t r[CPUID_REGS])
{
	static atomic_uint highest[2]; /* basic, extended; 0: not asked yet */
	atomic_uint *most = &highest[leaf >> 31];

	if (!*most)
		*most = __get_cpuid_max(leaf & 1u << 31, NULL);
	if (leaf > *most)
		return false;
	__cpuid_count(leaf, subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
	return true;
}

/* Asked once: below a hypervisor each CPUID is an exit of tens of microseconds. */
static uint32_t found[LEAVES][CPUID_REGS];

static void ask(void)
{
	for (size_t i = 0; i < LEAVES; i++)
		cpu_ask(leaves[i].leaf, leaves[i].subleaf, found[i]);
}

static bool has(const struct feature *f)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, ask);
	return found[f->leaf][f->reg] >> f->bit & 1;
}

const char **cpu_features(size_t *n)
{
	const char **name = xcalloc(ARRAY_SIZE(features), sizeof(*name));

	*n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		if (has(&features[i]))
			name[(*n)++] = features[i].name;
	return name;
}

bool cpu_has(const char *feature)
{
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		if (!strcmp(feature, features[i].name))
			return has(&features[i]);
	return false;
}
