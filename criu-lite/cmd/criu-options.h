/*
 * criu-options - what the command line of criu 4.2 may say: one row an option, one a verb.
 *
 * The parser (criu-args), the list in Documentation/criu-compat.md and the
 * refusals read the same rows, so that they cannot differ.
 */
#ifndef CMD_CRIU_OPTIONS_H
#define CMD_CRIU_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum criu_takes { TAKES_NONE, TAKES_ONE, TAKES_MAYBE };

enum criu_status {
	CRIU_DONE,
	CRIU_WHEN_NEEDED, /* parsed; refused by name where what it is about is met in the tree */
	CRIU_NO_EFFECT,	  /* accepted; @note says why nothing has to be done */
	CRIU_REFUSED,	  /* asks for another way of working: refused as soon as it is given */
};

/* Whose command line this is: scripts compare it. */
#define CRIU_VERSION "4.2"

struct criu_option {
	const char *name;
	char letter; /* 0: none */
	enum criu_takes takes;
	bool negatable; /* --no-NAME */
	/*
	 * What an argument may be. NULL: anything. "#": a number. "#KMG": one with such a letter.
	 * Else words apart by blanks, or, with a leading comma, several of them apart by commas.
	 */
	const char *words;
	enum criu_status status;
	const char *verbs; /* first letters of those it is about: "dprck"; "" all */
	const char *note;
};

struct criu_verb {
	const char *name;
	char letter;
	enum criu_status status;
	const char *note;
};

extern const struct criu_option criu_options[]; /* ends with .name NULL, ascending by name */
extern const struct criu_verb criu_verbs[];	/* the same, in the order of the manual */

/* By its whole name; NULL: no such option. */
const struct criu_option *criu_option_find(const char *name);
const struct criu_verb *criu_verb_find(const char *name);

/* Documentation/criu-compat.md: all rows as text. The caller frees. */
char *criu_compat_text(void);

#endif
