/* sd-image.c - look at a chain of checkpoints: list it, decode its images, verify it. */
#include "base/fds.h"
#include "base/mem.h"
#include "criu-lite/cmd/options.h"
#include "images/chain.h"
#include "images/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <libutil.h>

enum { OPT_JSON = 256 };

static const struct option_row rows[] = {
	{ OPT_JSON, "json", NULL, "print JSON" },
	{},
};

struct args {
	bool json;
	const char *path;
	bool has_seq;
	uint32_t seq;
};

static int take(int id, const char *arg, void *into, struct err *err)
{
	struct args *a = into;

	if (id == OPT_JSON)
		a->json = true;
	return 0;
}

static const struct command command = {
	.name = "sd-image",
	.usage = "[options] list|show|verify DIR|FILE [N]",
	.about = "Look at a chain of checkpoints: list it, decode its images, verify it.",
	.rows = rows,
	.take = take,
};

static void print_json(json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(j);
}

/* Every number, or the one that was asked for. */
static int each_checkpoint(const struct args *a, struct chain *c,
			   int (*each)(const struct args *a, struct chain *c, uint32_t seq,
				       void *arg, struct err *err),
			   void *arg, struct err *err)
{
	const uint32_t *seq;
	size_t n = chain_numbers(c, &seq);
	int result = 0;

	if (!n)
		return err_set(err, -ENOENT, "%s: there is no checkpoint", a->path);
	if (a->has_seq && !chain_has(c, a->seq))
		return err_set(err, -ENOENT, "%s: there is no checkpoint %u", a->path, a->seq);
	for (size_t i = 0; i < n; i++) {
		int rc = a->has_seq && seq[i] != a->seq ? 0 : each(a, c, seq[i], arg, err);

		if (rc < 0)
			return rc;
		result = rc ? rc : result;
	}
	return result;
}

/* --- list ----------------------------------------------------------------------------------- */

struct listing {
	json_t *json; /* NULL: print */
	bool printed; /* the heading */
};

static void human(char text[8], uint64_t n)
{
	humanize_number(text, 6, n > INT64_MAX ? INT64_MAX : n, "", HN_AUTOSCALE,
			HN_NOSPACE | HN_DECIMAL);
}

