/*
 * err - one message, said once.
 *
 * A function that can fail returns 0 or a negative errno and fills @err with
 * what failed; each caller that knows more puts it in front ("task 99: fd 7:
 * ..."); only the command prints the result. @err may be NULL when nobody
 * wants the text. A struct err that is all zeros is empty and ready to use.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* What is refused by name (exit code 3), as against what failed (exit code 1). */
#define ERR_REFUSED (-95) /* -EOPNOTSUPP */

struct err {
	char text[4096];
};

/* Say what went wrong; returns @rc, which must be negative. */
int err_set(struct err *err, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same for a call that just set errno: appends its text, returns -errno. */
int err_errno(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for a negative errno in hand (a plan row's result, say). */
int err_code(struct err *err, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * Put more in front of what is said already: "more: said". Returns @rc. What is in front
 * already is not said again: where a loop over tasks calls what names its task itself.
 */
int err_add(struct err *err, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * refusals - everything that cannot be saved, gathered before anything is
 * written so that it is all said at once. Owns its lines; release frees them.
 */
struct refusals {
	char **line;
	size_t n, cap;
	size_t n_for_now;
};

void refuse(struct refusals *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What will be over in a moment by itself. */
void refuse_for_now(struct refusals *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Is that all there is? False when nothing was refused. */
bool refusals_pass(const struct refusals *r);
/* 0 when nothing was refused, else ERR_REFUSED and all lines joined by "; " in @err. */
int refusals_result(const struct refusals *r, struct err *err);
void refusals_release(struct refusals *r);

#endif
