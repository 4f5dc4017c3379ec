/* chain-verify.c - is everything still there as it was written? */
#include "images/chain-internal.h"
#include "images/img-internal.h"
#include "base/mem.h"
#include "base/parallel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int check_file(int dirfd, const SdFileSum *s, struct err *err)
{
	scoped_fd fd = -1;
	uint64_t size, hash;
	int rc;

	if (!*s->name || strchr(s->name, '/'))
		return err_set(err, -EBADMSG, "criu-lite.img: %s is not a file name", s->name);
	fd = img_open_file(dirfd, s->name, &size, err);
	if (fd < 0)
		return fd;
	if (size != s->size)
		return err_set(err, -EBADMSG, "%s: has %llu bytes, was written with %llu", s->name,
			       (unsigned long long)size, (unsigned long long)s->size);
	rc = sum_file(fd, s->name, &size, &hash, err);
	if (rc < 0)
		return rc;
	if (hash != s->hash)
		return err_set(err, -EBADMSG,
			       "%s: offset 0: %llu bytes are not as they were written", s->name,
			       (unsigned long long)size);
	return 0;
}

static int check_file_of(void *arg, size_t i, struct err *err)
{
	const struct chain_link *link = arg;

	return check_file(link->dirfd, link->info->files[i], err);
}

int chain_check(const struct chain_links *l, struct err *err)
{
	for (size_t i = 0; i < l->n; i++) {
		struct chain_link *link = &l->link[i];
		int rc = link->info ? parallel(link->info->n_files, check_file_of, link, err) : 0;

		if (rc < 0)
			return err_add(err, rc == -ENOENT ? -EBADMSG : rc, "%s", link->name);
	}
	return 0;
}

/* --- verify ------------------------------------------------------------------------------- */

struct verify {
	void (*bad)(void *arg, const char *what);
	void *arg;
	size_t faults;
};

static void fault(struct verify *v, const char *what)
{
	v->faults++;
	v->bad(v->arg, what);
}

static void verify_pages(struct verify *v, int dirfd, const SdBlockSums *s)
{
	struct page_file *f = NULL;
	struct err err = {};

	if (!*s->name || strchr(s->name, '/'))
		fault(v, "criu-lite.img: a pages file with no proper name");
	else if (page_file_open(&f, dirfd, s->name, s, &err) < 0)
		fault(v, err.text);
	else
		v->faults += page_file_check_all(f, v->bad, v->arg);
	page_file_release(&f);
}

/* A plain directory is the user's: logs and statistics may lie there. */
static bool is_image(const char *name)
{
	size_t n = strlen(name);

	return n > 4 && !strcmp(name + n - 4, ".img");
}

static bool listed(const SdCheckpoint *info, const char *name)
{
	if (!strcmp(name, "parent") || !strcmp(name, "criu-lite.img") ||
	    (!info->seq && !is_image(name)))
		return true;
	for (size_t i = 0; i < info->n_files; i++)
		if (!strcmp(info->files[i]->name, name))
			return true;
	for (size_t i = 0; i < info->n_pages; i++)
		if (!strcmp(info->pages[i]->name, name))
			return true;
	return false;
}

static void verify_sums(struct verify *v, int dirfd, const SdCheckpoint *info, char **names,
			size_t n)
{
	struct err err = {};

	for (size_t i = 0; i < info->n_files; i++)
		if (check_file(dirfd, info->files[i], &err) < 0)
			fault(v, err.text);
	for (size_t i = 0; i < info->n_pages; i++)
		verify_pages(v, dirfd, info->pages[i]);
	for (size_t i = 0; i < n; i++) {
		if (!listed(info, names[i])) {
			err_set(&err, 0, "%s: is not in the list of criu-lite.img", names[i]);
			fault(v, err.text);
		}
	}
}

/* Does it decode, to its last byte? */
static int walk_image(int dirfd, const char *name, struct err *err)
{
	scoped_reader r = NULL;
	ProtobufCMessage *m;
	int rc = img_open(&r, err, dirfd, "%s", name);

	if (rc < 0 || !img_family(r)->first)
		return rc;
	while ((rc = img_next(r, &m, err)) > 0)
		protobuf_c_message_free_unpacked(m, NULL);
	return rc;
}

static void verify_images(struct verify *v, int dirfd, const struct chain_links *l, char **names,
			  size_t n)
{
	struct err err = {};

	for (size_t i = 0; i < n; i++) {
		const struct img_family *f = img_family_of(names[i]);
		struct page_sources s = {};
		int rc = f ? walk_image(dirfd, names[i], &err) : 0;

		/* A pagemap that does not decode need not be said twice. */
		if (!rc && f && l && !strncmp(names[i], "pagemap-", 8))
			rc = chain_resolve(&s, l, names[i], &err);
		page_sources_release(&s);
		if (rc < 0)
			fault(v, err.text);
	}
}

int chain_verify(int chain_dirfd, uint32_t seq, void (*bad)(void *arg, const char *what), void *arg,
		 struct err *err)
{
	struct verify v = { .bad = bad, .arg = arg };
	struct chain_links links = {};
	SdCheckpoint *info = NULL;
	struct err what = {};
	scoped_fd fd = chain_checkpoint(chain_dirfd, seq, err);
	char **names;
	size_t n;
	int rc;

	if (fd < 0)
		return fd;
	rc = img_names(&names, &n, fd, err);
	if (rc < 0)
		return rc;
	rc = chain_info(&info, fd, &what);
	if (rc < 0 && rc != -ENOENT)
		fault(&v, what.text);
	if (info) {
		verify_sums(&v, fd, info, names, n);
		sd_checkpoint__free_unpacked(info, NULL);
	}
	/* Links start in criu-lite.img: with that damaged there is nothing new to say. */
	if (rc == -ENOENT || rc == 0) {
		rc = chain_follow(&links, chain_dirfd, seq, &what);
		if (rc < 0)
			fault(&v, what.text);
	}
	verify_images(&v, fd, rc < 0 ? NULL : &links, names, n);
	chain_links_release(&links);
	img_names_release(names, n);
	return v.faults ? 1 : 0;
}
