/*
 * lie.c - an image that says something else: well-formed, and not true.
 *
 *	lie IMAGE ENTRY FIELD=VALUE | FIELD*COUNT | '*'COUNT ...
 *
 * ENTRY is the number of an entry of the file, from 0 on, or FIELD=VALUE that it has. A
 * FIELD is named as in proto/, parts of messages and numbers of elements by dots:
 * reg.name, vmas.0.start. FIELD*COUNT repeats the last element of an array until there are
 * COUNT, '*'COUNT the entry itself. What is not there to be changed is an error.
 */
#include "base/mem.h"
#include "images/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

static struct entry {
	ProtobufCMessage *m;
	void *payload;
	size_t len;
} entry[MOST];
static size_t n_entries;

static void __attribute__((noreturn)) give_up(const char *what, const char *more)
{
	fprintf(stderr, "lie: %s: %s\n", what, more);
	exit(1);
}

static void read_all(int dirfd, const char *name)
{
	scoped_reader r = NULL;
	struct err err = {};
	int rc = img_open(&r, &err, dirfd, "%s", name);

	while (!rc && n_entries < MOST) {
		struct entry *e = &entry[n_entries];

		rc = img_next(r, &e->m, &err);
		if (rc <= 0)
			break;
		e->len = img_payload_left(r);
		e->payload = xmalloc(e->len + 1);
		rc = img_payload(r, e->payload, e->len, &err);
		n_entries++;
	}
	if (rc < 0)
		give_up(name, err.text);
}

static void write_all(int dirfd, const char *name, size_t repeat, size_t times)
{
	scoped_writer w = NULL;
	struct err err = {};
	int rc = unlinkat(dirfd, name, 0) < 0 ? err_errno(&err, "unlink") : 0;

	if (!rc)
		rc = img_create(&w, &err, dirfd, "%s", name);
	for (size_t i = 0; i < n_entries; i++)
		for (size_t k = 0; k < (i == repeat ? times : 1) && !rc; k++) {
			rc = img_append(w, entry[i].m, &err);
			if (!rc)
				rc = img_append_raw(w, entry[i].payload, entry[i].len, &err);
		}
	if (!rc)
		rc = img_close(&w, &err);
	if (rc < 0)
		give_up(name, err.text);
}

/* --- one field ------------------------------------------------------------------------ */

/* Where a value lies. */
struct place {
	const ProtobufCFieldDescriptor *field;
	char *message;
	void *at;
	bool element; /* of an array */
};

static bool find(ProtobufCMessage *m, const char *path, struct place *p)
{
	scoped char *copy = xstrdup(path);
	char *rest = copy, *word;

	*p = (struct place) {};
	while ((word = strsep(&rest, "."))) {
		if (p->field && p->field->label == PROTOBUF_C_LABEL_REPEATED && !p->element) {
			size_t i = strtoul(word, NULL, 10);

			if (i >= *(size_t *)(p->message + p->field->quantifier_offset))
				return false;
			p->at = *(char **)p->at + i * text_value_size(p->field);
			p->element = true;
			continue;
		}
		if (p->field)
			m = p->field->type == PROTOBUF_C_TYPE_MESSAGE ? *(ProtobufCMessage **)p->at
								      : NULL;
		if (!m)
			return false;
		*p = (struct place) {
			.field = protobuf_c_message_descriptor_get_field_by_name(m->descriptor,
										 word),
			.message = (char *)m,
		};
		if (!p->field)
			return false;
		p->at = p->message + p->field->offset;
	}
	return true;
}

static bool is(const struct place *p, const char *value)
{
	if (p->field->type == PROTOBUF_C_TYPE_STRING)
		return *(char **)p->at && !strcmp(*(char **)p->at, value);
	if (text_value_size(p->field) == 4)
		return *(uint32_t *)p->at == strtoul(value, NULL, 0);
	return *(uint64_t *)p->at == strtoull(value, NULL, 0);
}

static void set(const struct place *p, const char *value)
{
	if (p->field->label == PROTOBUF_C_LABEL_OPTIONAL && p->field->quantifier_offset)
		*(protobuf_c_boolean *)(p->message + p->field->quantifier_offset) = 1;
	if (p->field->type == PROTOBUF_C_TYPE_STRING)
		*(char **)p->at = xstrdup(value);
	else if (text_value_size(p->field) == 4)
		*(uint32_t *)p->at = (uint32_t)strtoul(value, NULL, 0);
	else
		*(uint64_t *)p->at = strtoull(value, NULL, 0);
}

static void grow(const struct place *p, size_t count)
{
	size_t *n = (size_t *)(p->message + p->field->quantifier_offset),
	       each = text_value_size(p->field);
	char **array = p->at;

	if (p->field->label != PROTOBUF_C_LABEL_REPEATED || !*n)
		give_up(p->field->name, "is no array");
	*array = xreallocarray(*array, count, each);
	for (; *n < count; ++*n)
		memcpy(*array + *n * each, *array + (*n - 1) * each, each);
}

/* --- the command ----------------------------------------------------------------------- */

static size_t choose(const char *which)
{
	scoped char *path = xstrdup(which);
	char *value = strchr(path, '=');
	struct place p;

	if (!value)
		return strtoul(which, NULL, 10);
	*value++ = 0;
	for (size_t i = 0; i < n_entries; i++)
		if (find(entry[i].m, path, &p) && is(&p, value))
			return i;
	give_up(which, "no such entry");
}

static void edit(ProtobufCMessage *m, char *what)
{
	char *sign = strpbrk(what, "=*"), how = sign ? *sign : 0;
	struct place p;

	if (!sign)
		give_up(what, "no = and no *");
	*sign++ = 0;
	if (!find(m, what, &p))
		give_up(what, "no such field");
	if (how == '=')
		set(&p, sign);
	else
		grow(&p, strtoul(sign, NULL, 10));
}

int main(int argc, char **argv)
{
	char *slash = argc > 3 ? strrchr(argv[1], '/') : NULL;
	size_t which, times = 1;
	int dirfd;

	if (!slash)
		return 2;
	*slash++ = 0;
	dirfd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		give_up(argv[1], strerror(errno));
	read_all(dirfd, slash);
	which = choose(argv[2]);
	if (which >= n_entries)
		give_up(argv[2], "there are less entries");
	for (int i = 3; i < argc; i++) {
		if (argv[i][0] == '*')
			times = strtoul(argv[i] + 1, NULL, 10);
		else
			edit(entry[which].m, argv[i]);
	}
	write_all(dirfd, slash, which, times);
	return 0;
}
