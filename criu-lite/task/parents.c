/* parents.c - links, and the pagemaps that were asked for. */
#include "criu-lite/task/parents.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

struct known {
	pid_t pid;
	struct pagemap *pagemap; /* NULL: the parent has none */
};

struct parents {
	struct chain_at at;
	struct chain_links links;
	struct known *known;
	size_t n, cap;
};

int parents_open(struct parents **out, const struct chain_at *at, struct err *err)
{
	struct parents *p = xcalloc(1, sizeof(*p));
	int rc = chain_follow(&p->links, at->dirfd, at->seq, err);

	if (rc < 0) {
		parents_free(p);
		return rc;
	}
	p->at = *at;
	*out = p;
	return 0;
}

bool parents_are_of(const struct parents *p, const struct chain_at *at)
{
	return p && p->at.dirfd == at->dirfd && p->at.seq == at->seq;
}

const struct chain_links *parents_links(const struct parents *p)
{
	return &p->links;
}

static const struct known *find(const struct parents *p, pid_t pid)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->known[i].pid == pid)
			return &p->known[i];
	return NULL;
}

static int load(struct parents *p, pid_t pid, struct err *err)
{
	struct known k = { .pid = pid, .pagemap = xcalloc(1, sizeof(*k.pagemap)) };
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "pagemap-%d.img", pid);
	rc = pagemap_load(k.pagemap, p->links.link[0].dirfd, name, err);
	if (rc < 0) {
		pagemap_release(k.pagemap);
		free(k.pagemap);
		k.pagemap = NULL;
	}
	if (rc < 0 && rc != -ENOENT)
		return rc;
	ARRAY_PUSH(p->known, p->n, p->cap, k);
	return 0;
}

void parents_expect(struct parents *p, pid_t pid)
{
	if (!find(p, pid))
		load(p, pid, NULL);
}

int parents_of(struct parents *p, pid_t pid, const struct pagemap **out, struct err *err)
{
	int rc = find(p, pid) ? 0 : load(p, pid, err);

	if (!rc)
		*out = find(p, pid)->pagemap;
	return rc;
}

void parents_free(struct parents *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		if (p->known[i].pagemap)
			pagemap_release(p->known[i].pagemap);
		free(p->known[i].pagemap);
	}
	free(p->known);
	chain_links_release(&p->links);
	free(p);
}
