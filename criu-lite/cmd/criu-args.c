/* criu-args.c - from words to the rows of the table. */
#include "criu-lite/cmd/criu-args.h"
#include "base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 128, NEGATED = 1 << 10, DEFAULT_VERBOSITY = 2, MOST_VERBOSE = 4 };
#define MAX_CONFIG (1 << 20)

struct criu_given {
	bool on;
	const char **arg;
	size_t n, cap;
};

static size_t count_rows(void)
{
	size_t n = 0;

	while (criu_options[n].name)
		n++;
	assert(n <= MAX_ROWS);
	return n;
}

static struct criu_given *given(const struct criu_args *a, const char *name)
{
	const struct criu_option *o = criu_option_find(name);

	assert(o);
	return &a->given[o - criu_options];
}

bool criu_on(const struct criu_args *a, const char *name)
{
	return given(a, name)->on;
}

const char *criu_arg(const struct criu_args *a, const char *name)
{
	const struct criu_given *g = given(a, name);

	return g->n ? g->arg[g->n - 1] : NULL;
}

size_t criu_all(const struct criu_args *a, const char *name, const char *const **args)
{
	const struct criu_given *g = given(a, name);

	*args = g->arg;
	return g->n;
}

/* --- what an argument may be ------------------------------------------------------------- */

static bool parse_number(const char *text, const char *suffixes, long long *out)
{
	const char *at;
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	if (end == text || errno || *out < 0 || !isdigit((unsigned char)*text))
		return false;
	if (!*end)
		return true;
	at = strchr(suffixes, toupper((unsigned char)*end));
	if (!at || end[1] || *out > INT64_MAX >> 30)
		return false;
	*out <<= 10 * (at - suffixes + 1);
	return true;
}

long long criu_number(const struct criu_args *a, const char *name, long long otherwise)
{
	const char *text = criu_arg(a, name);
	const struct criu_option *o = criu_option_find(name);
	long long n = otherwise;

	if (text)
		parse_number(text, o->words + 1, &n);
	return n;
}

static bool is_word(const char *words, const char *text, size_t len)
{
	for (const char *w = words; *w;) {
		size_t n = strcspn(w, " ");

		if (n == len && !memcmp(w, text, len))
			return true;
		w += n + (w[n] == ' ');
	}
	return false;
}

static bool are_words(const char *words, const char *text)
{
	for (;;) {
		size_t n = strcspn(text, ",");

		if (!n || !is_word(words, text, n))
			return false;
		if (!text[n])
			return true;
		text += n + 1;
	}
}

static bool fits(const struct criu_option *o, const char *arg)
{
	long long n;

	if (!o->words || !arg)
		return true;
	if (o->words[0] == '#')
		return parse_number(arg, o->words + 1, &n) &&
		       (o->letter != 't' || (n && n <= 1 << 22));
	if (o->words[0] == ',')
		return are_words(o->words + 1, arg);
	return is_word(o->words, arg, strlen(arg));
}

/* -v, -vvv, -v4: the letters count from the default, a number is the level itself. */
static int take_verbosity(struct criu_args *a, const char *arg, struct err *err)
{
	long long n = 0;

	if (!arg || strspn(arg, "v") == strlen(arg))
		a->verbosity += 1 + (arg ? (int)strlen(arg) : 0);
	else if (parse_number(arg, "", &n))
		a->verbosity = n > MOST_VERBOSE ? MOST_VERBOSE : (int)n;
	else
		return err_set(err, -EINVAL, "--verbosity: '%s' is no number", arg);
	if (a->verbosity > MOST_VERBOSE)
		a->verbosity = MOST_VERBOSE;
	return 0;
}

static int take(struct criu_args *a, size_t row, bool on, const char *arg, struct err *err)
{
	const struct criu_option *o = &criu_options[row];
	struct criu_given *g = &a->given[row];

	g->on = on;
	if (o->letter == 'v')
		return take_verbosity(a, arg, err);
	if (!fits(o, arg))
		return err_set(err, -EINVAL, "--%s: '%s' is not valid here%s%s", o->name, arg,
			       o->words[0] == '#' ? ", a number is" : ": ",
			       o->words[0] == '#' ? "" : o->words + (o->words[0] == ','));
	if (arg)
		ARRAY_PUSH(g->arg, g->n, g->cap, arg);
	return 0;
}

