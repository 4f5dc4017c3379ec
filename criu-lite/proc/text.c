/* text.c - taking kernel text apart: blanks, words, numbers with strict ranges. */
#include "criu-lite/proc/text.h"

#include <errno.h>
#include <string.h>

bool text_line(struct text *t, struct text *line)
{
	const char *nl;

	if (t->p == t->end)
		return false;
	nl = memchr(t->p, '\n', text_len(t));
	line->p = t->p;
	line->end = nl ? nl : t->end;
	t->p = nl ? nl + 1 : t->end;
	return true;
}

bool text_blanks(struct text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\t'))
		t->p++;
	return true;
}

bool text_char(struct text *t, char c)
{
	if (t->p == t->end || *t->p != c)
		return false;
	t->p++;
	return true;
}

bool text_word(struct text *t, const char *word)
{
	size_t n = strlen(word);

	if (text_len(t) < n || memcmp(t->p, word, n))
		return false;
	t->p += n;
	return true;
}

bool text_done(struct text *t)
{
	text_blanks(t);
	return t->p == t->end;
}

/* The digit's value, or something larger than any base. */
static inline unsigned int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned int)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned int)(c - 'A') + 10;
	return 99;
}

static inline bool take_number(struct text *t, unsigned int base, uint64_t *out)
{
	const char *first = t->p;
	uint64_t v = 0;

	for (; t->p < t->end; t->p++) {
		unsigned int d = digit_of(*t->p);

		if (d >= base)
			break;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)d, &v))
			return false;
	}
	*out = v;
	return t->p > first;
}

bool text_dec(struct text *t, uint64_t *out)
{
	return take_number(t, 10, out);
}

bool text_hex(struct text *t, uint64_t *out)
{
	return take_number(t, 16, out);
}

bool text_oct(struct text *t, uint64_t *out)
{
	return take_number(t, 8, out);
}

bool text_int(struct text *t, int64_t *out)
{
	bool minus = text_char(t, '-');
	uint64_t v;

	if (!take_number(t, 10, &v) || v > (uint64_t)INT64_MAX + minus)
		return false;
	*out = minus ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

static bool narrow(bool ok, uint64_t v, uint32_t *out)
{
	if (!ok || v > UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}

bool text_u32(struct text *t, uint32_t *out)
{
	uint64_t v = 0;
	bool ok = text_dec(t, &v);

	return narrow(ok, v, out);
}

bool text_hex32(struct text *t, uint32_t *out)
{
	uint64_t v = 0;
	bool ok = text_hex(t, &v);

	return narrow(ok, v, out);
}

bool text_oct32(struct text *t, uint32_t *out)
{
	uint64_t v = 0;
	bool ok = text_oct(t, &v);

	return narrow(ok, v, out);
}

bool text_i32(struct text *t, int32_t *out)
{
	int64_t v;

	if (!text_int(t, &v) || v < INT32_MIN || v > INT32_MAX)
		return false;
	*out = (int32_t)v;
	return true;
}

/* Take what follows a backslash. */
static bool take_escape(struct text *t, char *out)
{
	unsigned int v = 0;

	if (text_char(t, 'n')) {
		*out = '\n';
		return true;
	}
	if (text_char(t, '\\')) {
		*out = '\\';
		return true;
	}
	for (int i = 0; i < 3; i++, t->p++) {
		if (t->p == t->end || *t->p < '0' || *t->p > '7')
			return false;
		v = v * 8 + (unsigned int)(*t->p - '0');
	}
	*out = (char)v;
	return v && v < 256;
}

bool text_unescape(struct text *t, char *out, size_t size)
{
	size_t n = 0;

	while (t->p < t->end) {
		if (n + 1 >= size)
			return false;
		if (text_char(t, '\\')) {
			if (!take_escape(t, &out[n]))
				return false;
		} else {
			out[n] = *t->p++;
		}
		n++;
	}
	out[n] = 0;
	return true;
}

int text_bad(struct err *err, const char *file, const struct text *line)
{
	char shown[81];
	size_t n = text_len(line);

	if (n > sizeof(shown) - 1)
		n = sizeof(shown) - 1;
	for (size_t i = 0; i < n; i++)
		shown[i] = line->p[i] >= ' ' && line->p[i] <= '~' ? line->p[i] : '?';
	shown[n] = 0;
	return err_set(err, -EINVAL, "%s: cannot understand \"%s\"", file, shown);
}
