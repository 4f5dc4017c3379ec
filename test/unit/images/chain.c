/* The directory of checkpoints: who may use it, what a writer leaves at each point, links, armed. */
#include "tmp.h"

#include "images/chain.h"
#include "proto/fs.pb-c.h"

#include <sys/wait.h>

static struct chain *open_chain(struct tmp *t, enum chain_mode mode)
{
	struct chain *c = NULL;
	struct err err = {};

	if (chain_open(&c, t->path, mode, &err) < 0)
		fail_msg("%s", err.text);
	return c;
}

/* One small image and nothing else. */
static void fill(struct chain *c)
{
	FsEntry e = FS_ENTRY__INIT;
	struct err err = {};

	assert_int_equal(img_write_one(&e, &err, chain_fd(c), "fs-1.img"), 0);
}

static void describe(SdCheckpoint *info)
{
	sd_checkpoint__init(info);
	info->boot_id = info->kernel_release = info->tracker = (char *)"none";
	info->tasks = 3;
}

static uint32_t publish(struct chain *c, uint32_t parent)
{
	SdCheckpoint info;
	struct err err = {};
	uint64_t bytes;

	describe(&info);
	assert_int_equal(chain_begin(c, parent, &err), 0);
	fill(c);
	assert_int_equal(chain_seal(c, &bytes, &err), 0);
	assert_int_equal(bytes, 16);
	if (chain_commit(c, &info, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(info.seq, chain_newest(c));
	return info.seq;
}

static void numbers_and_links(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_chain(t, CHAIN_WRITE);
	char id[33], link[16] = "";
	const uint32_t *seq;
	SdCheckpoint *info;
	struct err err = {};
	uint32_t parent;
	int fd;

	assert_int_equal(chain_newest(c), 0);
	assert_int_equal(strlen(chain_id(c)), 32);
	strcpy(id, chain_id(c));
	assert_int_equal(publish(c, 0), 1);
	assert_int_equal(publish(c, 1), 2);
	chain_release(&c);

	c = open_chain(t, CHAIN_WRITE);
	assert_string_equal(chain_id(c), id); /* one id for the whole chain */
	assert_int_equal(publish(c, 1), 3);
	assert_int_equal(chain_numbers(c, &seq), 3);
	assert_int_equal(seq[0], 1);
	assert_int_equal(seq[2], 3);
	assert_true(chain_has(c, 2));
	assert_false(chain_has(c, 4));
	assert_int_equal(chain_begin(c, 9, &err), -ENOENT);

	fd = chain_checkpoint(chain_dirfd(c), 3, &err);
	assert_int_equal(chain_parent(fd, &parent, &err), 0);
	assert_int_equal(parent, 1);
	assert_int_equal(chain_info(&info, fd, &err), 0);
	assert_string_equal(info->chain_id, id);
	assert_int_equal(info->parent_seq, 1);
	assert_int_equal(info->tasks, 3);
	assert_int_equal(info->n_files, 1);
	assert_string_equal(info->files[0]->name, "fs-1.img");
	assert_int_equal(info->files[0]->size, 16);
	sd_checkpoint__free_unpacked(info, NULL);
	close(fd);
	assert_true(readlinkat(t->fd, "latest", link, sizeof(link)) == 1);
	assert_string_equal(link, "3");
	chain_release(&c);
}

static void nothing_is_published_before_commit(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_chain(t, CHAIN_WRITE);
	struct err err = {};
	uint64_t bytes;

	publish(c, 0);
	assert_int_equal(chain_begin(c, 1, &err), 0);
	fill(c);
	assert_int_equal(chain_seal(c, &bytes, &err), 0);
	assert_true(exists(t->fd, ".2.tmp"));
	assert_false(exists(t->fd, "2"));
	chain_abort(c);
	assert_false(exists(t->fd, ".2.tmp"));
	assert_int_equal(chain_newest(c), 1);
	assert_int_equal(chain_begin(c, 1, &err), 0);
	chain_release(&c); /* gives up as well */
	assert_false(exists(t->fd, ".2.tmp"));
}

/* A writer dies at once while it builds: the next one begins anew, with the same number. */
static void crash_leaves_nothing_behind(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_chain(t, CHAIN_WRITE);
	struct err err = {};
	int status;
	pid_t pid;

	publish(c, 0);
	chain_release(&c);
	pid = fork();
	if (!pid) {
		c = open_chain(t, CHAIN_WRITE);
		if (chain_begin(c, 1, &err) < 0)
			_exit(1);
		fill(c);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(exists(t->fd, ".2.tmp"));
	c = open_chain(t, CHAIN_READ); /* a reader neither minds nor touches it */
	assert_int_equal(chain_newest(c), 1);
	chain_release(&c);
	assert_true(exists(t->fd, ".2.tmp"));
	c = open_chain(t, CHAIN_WRITE);
	assert_false(exists(t->fd, ".2.tmp"));
	assert_int_equal(publish(c, 1), 2);
	chain_release(&c);
}

/* What only looks like a leftover stays. */
static void others_files_stay(void **state)
{
	struct tmp *t = *state;
	struct chain *c;

	assert_int_equal(mkdirat(t->fd, ".notes.tmp", 0700), 0);
	assert_int_equal(mkdirat(t->fd, ".02.tmp", 0700), 0);
	put(t->fd, "7", "a file, no checkpoint", 21);
	c = open_chain(t, CHAIN_WRITE);
	assert_true(exists(t->fd, ".notes.tmp"));
	assert_true(exists(t->fd, ".02.tmp"));
	assert_int_equal(chain_newest(c), 0);
	chain_release(&c);
}

static void one_writer(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_chain(t, CHAIN_WRITE), *second = NULL;
	struct err err = {};
	char *say = xasprintf("process %d is writing here", getpid());

	assert_int_equal(chain_open(&second, t->path, CHAIN_WRITE, &err), -EBUSY);
	assert_says(&err, say);
	free(say);
	assert_null(second);
	second = open_chain(t, CHAIN_READ);
	assert_int_equal(chain_lock(second, &err), -EBUSY);
	chain_release(&c);
	assert_int_equal(chain_lock(second, &err), 0);
	assert_int_equal(chain_lock(second, &err), 0);
	chain_release(&second);
}

static void directory_must_be_ours(void **state)
{
	struct tmp *t = *state;
	struct chain *c = NULL;
	struct err err = {};
	char *inner = xasprintf("%s/made", t->path), *link = xasprintf("%s/link/", t->path);
	struct stat st;

	assert_int_equal(chain_open(&c, inner, CHAIN_READ, &err), -ENOENT);
	assert_int_equal(chain_open(&c, inner, CHAIN_WRITE, &err), 0);
	chain_release(&c);
	assert_int_equal(stat(inner, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	for (mode_t m = 0720; m <= 0722; m += 2) {
		assert_int_equal(chmod(inner, m), 0);
		assert_int_equal(chain_open(&c, inner, CHAIN_READ, &err), -EPERM);
		assert_int_equal(chain_open(&c, inner, CHAIN_WRITE, &err), -EPERM);
		assert_says(&err, "others can write it");
		assert_int_equal(chain_open(&c, inner, CHAIN_LOOK, &err), 0);
		chain_release(&c);
	}
	assert_int_equal(chmod(inner, 0755), 0);
	assert_int_equal(symlinkat("made", t->fd, "link"), 0);
	assert_true(chain_open(&c, link, CHAIN_WRITE, &err) < 0);
	assert_says(&err, "links are not followed");
	if (!geteuid()) {
		assert_int_equal(chown(inner, 12345, 12345), 0);
		assert_int_equal(chain_open(&c, inner, CHAIN_READ, &err), -EPERM);
		assert_says(&err, "belongs to user 12345");
	}
	assert_null(c);
	free(inner);
	free(link);
}

static void set_parent(struct tmp *t, const char *n, const char *to)
{
	char *path = xasprintf("%s/%s/parent", t->path, n);

	unlink(path);
	assert_int_equal(symlink(to, path), 0);
	free(path);
}

static int follow(struct tmp *t, uint32_t seq, struct err *err)
{
	struct chain_links l = {};
	int rc = chain_follow(&l, t->fd, seq, err), n = l.n;

	chain_links_release(&l);
	return rc < 0 ? rc : n;
}

static void parents_elsewhere_are_refused(void **state)
{
	static const char *const bad[] = { "/etc",
					   "..",
					   "../..",
					   "../../1",
					   "../1/../1",
					   "../1/",
					   "../01",
					   "../+1",
					   "../-1",
					   "1",
					   "../",
					   "../0",
					   "../99999999999999999999999",
					   "../latest",
					   "./../1" };
	struct tmp *t = *state;
	struct err err = {};

	assert_int_equal(mkdirat(t->fd, "1", 0700), 0);
	assert_int_equal(mkdirat(t->fd, "2", 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set_parent(t, "2", bad[i]);
		if (follow(t, 2, &err) >= 0)
			fail_msg("parent -> %s was followed", bad[i]);
		assert_says(&err, "checkpoint 2: parent: leads to");
	}
	set_parent(t, "2", "../1");
	assert_int_equal(follow(t, 2, &err), 2);
	set_parent(t, "2", "../3");
	assert_int_equal(follow(t, 2, &err), -ENOENT);
	assert_int_equal(symlinkat("1", t->fd, "3"), 0); /* a checkpoint is a directory */
	assert_true(follow(t, 2, &err) < 0);
}

static void loops_end(void **state)
{
	struct tmp *t = *state;
	struct err err = {};

	for (int i = 1; i <= 3; i++) {
		char name[2] = { '0' + i };

		assert_int_equal(mkdirat(t->fd, name, 0700), 0);
	}
	set_parent(t, "1", "../1");
	assert_int_equal(follow(t, 1, &err), -ELOOP);
	set_parent(t, "3", "../2");
	set_parent(t, "2", "../1");
	set_parent(t, "1", "../3");
	assert_int_equal(follow(t, 2, &err), -ELOOP);
	assert_says(&err, "checkpoint 2: is its own ancestor");
}

/* The link and criu-lite.img must tell the same story. */
static void link_against_record(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_chain(t, CHAIN_WRITE);
	struct err err = {};

	publish(c, 0);
	publish(c, 0);
	publish(c, 1);
	assert_int_equal(follow(t, 3, &err), 2);
	set_parent(t, "3", "../2");
	assert_int_equal(follow(t, 3, &err), -EBADMSG);
	assert_says(&err, "parent: leads to 2, criu-lite.img says 1");
	set_parent(t, "3", "../1");
	assert_int_equal(renameat(t->fd, "1", t->fd, "8"), 0);
	assert_int_equal(renameat(t->fd, "2", t->fd, "1"), 0);
	assert_int_equal(follow(t, 3, &err), -EBADMSG);
	assert_says(&err, "is that of checkpoint 2");
	chain_release(&c);
}

/* Without its record a checkpoint of ours would be restored as another program's: unchecked. */
static void record_is_missed(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_chain(t, CHAIN_WRITE);
	SdCheckpoint *info;
	struct err err = {};
	int fd;

	publish(c, 0);
	publish(c, 1);
	fd = chain_checkpoint(t->fd, 1, &err);
	assert_int_equal(unlinkat(fd, "criu-lite.img", 0), 0);
	assert_int_equal(chain_info(&info, fd, &err), -ENOENT);
	assert_int_equal(follow(t, 2, &err), -EBADMSG);
	assert_says(&err, "is missing, which the parent of checkpoint 2 must have");
	put(fd, "criu-lite-tasks.img", "", 0);
	assert_int_equal(chain_info(&info, fd, &err), -EBADMSG);
	assert_int_equal(follow(t, 1, &err), -EBADMSG);
	assert_says(&err, "is missing, and with it all checksums");
	close(fd);
	chain_release(&c);
}

static void note_fault(void *arg, const char *what)
{
	char *all = arg;

	strcat(all, what);
	strcat(all, "\n");
}

static void verify_finds_each_bit(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_chain(t, CHAIN_WRITE);
	char all[4096] = "";
	struct err err = {};
	struct stat st;
	int fd;

	publish(c, 0);
	fd = chain_checkpoint(t->fd, 1, &err);
	assert_int_equal(chain_verify(t->fd, 1, note_fault, all, &err), 0);
	assert_string_equal(all, "");
	for (off_t i = 0; i < 16; i++) {
		flip(fd, "fs-1.img", i);
		assert_int_equal(chain_verify(t->fd, 1, note_fault, all, &err), 1);
		flip(fd, "fs-1.img", i);
	}
	assert_non_null(strstr(all, "fs-1.img: offset 0: 16 bytes are not as they were written"));
	assert_int_equal(fstatat(fd, "criu-lite.img", &st, 0), 0);
	for (off_t i = 0; i < st.st_size; i++) {
		*all = 0;
		flip(fd, "criu-lite.img", i);
		assert_int_equal(chain_verify(t->fd, 1, note_fault, all, &err), 1);
		assert_non_null(strstr(all, "criu-lite.img"));
		flip(fd, "criu-lite.img", i);
	}
	*all = 0;
	put(fd, "more", "", 0);
	assert_int_equal(chain_verify(t->fd, 1, note_fault, all, &err), 1);
	assert_string_equal(all, "more: is not in the list of criu-lite.img\n");
	assert_int_equal(unlinkat(fd, "more", 0), 0);
	assert_int_equal(unlinkat(fd, "fs-1.img", 0), 0);
	*all = 0;
	assert_int_equal(chain_verify(t->fd, 1, note_fault, all, &err), 1);
	assert_non_null(strstr(all, "fs-1.img: No such file"));
	close(fd);
	chain_release(&c);
}

/* A damaged newest checkpoint hides neither the chain's id nor the others. */
static void damage_is_local(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_chain(t, CHAIN_WRITE);
	char id[33];
	struct err err = {};
	int fd;

	strcpy(id, chain_id(c));
	publish(c, 0);
	publish(c, 1);
	chain_release(&c);
	fd = chain_checkpoint(t->fd, 2, &err);
	flip(fd, "criu-lite.img", 20);
	close(fd);
	c = open_chain(t, CHAIN_READ);
	assert_string_equal(chain_id(c), id);
	assert_int_equal(follow(t, 1, &err), 1);
	assert_int_equal(follow(t, 2, &err), -EBADMSG);
	chain_release(&c);
}

static void checks_small_files(void **state)
{
	struct tmp *t = *state;
	struct chain *c = open_chain(t, CHAIN_WRITE);
	struct chain_links l = {};
	struct err err = {};

	publish(c, 0);
	publish(c, 1);
	assert_int_equal(chain_follow(&l, t->fd, 2, &err), 0);
	assert_int_equal(chain_check(&l, &err), 0);
	flip(l.link[1].dirfd, "fs-1.img", 15);
	assert_int_equal(chain_check(&l, &err), -EBADMSG);
	assert_says(&err, "checkpoint 1: fs-1.img");
	chain_links_release(&l);
	chain_release(&c);
}

static void armed_record(void **state)
{
	struct tmp *t = *state;
	SdArmedTask task = SD_ARMED_TASK__INIT, *tasks[] = { &task };
	SdArmed a = SD_ARMED__INIT, *back;
	struct err err = {};

	assert_int_equal(chain_armed_read(&back, t->fd, &err), -ENOENT);
	a.chain_id = (char *)"00112233445566778899aabbccddeeff";
	a.boot_id = a.tracker = (char *)"x";
	a.seq = 4;
	a.tasks = tasks;
	a.n_tasks = 1;
	task.pid = 12;
	task.start_time = 345;
	put(t->fd, ".armed.tmp", "left by a crash", 15);
	assert_int_equal(chain_armed_write(t->fd, &a, &err), 0);
	a.seq = 5;
	assert_int_equal(chain_armed_write(t->fd, &a, &err), 0); /* replaces */
	assert_false(exists(t->fd, ".armed.tmp"));
	assert_int_equal(chain_armed_read(&back, t->fd, &err), 0);
	assert_int_equal(back->seq, 5);
	assert_int_equal(back->tasks[0]->start_time, 345);
	sd_armed__free_unpacked(back, NULL);
	flip(t->fd, "armed", 14);
	assert_int_equal(chain_armed_read(&back, t->fd, &err), -EBADMSG);
	assert_int_equal(chain_armed_clear(t->fd, &err), 0);
	assert_int_equal(chain_armed_read(&back, t->fd, &err), -ENOENT);
	assert_int_equal(chain_armed_clear(t->fd, &err), 0);
	a.chain_id = (char *)"no id";
	assert_int_equal(chain_armed_write(t->fd, &a, &err), 0);
	assert_int_equal(chain_armed_read(&back, t->fd, &err), -EBADMSG);
}

/* An image directory of another program, by itself or as one of a numbered row. */
static void single_directory(void **state)
{
	struct tmp *t = *state;
	struct chain *c = NULL;
	struct err err = {};
	char *one = xasprintf("%s/images", t->path), *two = xasprintf("%s/2", t->path);
	int fd;

	assert_int_equal(mkdir(one, 0700), 0);
	assert_int_equal(mkdir(two, 0700), 0);
	assert_int_equal(mkdirat(t->fd, "1", 0700), 0);
	fd = open(one, O_RDONLY);
	put(fd, "inventory.img", "", 0);
	assert_int_equal(chain_open(&c, one, CHAIN_READ, &err), 0);
	assert_int_equal(chain_newest(c), 0);
	assert_true(chain_has(c, 0));
	assert_string_equal(chain_id(c), "");
	assert_int_equal(follow(&(struct tmp) { .fd = fd }, 0, &err), 1);
	assert_int_equal(symlinkat("../1", fd, "parent"), 0);
	assert_int_equal(follow(&(struct tmp) { .fd = fd }, 0, &err), 2);
	chain_release(&c);
	close(fd);
	assert_int_equal(chain_open(&c, one, CHAIN_WRITE, &err), -EEXIST);

	fd = open(two, O_RDONLY);
	put(fd, "inventory.img", "", 0);
	assert_int_equal(symlinkat("../1", fd, "parent"), 0);
	close(fd);
	assert_int_equal(chain_open(&c, two, CHAIN_READ, &err), 0);
	assert_int_equal(chain_newest(c), 2);
	assert_true(chain_has(c, 1));
	assert_int_equal(follow(&(struct tmp) { .fd = chain_dirfd(c) }, 2, &err), 2);
	chain_release(&c);
	free(one);
	free(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(numbers_and_links),
		IMAGE_TEST(nothing_is_published_before_commit),
		IMAGE_TEST(crash_leaves_nothing_behind),
		IMAGE_TEST(others_files_stay),
		IMAGE_TEST(one_writer),
		IMAGE_TEST(directory_must_be_ours),
		IMAGE_TEST(parents_elsewhere_are_refused),
		IMAGE_TEST(loops_end),
		IMAGE_TEST(link_against_record),
		IMAGE_TEST(record_is_missed),
		IMAGE_TEST(verify_finds_each_bit),
		IMAGE_TEST(damage_is_local),
		IMAGE_TEST(checks_small_files),
		IMAGE_TEST(armed_record),
		IMAGE_TEST(single_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
