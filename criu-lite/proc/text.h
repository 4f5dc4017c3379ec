/*
 * text - taking kernel text apart, inside this room only.
 *
 * A struct text is what is left to read of a buffer that need not end in NUL.
 * The text_ functions take something from its front and return true, or return
 * false and leave it unusable. Numbers are strict: at least one digit, no sign
 * but where it says so, no overflow.
 */
#ifndef PROC_TEXT_H
#define PROC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "criu-lite/proc/proc.h"

struct text {
	const char *p, *end;
};

static inline struct text text_of(const char *buf, size_t len)
{
	return (struct text) { buf, buf + len };
}

static inline size_t text_len(const struct text *t)
{
	return (size_t)(t->end - t->p);
}

/* Take the next line, without its newline, into @line. False at the end of the buffer. */
bool text_line(struct text *t, struct text *line);

/* Pass over blanks and tabs; always true, so that it can stand in a chain of takes. */
bool text_blanks(struct text *t);
bool text_char(struct text *t, char c);
bool text_word(struct text *t, const char *word);
/* Nothing but blanks is left. */
bool text_done(struct text *t);

bool text_dec(struct text *t, uint64_t *out);
bool text_hex(struct text *t, uint64_t *out); /* no 0x */
bool text_oct(struct text *t, uint64_t *out);
bool text_int(struct text *t, int64_t *out); /* decimal, may have a minus */

/* The same with a smaller range. */
bool text_u32(struct text *t, uint32_t *out);
bool text_i32(struct text *t, int32_t *out);
bool text_hex32(struct text *t, uint32_t *out);
bool text_oct32(struct text *t, uint32_t *out);

/* Copy the rest of @t to @out as a string, undoing \n, \\ and \ooo; false when it does not fit. */
bool text_unescape(struct text *t, char *out, size_t size);

/* This line of @file is not what the kernel writes: says so with the line's beginning. */
int text_bad(struct err *err, const char *file, const struct text *line);

#endif
