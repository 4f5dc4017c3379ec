/* smaps.c - /proc/PID/smaps: the flags and the protection key of each VMA. */
#include "criu-lite/proc/smaps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* What was understood so far, and the last list of flags: most VMAs have the same as the one before. */
struct smaps {
	struct proc_smap *v;
	size_t n, cap;
	char codes[128];
	size_t n_codes;
	uint64_t flags;
	bool wants_heads;
	char *head; /* the lines that open a VMA, which are those of maps */
	size_t n_head, cap_head;
};

static void smaps_release(struct smaps *s)
{
	free(s->v);
	free(s->head);
}
#define scoped_smaps __attribute__((cleanup(smaps_release))) struct smaps

/* "rd wr mr mw me ac " */
static bool take_codes(struct text *t, uint64_t *out)
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

static bool take_flags(struct smaps *s, struct text *t, uint64_t *out)
{
	const char *codes = t->p;
	size_t len = text_len(t);

	if (len && len == s->n_codes && !memcmp(codes, s->codes, len)) {
		*out = s->flags;
		return true;
	}
	if (!take_codes(t, out))
		return false;
	if (len <= sizeof(s->codes)) {
		memcpy(s->codes, codes, len);
		s->n_codes = len;
		s->flags = *out;
	}
	return true;
}

/* One "Key:   value" line; keys that are of no use to us are passed over unread. */
static bool take_field(struct smaps *s, struct text *line)
{
	struct proc_smap *last = &s->v[s->n - 1];

	if (text_word(line, "VmFlags:"))
		return take_flags(s, line, &last->flags);
	if (text_word(line, "ProtectionKey:"))
		return text_blanks(line) && text_u32(line, &last->pkey) && text_done(line);
	return memchr(line->p, ':', text_len(line));
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

static void keep_head(struct smaps *s, const struct text *line)
{
	size_t len = text_len(line);

	if (s->cap_head - s->n_head <= len) {
		s->cap_head = 2 * (s->cap_head + len + 1);
		s->head = xreallocarray(s->head, s->cap_head, 1);
	}
	memcpy(s->head + s->n_head, line->p, len);
	s->head[s->n_head + len] = '\n';
	s->n_head += len + 1;
}

static int take_line(struct smaps *s, struct text *line, struct err *err)
{
	struct text whole = *line;
	struct proc_smap next;

	if (!is_head(line))
		return s->n && take_field(s, line) ? 0 : text_bad(err, "smaps", &whole);
	if (!take_head(line, &next))
		return text_bad(err, "smaps", &whole);
	if (s->n && next.start < s->v[s->n - 1].end)
		return err_set(err, -EAGAIN,
			       "smaps: %" PRIx64 " overlaps or precedes the VMA before",
			       next.start);
	ARRAY_PUSH(s->v, s->n, s->cap, next);
	if (s->wants_heads)
		keep_head(s, &whole);
	return 0;
}

static int take_lines(struct smaps *s, struct text *t, struct err *err)
{
	struct text line;
	int rc = 0;

	while (!rc && text_line(t, &line))
		rc = take_line(s, &line, err);
	return rc;
}

static void give(struct smaps *s, struct proc_smap **v, size_t *n)
{
	*v = s->v;
	*n = s->n;
	s->v = NULL;
}

int proc_smaps_parse(const char *buf, size_t len, struct proc_smap **out, size_t *n,
		     struct err *err)
{
	struct text t = text_of(buf, len);
	scoped_smaps s = {};
	int rc = take_lines(&s, &t, err);

	if (!rc)
		give(&s, out, n);
	return rc;
}

enum { PIECE = 65536 };

/* What is behind the last newline of the @n bytes waits for the rest of its line. */
static int take_piece(struct smaps *s, char *piece, size_t *n, struct err *err)
{
	const char *nl = memrchr(piece, '\n', *n);
	size_t whole = nl ? (size_t)(nl + 1 - piece) : 0;
	struct text t = text_of(piece, whole);
	int rc = take_lines(s, &t, err);

	*n -= whole;
	memmove(piece, piece + whole, *n);
	return rc;
}

/* A piece at a time, which stays in the cache: of 20,000 VMAs there are 16 MB. */
static int read_pieces(int fd, struct smaps *s, struct err *err)
{
	scoped char *piece = xmalloc(PIECE);
	size_t n = 0, all = 0;
	struct text rest;

	for (;;) {
		ssize_t got;
		int rc;

		if (all > PROC_READ_MAX)
			return err_code(err, -EFBIG, "read smaps");
		if (n == PIECE)
			return err_set(err, -EINVAL, "smaps: a line of more than %d bytes", PIECE);
		got = read(fd, piece + n, PIECE - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, "read smaps");
		if (!got)
			break;
		n += (size_t)got;
		all += (size_t)got;
		rc = take_piece(s, piece, &n, err);
		if (rc < 0)
			return rc;
	}
	rest = text_of(piece, n);
	return take_lines(s, &rest, err);
}

static int read_once(const struct proc_dir *dir, struct smaps *s, struct err *err)
{
	scoped_fd fd = proc_openat(dir, "smaps", O_RDONLY);

	return fd < 0 ? err_code(err, fd, "open smaps") : read_pieces(fd, s, err);
}

/* @vma may be NULL. */
static int read_settled(const struct proc_dir *dir, struct proc_smap **v, struct proc_vma **vma,
			size_t *n, struct err *err)
{
	int rc = -EAGAIN;

	for (int i = 0; i < SMAPS_TRIES && rc == -EAGAIN; i++) {
		scoped_smaps s = { .wants_heads = vma };
		size_t heads;

		rc = read_once(dir, &s, err);
		if (!rc && vma)
			rc = proc_maps_parse(s.head, s.n_head, vma, &heads, err);
		if (!rc)
			give(&s, v, n);
	}
	return rc;
}

int proc_smaps_read(const struct proc_dir *dir, struct proc_smap **v, size_t *n, struct err *err)
{
	return read_settled(dir, v, NULL, n, err);
}

int proc_smaps_maps_read(const struct proc_dir *dir, struct proc_smap **v, struct proc_vma **vma,
			 size_t *n, struct err *err)
{
	return read_settled(dir, v, vma, n, err);
}