/* --- the words ------------------------------------------------------------------------------ */

struct grammar {
	struct option longs[2 * MAX_ROWS + 1];
	char letters[3 * MAX_ROWS + 2];
	char no[MAX_ROWS][40];
};

static const int has_arg[] = {
	[TAKES_NONE] = no_argument,
	[TAKES_ONE] = required_argument,
	[TAKES_MAYBE] = optional_argument,
};

/* A leading colon: what is wrong is said by us. */
static void grammar_init(struct grammar *g)
{
	size_t n = 0, rows = count_rows();

	*g = (struct grammar) { .letters = ":" };
	for (size_t i = 0; i < rows; i++) {
		const struct criu_option *o = &criu_options[i];
		size_t l = strlen(g->letters);

		g->longs[n++] = (struct option) { o->name, has_arg[o->takes], NULL, 256 + (int)i };
		if (o->letter)
			snprintf(g->letters + l, 4, "%c%s", o->letter,
				 o->takes == TAKES_ONE	   ? ":"
				 : o->takes == TAKES_MAYBE ? "::"
							   : "");
		if (!o->negatable)
			continue;
		snprintf(g->no[i], sizeof(g->no[i]), "no-%s", o->name);
		g->longs[n++] =
			(struct option) { g->no[i], no_argument, NULL, 256 + (NEGATED | (int)i) };
	}
}

static int row_of_letter(int letter)
{
	for (size_t i = 0; criu_options[i].name; i++)
		if (criu_options[i].letter == letter)
			return (int)i;
	return -1;
}

static int wrong(int argc, char **argv, int what, struct err *err)
{
	const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";

	return what == ':' ? err_set(err, -EINVAL, "option '%s' needs an argument", word)
			   : err_set(err, -EINVAL,
				     "there is no option '%s', or it stands for several", word);
}

/*
 * One list of words, argv[0] being a name. Both dashes may be one, as criu's
 * users write: getopt_long_only(3) tries letters where no name begins so.
 * @argv is put in order: the operands are last, from *@rest.
 */
static int parse_words(struct criu_args *a, int argc, char **argv, int *rest, struct err *err)
{
	struct grammar g;
	int id, rc = 0;

	grammar_init(&g);
	optind = 0;
	opterr = 0;
	while (!rc && (id = getopt_long_only(argc, argv, g.letters, g.longs, NULL)) != -1) {
		if (id == '?' || id == ':')
			return wrong(argc, argv, id, err);
		if (id < 256)
			rc = take(a, (size_t)row_of_letter(id), true, optarg, err);
		else
			rc = take(a, (size_t)((id - 256) & ~NEGATED), !((id - 256) & NEGATED),
				  optarg, err);
	}
	*rest = optind;
	return rc;
}

/* --- configuration files ------------------------------------------------------------------- */

struct words {
	char **v;
	size_t n, cap;
};

static void keep_text(struct criu_args *a, char *text)
{
	ARRAY_PUSH(a->texts, a->n_texts, a->cap_texts, text);
}

/* The next word of a line, perhaps in quotes; NULL: none. *@at goes on behind it. */
static char *next_word(char **at)
{
	char *p = *at + strspn(*at, " \t"), *start = p;

	if (!*p || *p == '#')
		return NULL;
	if (*p == '"' || *p == '\'') {
		char *end = strchr(p + 1, *p);

		if (end) {
			*end = 0;
			*at = end + 1;
			return p + 1;
		}
	}
	p += strcspn(p, " \t");
	*at = p + (*p != 0);
	*p = 0;
	return start;
}

/* `name`, `name value` or `name=value` becomes --name or --name=value. */
static int config_line(struct criu_args *a, struct words *w, char *line, const char *path,
		       struct err *err)
{
	char *name = next_word(&line), *value, *word;

	if (!name)
		return 0;
	value = next_word(&line);
	if (value && next_word(&line))
		return err_set(err, -EINVAL, "%s: more than one value for '%s'", path, name);
	word = value ? xasprintf("--%s=%s", name, value) : xasprintf("--%s", name);
	keep_text(a, word);
	ARRAY_PUSH(w->v, w->n, w->cap, word);
	return 0;
}