static void list_row(const SdCheckpoint *c, uint32_t seq)
{
	time_t when = c->time_sec;
	char date[32] = "?", bytes[8], parent[16] = "-";
	struct tm tm;

	if (localtime_r(&when, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	if (c->has_parent_seq)
		snprintf(parent, sizeof(parent), "%u", c->parent_seq);
	human(bytes, c->bytes_written);
	printf("%4u %6s  %-19s %5u %7u %10llu %10llu %6s %7.1fms  %.16s%s\n", seq, parent, date,
	       c->tasks, c->threads, (unsigned long long)c->pages_written,
	       (unsigned long long)c->pages_parent, bytes, c->frozen_us / 1000.0, c->tracker,
	       c->full_reason ? " (full)" : "");
}

static json_t *list_json(SdCheckpoint *c)
{
	json_t *j = text_json(&c->base);

	/* The sums are for verify, and many. */
	json_object_del(j, "files");
	json_object_del(j, "pages");
	return j;
}

static void list_heading(struct listing *l)
{
	if (!l->printed)
		printf("%4s %6s  %-19s %5s %7s %10s %10s %6s %9s  %s\n", "N", "PARENT", "TIME",
		       "TASKS", "THREADS", "NEW", "IN PARENT", "BYTES", "FROZEN", "TRACKER");
	l->printed = true;
}

static int list_other(struct listing *l, uint32_t seq, int rc, const struct err *err)
{
	const char *what = rc == -ENOENT ? "written by another program" : err->text;

	if (l->json)
		json_array_append_new(l->json, json_pack("{s:i, s:s}", "seq", seq,
							 rc == -ENOENT ? "note" : "error", what));
	else
		printf("%4u %s\n", seq, what);
	return rc == -ENOENT ? 0 : 1;
}

static int list_one(const struct args *a, struct chain *c, uint32_t seq, void *arg, struct err *err)
{
	struct listing *l = arg;
	SdCheckpoint *info;
	scoped_fd fd = chain_checkpoint(chain_dirfd(c), seq, err);
	int rc = fd < 0 ? fd : chain_info(&info, fd, err);

	if (!l->json)
		list_heading(l);
	if (rc < 0)
		return list_other(l, seq, rc, err);
	if (l->json)
		json_array_append_new(l->json, list_json(info));
	else
		list_row(info, seq);
	sd_checkpoint__free_unpacked(info, NULL);
	return 0;
}

static int command_list(const struct args *a, struct chain *c, struct err *err)
{
	struct listing l = { .json = a->json ? json_array() : NULL };
	int rc = each_checkpoint(a, c, list_one, &l, err);

	if (l.json && rc >= 0)
		print_json(l.json);
	else
		json_decref(l.json);
	return rc;
}

/* --- show ----------------------------------------------------------------------------------- */

static int show_file(const struct args *a, int dirfd, const char *name, json_t *list,
		     struct err *err)
{
	json_t *j;
	int rc;

	if (!a->json)
		return text_image_print(stdout, dirfd, name, err);
	rc = text_image_json(&j, dirfd, name, err);
	if (rc < 0)
		return rc;
	if (list)
		json_array_append_new(list, j);
	else
		print_json(j);
	return 0;
}

/* A file that does not decode is said and passed over: the others may still be of use. */
static int show_directory(const struct args *a, int dirfd, json_t *list, struct err *err)
{
	char **names;
	size_t n;
	int rc = img_names(&names, &n, dirfd, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		if (img_family_of(names[i]) && show_file(a, dirfd, names[i], list, err) < 0) {
			fprintf(stderr, "%s: %s\n", command.name, err->text);
			rc = 1;
		}
	}
	img_names_release(names, n);
	return rc;
}

static int command_show(const struct args *a, struct chain *c, struct err *err)
{
	uint32_t seq = a->has_seq ? a->seq : chain_newest(c);
	json_t *list = NULL;
	scoped_fd fd = -1;
	int rc;

	if (!chain_has(c, seq))
		return err_set(err, -ENOENT, "%s: there is no checkpoint%s", a->path,
			       a->has_seq ? " of this number" : "");
	fd = chain_checkpoint(chain_dirfd(c), seq, err);
	if (fd < 0)
		return fd;
	if (a->json)
		list = json_array();
	rc = show_directory(a, fd, list, err);
	if (list && rc >= 0)
		print_json(list);
	else
		json_decref(list);
	return rc;
}

/* FILE instead of DIR: that image alone. */
static int show_path(const struct args *a, struct err *err)
{
	const char *slash = strrchr(a->path, '/');
	const char *name = slash ? slash + 1 : a->path;
	scoped char *dir = slash ? strndup(a->path, slash - a->path + 1) : xstrdup(".");
	scoped_fd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(err, "%s", dir);
	return show_file(a, fd, name, NULL, err);
}

/* --- verify --------------------------------------------------------------------------------- */

struct verifying {
	uint32_t seq;
	json_t *faults; /* NULL: print */
};

static void verify_bad(void *arg, const char *what)
{
	struct verifying *v = arg;

	if (v->faults)
		json_array_append_new(v->faults, json_pack("{s:I, s:s}", "checkpoint",
							   (json_int_t)v->seq, "fault", what));
	else
		printf("checkpoint %u: %s\n", v->seq, what);
}

static int verify_one(const struct args *a, struct chain *c, uint32_t seq, void *arg,
		      struct err *err)
{
	struct verifying *v = arg;
	int rc;

	v->seq = seq;
	rc = chain_verify(chain_dirfd(c), seq, verify_bad, v, err);
	if (!rc && !v->faults)
		printf("checkpoint %u: all is well\n", seq);
	return rc;
}

/* Beside the checkpoints. Damage costs no more than a full dump, but it is damage. */
static int verify_armed(struct chain *c, struct verifying *v)
{
	struct err err = {};
	SdArmed *armed;
	int rc = chain_armed_read(&armed, chain_dirfd(c), &err);

	if (!rc)
		sd_armed__free_unpacked(armed, NULL);
	if (!rc || rc == -ENOENT)
		return 0;
	if (v->faults)
		json_array_append_new(v->faults, json_pack("{s:s}", "fault", err.text));
	else
		printf("%s\n", err.text);
	return 1;
}

static int command_verify(const struct args *a, struct chain *c, struct err *err)
{
	struct verifying v = { .faults = a->json ? json_array() : NULL };
	int rc = each_checkpoint(a, c, verify_one, &v, err);

	if (!a->has_seq && verify_armed(c, &v) && !rc)
		rc = 1;
	if (v.faults && rc >= 0)
		print_json(json_pack("{s:b, s:o}", "ok", !rc, "faults", v.faults));
	else
		json_decref(v.faults);
	return rc;
}

/* --- the command line ------------------------------------------------------------------------ */

static const struct {
	const char *name;
	int (*run)(const struct args *a, struct chain *c, struct err *err);
} commands[] = {
	{ "list", command_list },
	{ "show", command_show },
	{ "verify", command_verify },
};

static int run(const struct args *a, size_t which, struct err *err)
{
	struct chain *c = NULL;
	struct stat st;
	int rc;

	if (commands[which].run == command_show && !lstat(a->path, &st) && !S_ISDIR(st.st_mode))
		return show_path(a, err);
	rc = chain_open(&c, a->path, CHAIN_LOOK, err);
	if (rc < 0)
		return rc;
	rc = commands[which].run(a, c, err);
	chain_release(&c);
	return rc;
}

static int parse_operands(struct args *a, size_t *which, int argc, char **argv, int rest)
{
	struct err err = {};
	long long n;

	if (argc - rest < 2 || argc - rest > 3)
		return options_usage(&command, "a command and a directory are needed");
	for (*which = 0; *which < ARRAY_SIZE(commands); ++*which)
		if (!strcmp(argv[rest], commands[*which].name))
			break;
	if (*which == ARRAY_SIZE(commands))
		return options_usage(&command, "'%s' is none of list, show, verify", argv[rest]);
	a->path = argv[rest + 1];
	if (argc - rest == 2)
		return -1;
	if (option_number(argv[rest + 2], 0, INT32_MAX, &n, "N", &err) < 0)
		return options_usage(&command, "%s", err.text);
	a->has_seq = true;
	a->seq = n;
	return -1;
}

int main(int argc, char **argv)
{
	struct args a = {};
	struct err err = {};
	size_t which = 0;
	int rest, rc;

	fds_make_room();
	rc = options_parse(&command, argc, argv, &a, &rest);
	if (rc < 0)
		rc = parse_operands(&a, &which, argc, argv, rest);
	if (rc >= 0)
		return rc;
	rc = run(&a, which, &err);
	if (rc < 0)
		return command_failed(&command, rc, &err);
	if (fflush(stdout) || ferror(stdout)) {
		err_errno(&err, "standard output");
		return command_failed(&command, -EIO, &err);
	}
	return rc ? EXIT_FAILED : EXIT_DONE;
}
