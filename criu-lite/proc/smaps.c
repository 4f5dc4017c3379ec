/* smaps.c - /proc/PID/smaps: counters and VmFlags of each VMA. */
#include "criu-lite/proc/smaps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "criu-lite/proc/maps.h"
#include "criu-lite/proc/text.h"

#define SMAPS_TRIES 10

static const struct {
	char code[3];
	enum proc_vmflag flag;
} vmflags[] = {
	{ "rd", VMF_RD }, { "wr", VMF_WR }, { "ex", VMF_EX }, { "sh", VMF_SH }, { "mr", VMF_MR },
	{ "mw", VMF_MW }, { "me", VMF_ME }, { "ms", VMF_MS }, { "gd", VMF_GD }, { "pf", VMF_PF },
	{ "lo", VMF_LO }, { "lf", VMF_LF }, { "io", VMF_IO }, { "sr", VMF_SR }, { "rr", VMF_RR },
	{ "dc", VMF_DC }, { "de", VMF_DE }, { "ac", VMF_AC }, { "nr", VMF_NR }, { "ht", VMF_HT },
	{ "sf", VMF_SF }, { "ar", VMF_AR }, { "wf", VMF_WF }, { "dd", VMF_DD }, { "sd", VMF_SD },
	{ "mm", VMF_MM }, { "hg", VMF_HG }, { "nh", VMF_NH }, { "mg", VMF_MG }, { "bt", VMF_BT },
	{ "mt", VMF_MT }, { "um", VMF_UM }, { "uw", VMF_UW }, { "ui", VMF_UI }, { "ss", VMF_SS },
	{ "sl", VMF_SL }, { "dp", VMF_DP }, { "gu", VMF_GU },
};

static const struct {
	enum proc_vmflag flag;
	unsigned int advice;
} madv[] = {
	{ VMF_RR, MADV_RANDOM },    { VMF_SR, MADV_SEQUENTIAL }, { VMF_DC, MADV_DONTFORK },
	{ VMF_MG, MADV_MERGEABLE }, { VMF_HG, MADV_HUGEPAGE },	 { VMF_NH, MADV_NOHUGEPAGE },
	{ VMF_DD, MADV_DONTDUMP },  { VMF_WF, MADV_WIPEONFORK },
};

static const struct {
	const char *key;
	size_t at;
} counters[] = {
	{ "Rss", offsetof(struct proc_smap, rss_kb) },
	{ "Private_Dirty", offsetof(struct proc_smap, private_dirty_kb) },
	{ "Anonymous", offsetof(struct proc_smap, anon_kb) },
	{ "AnonHugePages", offsetof(struct proc_smap, anon_huge_kb) },
	{ "Swap", offsetof(struct proc_smap, swap_kb) },
	{ "Locked", offsetof(struct proc_smap, locked_kb) },
	{ "KernelPageSize", offsetof(struct proc_smap, kernel_page_kb) },
};

uint64_t proc_smap_madv(uint64_t flags)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < ARRAY_SIZE(madv); i++) {
		if (flags & VMF_BIT(madv[i].flag))
			bits |= 1ull << madv[i].advice;
	}
	return bits;
}

static uint64_t flag_of(const char *code)
{
	for (size_t i = 0; i < ARRAY_SIZE(vmflags); i++) {
		if (!memcmp(vmflags[i].code, code, 2))
			return VMF_BIT(vmflags[i].flag);
	}
	return VMF_BIT(VMF_UNKNOWN);
}

/* "rd wr mr mw me ac " */
static bool take_flags(struct text *t, uint64_t *out)
{
	uint64_t flags = 0;

	for (text_blanks(t); t->p < t->end; text_blanks(t)) {
		if (text_len(t) < 2 || (text_len(t) > 2 && t->p[2] != ' '))
			return false;
		flags |= flag_of(t->p);
		t->p += 2;
	}
	*out = flags;
	return true;
}

/* "    12 kB" */
static bool take_kb(struct text *t, uint64_t *out)
{
	return text_blanks(t) && text_dec(t, out) && text_word(t, " kB") && text_done(t);
}

/* One "Key:   value" line; keys that are of no use to us are passed over unread. */
static bool take_field(const struct text *line, struct proc_smap *s)
{
	const char *colon = memchr(line->p, ':', text_len(line));
	struct text value;
	size_t key_len;

	if (!colon)
		return false;
	key_len = (size_t)(colon - line->p);
	value = (struct text) { colon + 1, line->end };
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		if (strlen(counters[i].key) == key_len &&
		    !memcmp(counters[i].key, line->p, key_len))
			return take_kb(&value, (uint64_t *)((char *)s + counters[i].at));
	}
	if (key_len == 7 && !memcmp(line->p, "VmFlags", 7))
		return take_flags(&value, &s->flags);
	if (key_len == 13 && !memcmp(line->p, "ProtectionKey", 13))
		return text_blanks(&value) && text_u32(&value, &s->pkey) && text_done(&value);
	return true;
}

/* The keys begin with a capital, the lines that open a VMA with a lower-case digit. */
static bool is_head(const struct text *line)
{
	return line->p < line->end && !(*line->p >= 'A' && *line->p <= 'Z');
}

static bool take_head(const struct text *line, struct proc_smap *s)
{
	struct proc_vma vma;
	const char *name;
	size_t name_len;

	if (maps_line_parse(line->p, text_len(line), &vma, &name, &name_len) < 0)
		return false;
	*s = (struct proc_smap) { .start = vma.start, .end = vma.end };
	return true;
}

int proc_smaps_parse(const char *buf, size_t len, struct proc_smap **out, size_t *n,
		     struct err *err)
{
	scoped struct proc_smap *v = NULL;
	size_t used = 0, cap = 0;
	struct text t = text_of(buf, len), line;

	while (text_line(&t, &line)) {
		struct proc_smap s;

		if (!is_head(&line)) {
			if (!used || !take_field(&line, &v[used - 1]))
				return text_bad(err, "smaps", &line);
			continue;
		}
		if (!take_head(&line, &s))
			return text_bad(err, "smaps", &line);
		if (used && s.start < v[used - 1].end)
			return err_set(err, -EAGAIN,
				       "smaps: %" PRIx64 " overlaps or precedes the VMA before",
				       s.start);
		ARRAY_PUSH(v, used, cap, s);
	}
	*out = v;
	*n = used;
	v = NULL;
	return 0;
}

int proc_smaps_read(const struct proc_dir *dir, struct proc_smap **v, size_t *n, struct err *err)
{
	int rc = -EAGAIN;

	for (int i = 0; i < SMAPS_TRIES && rc == -EAGAIN; i++) {
		scoped char *buf = NULL;
		size_t len;

		rc = proc_read(dir, "smaps", &buf, &len, err);
		if (rc < 0)
			return rc;
		rc = proc_smaps_parse(buf, len, v, n, err);
	}
	return rc;
}
