/* err.c - building the one message that a command prints when it fails. */
#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int err_set(struct err *err, int rc, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return rc;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return rc;
}

static int set_with_code(struct err *err, int rc, const char *fmt, va_list ap)
{
	size_t n;

	if (!err)
		return rc;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	n = strlen(err->text);
	snprintf(err->text + n, sizeof(err->text) - n, ": %s", strerror(-rc));
	return rc;
}

int err_errno(struct err *err, const char *fmt, ...)
{
	int rc = -errno;
	va_list ap;

	va_start(ap, fmt);
	rc = set_with_code(err, rc, fmt, ap);
	va_end(ap);
	return rc;
}

int err_code(struct err *err, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	rc = set_with_code(err, rc, fmt, ap);
	va_end(ap);
	return rc;
}

int err_add(struct err *err, int rc, const char *fmt, ...)
{
	char said[sizeof(err->text)];
	va_list ap;
	size_t n;

	if (!err)
		return rc;
	memcpy(said, err->text, sizeof(said));
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	n = strlen(err->text);
	if (!strncmp(said, err->text, n) && said[n] == ':')
		n = 0;
	snprintf(err->text + n, sizeof(err->text) - n, "%s%s", n ? ": " : "", said);
	return rc;
}

/* 1: it was not said before. */
static size_t add_line(struct refusals *r, const char *fmt, va_list ap)
{
	char *line = NULL;

	if (vasprintf(&line, fmt, ap) < 0)
		abort();
	for (size_t i = 0; i < r->n; i++) {
		if (!strcmp(r->line[i], line)) {
			free(line);
			return 0;
		}
	}
	ARRAY_PUSH(r->line, r->n, r->cap, line);
	return 1;
}

void refuse(struct refusals *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_line(r, fmt, ap);
	va_end(ap);
}

void refuse_for_now(struct refusals *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	r->n_for_now += add_line(r, fmt, ap);
	va_end(ap);
}

bool refusals_pass(const struct refusals *r)
{
	return r->n && r->n == r->n_for_now;
}

int refusals_result(const struct refusals *r, struct err *err)
{
	size_t at = 0;

	if (!r->n)
		return 0;
	if (!err)
		return ERR_REFUSED;
	for (size_t i = 0; i < r->n && at < sizeof(err->text); i++)
		at += snprintf(err->text + at, sizeof(err->text) - at, "%s%s", i ? "; " : "",
			       r->line[i]);
	if (at >= sizeof(err->text))
		snprintf(err->text + sizeof(err->text) - 40, 40, " ... (%zu refusals in all)",
			 r->n);
	return ERR_REFUSED;
}

void refusals_release(struct refusals *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->line[i]);
	free(r->line);
	*r = (struct refusals) {};
}
