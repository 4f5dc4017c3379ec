/* cpuinfo.c - CPUID into the words of cpuinfo.img, and two of these compared. */
#include "criu-lite/arch/x86-64/cpuinfo.h"
#include "base/mem.h"
#include "criu-lite/arch/x86-64/cpu.h"
#include "criu-lite/arch/x86-64/xstate.h"

#include <cpuid.h>
#include <inttypes.h>
#include <string.h>

enum { WORDS = 19, CAPABILITY_VERSION = 2 };

/*
 * criu counts neither SSE nor the bounds registers of MPX among the components, and refuses a file
 * that does. Nothing is lost: every x86-64 has the one, and the other comes with component 4.
 */
#define NOT_COUNTED (1ull << 1 | 1ull << 3)

/* Which register of which leaf each word is; words without a row are the kernel's own marks. */
static const struct {
	unsigned int word, leaf, subleaf;
	enum cpuid_reg reg;
	/* OSXSAVE, OSPKE and the APIC's address: of the system, not of the processor */
	uint32_t ignore;
} words[] = {
	{ 0, 1, 0, EDX },
	{ 1, 0x80000001, 0, EDX },
	{ 4, 1, 0, ECX, 1u << 27 },
	{ 6, 0x80000001, 0, ECX },
	{ 9, 7, 0, EBX },
	{ 10, 0xd, 1, EAX },
	{ 11, 7, 0, ECX, 1u << 4 },
	{ 13, 0x80000008, 0, EBX },
	{ 14, 6, 0, EAX, UINT32_MAX },
	{ 15, 0x8000000a, 0, EDX, UINT32_MAX },
};

static uint32_t ask(uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg)
{
	uint32_t r[CPUID_REGS];

	return cpu_ask(leaf, subleaf, r) ? r[reg] : 0;
}

static CpuinfoX86Entry__Vendor vendor(void)
{
	uint32_t ebx = ask(0, 0, EBX);

	if (ebx == signature_INTEL_ebx)
		return CPUINFO_X86_ENTRY__VENDOR__INTEL;
	return ebx == signature_AMD_ebx ? CPUINFO_X86_ENTRY__VENDOR__AMD
					: CPUINFO_X86_ENTRY__VENDOR__UNKNOWN;
}

/* Extended numbers count from families 6 and 15 on. */
static void set_version(CpuinfoX86Entry *e)
{
	uint32_t eax = ask(1, 0, EAX);
	uint32_t family = (eax >> 8) & 15;

	e->cpu_family = family == 15 ? family + ((eax >> 20) & 255) : family;
	e->model = (eax >> 4) & 15;
	if (family >= 6)
		e->model |= ((eax >> 16) & 15) << 4;
	e->stepping = eax & 15;
}

static char *brand(void)
{
	uint32_t text[13] = {};
	char *p = (char *)text;

	for (unsigned int i = 0; i < 3; i++)
		for (int reg = EAX; reg <= EDX; reg++)
			text[4 * i + reg] = ask(0x80000002 + i, 0, (enum cpuid_reg)reg);
	return xstrdup(p + strspn(p, " "));
}

CpuinfoX86Entry *cpuinfo_here(void)
{
	CpuinfoX86Entry *e = xmalloc(sizeof(*e));

	cpuinfo_x86_entry__init(e);
	e->vendor_id = vendor();
	set_version(e);
	e->capability_ver = CAPABILITY_VERSION;
	e->n_capability = WORDS;
	e->capability = xcalloc(WORDS, sizeof(*e->capability));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		e->capability[words[i].word] = ask(words[i].leaf, words[i].subleaf, words[i].reg);
	e->model_id = brand();
	e->has_xfeatures_mask = e->has_xsave_size = e->has_xsave_size_max = true;
	e->xfeatures_mask = xstate_host_features() & ~NOT_COUNTED;
	e->xsave_size = ask(0xd, 0, EBX);
	e->xsave_size_max = ask(0xd, 0, ECX);
	return e;
}

static int check_words(const CpuinfoX86Entry *there, const CpuinfoX86Entry *here, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		unsigned int w = words[i].word;
		uint32_t missing;

		if (w >= there->n_capability)
			continue;
		missing = there->capability[w] & ~here->capability[w] & ~words[i].ignore;
		if (missing)
			return err_set(
				err, ERR_REFUSED,
				"cpuinfo.img: this processor lacks bits %#x of CPUID leaf %#x",
				missing, words[i].leaf);
	}
	return 0;
}

static int check_xstate(const CpuinfoX86Entry *there, const CpuinfoX86Entry *here, struct err *err)
{
	uint64_t missing = there->xfeatures_mask & ~xstate_host_features();

	if (there->has_xfeatures_mask && missing)
		return err_set(err, ERR_REFUSED, "cpuinfo.img: this processor has no %s",
			       xstate_feature_name((unsigned int)__builtin_ctzll(missing)));
	if (there->has_xsave_size && there->xsave_size != here->xsave_size)
		return err_set(err, ERR_REFUSED,
			       "cpuinfo.img: the XSAVE area has %u bytes here, and %u there",
			       here->xsave_size, there->xsave_size);
	return 0;
}

int cpuinfo_check(const CpuinfoX86Entry *there, struct err *err)
{
	CpuinfoX86Entry *here = cpuinfo_here();
	int rc = check_words(there, here, err);

	if (!rc)
		rc = check_xstate(there, here, err);
	cpuinfo_x86_entry__free_unpacked(here, NULL);
	return rc;
}
