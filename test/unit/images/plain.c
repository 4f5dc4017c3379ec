/* A checkpoint in a plain directory: when it is one, what it leaves, whose child it is. */
#include "tmp.h"
#include "images/chain.h"

#include <sys/stat.h>

static struct chain *open_plain(struct tmp *t, const char *name, const char *prev)
{
	scoped char *path = xasprintf("%s/%s", t->path, name);
	struct chain *c = NULL;
	struct err err = {};

	mkdirat(t->fd, name, 0700);
	if (chain_open_plain(&c, path, prev, &err) < 0)
		fail_msg("%s", err.text);
	return c;
}

static int commit(struct chain *c, struct err *err)
{
	SdCheckpoint info = SD_CHECKPOINT__INIT;
	uint64_t bytes;

	info.boot_id = info.kernel_release = info.tracker = (char *)"x";
	put(chain_fd(c), "inventory.img", "i", 1);
	put(chain_fd(c), "core-1.img", "c", 1);
	assert_int_equal(chain_seal(c, &bytes, err), 0);
	return chain_commit(c, &info, err);
}

static void make(struct tmp *t, const char *name, const char *prev)
{
	struct chain *c = open_plain(t, name, prev);
	struct err err = {};

	assert_int_equal(chain_begin(c, chain_has_prev(c), &err), 0);
	if (commit(c, &err) < 0)
		fail_msg("%s", err.text);
	chain_release(&c);
}

static bool there(struct tmp *t, const char *path)
{
	struct stat st;

	return !fstatat(t->fd, path, &st, AT_SYMLINK_NOFOLLOW);
}

static int follow(struct tmp *t, const char *name, struct err *err)
{
	struct chain_links l = {};
	int fd = openat(t->fd, name, O_RDONLY | O_DIRECTORY), rc, n;

	rc = chain_follow(&l, fd, 0, err);
	n = l.n;
	chain_links_release(&l);
	close(fd);
	return rc < 0 ? rc : n;
}

static void not_before_the_commit(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_plain(t, "a", NULL);
	struct err err = {};

	assert_int_equal(chain_begin(c, 0, &err), 0);
	put(chain_fd(c), "inventory.img", "i", 1);
	assert_false(there(t, "a/inventory.img"));
	chain_release(&c); /* gives up */
	assert_false(there(t, "a/.criu-lite.tmp"));
	make(t, "a", NULL);
	assert_true(there(t, "a/inventory.img"));
	assert_true(there(t, "a/core-1.img"));
	assert_false(there(t, "a/.criu-lite.tmp"));
	assert_false(there(t, "a/parent"));
}

/* What lies there stays whole until the new one is; and nothing of it is left then. */
static void replaces_what_was_there(void **state)
{
	struct tmp *t = *state;
	struct chain *c;
	struct err err = {};
	int fd;

	make(t, "a", NULL);
	fd = openat(t->fd, "a", O_RDONLY | O_DIRECTORY);
	put(fd, "core-2.img", "", 0);
	put(fd, "dump.log", "", 0);
	c = open_plain(t, "a", NULL);
	assert_int_equal(chain_begin(c, 0, &err), 0);
	assert_true(there(t, "a/inventory.img"));
	assert_int_equal(commit(c, &err), 0);
	assert_false(there(t, "a/core-2.img"));
	assert_true(there(t, "a/dump.log"));
	chain_withdraw(c);
	assert_false(there(t, "a/inventory.img"));
	chain_release(&c);
	close(fd);
}

static void crash_is_cleared_away(void **state)
{
	struct tmp *t = *state;
	int fd;

	assert_int_equal(mkdirat(t->fd, "a", 0700), 0);
	assert_int_equal(mkdirat(t->fd, "a/.criu-lite.tmp", 0700), 0);
	fd = openat(t->fd, "a/.criu-lite.tmp", O_RDONLY | O_DIRECTORY);
	put(fd, "core-9.img", "", 0);
	close(fd);
	make(t, "a", NULL);
	assert_false(there(t, "a/core-9.img"));
}

static void one_writer(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_plain(t, "a", NULL), *second = NULL;
	scoped char *path = xasprintf("%s/a", t->path);
	struct err err = {};

	assert_int_equal(chain_open_plain(&second, path, NULL, &err), -EBUSY);
	chain_release(&c);
	assert_int_equal(chain_open_plain(&second, path, NULL, &err), 0);
	chain_release(&second);
}

/* By names that are no numbers, and wherever they lie. */
static void parents_anywhere(void **state)
{
	struct tmp *t = *state;
	struct err err = {};
	struct chain *c = NULL;
	scoped char *b = xasprintf("%s/7", t->path);

	make(t, "pre", NULL);
	make(t, "7", "../pre");
	make(t, "last", "../7");
	assert_int_equal(follow(t, "last", &err), 3);
	/* A number for a name makes it no part of a chain. */
	assert_int_equal(chain_open(&c, b, CHAIN_READ, &err), 0);
	assert_int_equal(chain_newest(c), 0);
	chain_release(&c);
	/* Another one in its parent's place is found out. */
	make(t, "pre", NULL);
	assert_int_equal(follow(t, "last", &err), -EBADMSG);
	assert_says(&err, "parent/parent: is not the one that its child was made on");
}

static void parents_that_are_none(void **state)
{
	struct tmp *t = *state;
	scoped char *a = xasprintf("%s/a", t->path);
	struct chain *c = open_plain(t, "a", "../nowhere");
	struct err err = {};

	assert_false(chain_has_prev(c));
	chain_release(&c);
	assert_int_equal(mkdirat(t->fd, "empty", 0700), 0);
	c = open_plain(t, "a", "../empty");
	assert_false(chain_has_prev(c));
	chain_release(&c);
	make(t, "a", NULL);
	assert_int_equal(chain_open_plain(&c, a, "../a", &err), -EINVAL);
	make(t, "open", NULL);
	assert_int_equal(fchmodat(t->fd, "open", 0777, 0), 0);
	assert_int_equal(chain_open_plain(&c, a, "../open", &err), -EPERM);
}

static void loops_end(void **state)
{
	struct tmp *t = *state;
	struct err err = {};

	assert_int_equal(mkdirat(t->fd, "x", 0700), 0);
	assert_int_equal(mkdirat(t->fd, "y", 0700), 0);
	assert_int_equal(symlinkat("../y", t->fd, "x/parent"), 0);
	assert_int_equal(symlinkat("../x", t->fd, "y/parent"), 0);
	assert_int_equal(follow(t, "x", &err), -ELOOP);
	assert_int_equal(fchmodat(t->fd, "y", 0777, 0), 0);
	assert_int_equal(follow(t, "x", &err), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(not_before_the_commit),
		IMAGE_TEST(replaces_what_was_there),
		IMAGE_TEST(crash_is_cleared_away),
		IMAGE_TEST(one_writer),
		IMAGE_TEST(parents_anywhere),
		IMAGE_TEST(parents_that_are_none),
		IMAGE_TEST(loops_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