/* All of it, with a 0 behind; -EINVAL: it is too long, or no text. */
static int slurp(FILE *f, char **out)
{
	char *text = xcalloc(1, MAX_CONFIG + 1);
	size_t n = fread(text, 1, MAX_CONFIG + 1, f);

	if (n > MAX_CONFIG || ferror(f) || memchr(text, 0, n)) {
		free(text);
		return -EINVAL;
	}
	*out = text;
	return 0;
}

static int read_text(const char *path, bool must, char **out, struct err *err)
{
	FILE *f = fopen(path, "re");
	int rc;

	*out = NULL;
	if (!f)
		return !must && errno == ENOENT ? 0 : err_errno(err, "%s", path);
	rc = slurp(f, out);
	fclose(f);
	return rc < 0 ? err_set(err, rc, "is no configuration file") : 0;
}

static int read_config(struct criu_args *a, const char *path, bool must, struct err *err)
{
	struct words w = {};
	char *text, *line;
	int rest = 0, rc = read_text(path, must, &text, err);

	if (rc < 0 || !text)
		return rc;
	keep_text(a, text);
	ARRAY_PUSH(w.v, w.n, w.cap, (char *)path);
	while (!rc && (line = strsep(&text, "\n")))
		rc = config_line(a, &w, line, path, err);
	ARRAY_PUSH(w.v, w.n, w.cap, NULL);
	if (!rc)
		rc = parse_words(a, (int)w.n - 1, w.v, &rest, err);
	free(w.v);
	return rc < 0 ? err_add(err, rc, "%s", path) : 0;
}

static int read_configs(struct criu_args *a, const struct criu_config *c, const char *own,
			bool no_default, struct err *err)
{
	int rc = 0;

	if (!no_default && c->system)
		rc = read_config(a, c->system, false, err);
	if (!rc && !no_default && c->user)
		rc = read_config(a, c->user, false, err);
	return rc || !own ? rc : read_config(a, own, true, err);
}

/* --- all of it -------------------------------------------------------------------------------- */

static void forget(struct criu_args *a)
{
	for (size_t i = 0; a->given && i < count_rows(); i++)
		free(a->given[i].arg);
	free(a->given);
	a->given = xcalloc(count_rows(), sizeof(*a->given));
	a->verbosity = DEFAULT_VERBOSITY;
}

static int take_operands(struct criu_args *a, int n, char **word, struct err *err)
{
	int most;

	if (!n)
		return 0;
	a->verb = criu_verb_find(word[0]);
	if (!a->verb)
		return err_set(err, -EINVAL, "there is no verb '%s'", word[0]);
	most = !strcmp(a->verb->name, "cpuinfo") || !strcmp(a->verb->name, "swrk") ? 2 : 1;
	if (!strcmp(a->verb->name, "exec"))
		most = n;
	if (n > most)
		return err_set(err, -EINVAL, "%s: '%s' is one word too many", a->verb->name,
			       word[most]);
	a->sub = n > 1 ? word[1] : NULL;
	return 0;
}

/* The command line is read twice: for the names of the files, and, after these, for good. */
int criu_args_parse(struct criu_args *a, int argc, char **argv, const struct criu_config *config,
		    struct err *err)
{
	const char *own;
	bool no_default;
	int rest, rc;

	forget(a);
	rc = parse_words(a, argc, argv, &rest, err);
	if (rc < 0)
		return rc;
	own = criu_arg(a, "config");
	no_default = criu_on(a, "no-default-config");
	forget(a);
	rc = read_configs(a, config, own, no_default, err);
	if (!rc)
		rc = parse_words(a, argc, argv, &rest, err);
	return rc < 0 ? rc : take_operands(a, argc - rest, argv + rest, err);
}

void criu_args_release(struct criu_args *a)
{
	for (size_t i = 0; a->given && i < count_rows(); i++)
		free(a->given[i].arg);
	free(a->given);
	for (size_t i = 0; i < a->n_texts; i++)
		free(a->texts[i]);
	free(a->texts);
	*a = (struct criu_args) {};
}
