/* hostile.c - files.img and what goes with it, as nobody of ours would write it. */
#include "puppet.h"
#include "images/img.h"
#include "proto/pipe.pb-c.h"
#include "proto/tty.pb-c.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static char dir[] = "/tmp/hostile-XXXXXX";

/* A small checkpoint of one task that each test spoils in one place. */
struct images {
	int dirfd;
	FileEntry *entry[8];
	size_t n;
	struct tree tree;
	struct task *task;
};

static FileEntry *add_reg(struct images *im, uint32_t id, const char *path)
{
	FileEntry *e = file_entry_new(FD_TYPES__REG, id, O_RDONLY);

	e->reg->name = xstrdup(path);
	im->entry[im->n++] = e;
	return e;
}

static FileEntry *add_pipe(struct images *im, uint32_t id, uint32_t flags)
{
	FileEntry *e = file_entry_new(FD_TYPES__PIPE, id, flags);

	e->pipe->pipe_id = 77;
	im->entry[im->n++] = e;
	return e;
}

static FdinfoEntry *add_row(struct images *im, uint32_t fd, uint32_t id, FdTypes type)
{
	FdinfoEntry *row = xmalloc(sizeof(*row));

	fdinfo_entry__init(row);
	row->fd = fd;
	row->id = id;
	row->type = type;
	im->task->fdinfo = xreallocarray(im->task->fdinfo, im->task->n_fdinfo + 1, sizeof(row));
	im->task->fdinfo[im->task->n_fdinfo++] = row;
	return row;
}

static void start(struct images *im)
{
	*im = (struct images) { .dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	unlinkat(im->dirfd, "files.img", 0);
	unlinkat(im->dirfd, "pipes-data.img", 0);
	unlinkat(im->dirfd, "tty-info.img", 0);
	im->task = tree_add_task(&im->tree, 99);
	im->task->fs = xmalloc(sizeof(*im->task->fs));
	fs_entry__init(im->task->fs);
	im->task->fs->cwd_id = im->task->fs->root_id = 1;
	add_reg(im, 1, "/");
	add_reg(im, 2, "/dev/null");
	add_pipe(im, 3, O_RDONLY);
	add_pipe(im, 4, O_WRONLY);
	add_row(im, 0, 2, FD_TYPES__REG);
	add_row(im, 1, 3, FD_TYPES__PIPE);
	add_row(im, 2, 4, FD_TYPES__PIPE);
}

static void write_pipe_data(const struct images *im, uint32_t bytes, uint32_t size,
			    const char *data)
{
	PipeDataEntry e = PIPE_DATA_ENTRY__INIT;
	scoped_writer w = NULL;

	e.pipe_id = 77;
	e.bytes = bytes;
	e.has_size = true;
	e.size = size;
	assert_int_equal(img_create(&w, NULL, im->dirfd, "pipes-data.img"), 0);
	assert_int_equal(img_append(w, &e, NULL), 0);
	assert_int_equal(img_append_raw(w, data, strlen(data), NULL), 0);
	assert_int_equal(img_close(&w, NULL), 0);
}

static int load(struct images *im, struct file_build *b, struct err *err)
{
	scoped_writer w = NULL;

	assert_int_equal(img_create(&w, NULL, im->dirfd, "files.img"), 0);
	for (size_t i = 0; i < im->n; i++) {
		assert_int_equal(img_append(w, im->entry[i], NULL), 0);
		file_entry__free_unpacked(im->entry[i], NULL);
	}
	assert_int_equal(img_close(&w, NULL), 0);
	*b = (struct file_build) { .tree = &im->tree, .dirfd = im->dirfd };
	return files_load(b, err);
}

static void end(struct images *im, struct file_build *b)
{
	files_build_release(b);
	tree_release(&im->tree);
	close(im->dirfd);
}

static void expect(struct images *im, int rc, const char *text)
{
	struct file_build b;
	struct err err = {};
	int got = load(im, &b, &err);

	if (!strstr(err.text, text))
		fail_msg("\"%s\", not \"%s\"", err.text, text);
	assert_int_equal(got, rc);
	end(im, &b);
}

static void test_good(void **state)
{
	struct images im;
	struct file_build b;
	struct err err = {};
	int r, again, w;
	char buf[16];

	start(&im);
	write_pipe_data(&im, 5, 4096, "hello");
	assert_int_equal(load(&im, &b, &err), 0);
	assert_int_equal(files_top(&b), 3);
	assert_null(file_find(&b, 5));
	assert_int_equal(file_open(&b, 3, &r, &err), 0);
	assert_int_equal(file_open(&b, 3, &again, &err), 0);
	assert_int_equal(r, again);
	assert_int_equal(file_open(&b, 4, &w, &err), 0);
	assert_int_equal(fcntl(r, F_GETPIPE_SZ), 4096);
	assert_int_equal(read(r, buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(file_open(&b, 5, &w, &err), -EBADMSG);
	end(&im, &b);
}

static void test_no_files(void **state)
{
	struct images im;
	struct file_build b;
	struct err err = {};

	start(&im);
	b = (struct file_build) { .tree = &im.tree, .dirfd = im.dirfd };
	assert_int_equal(files_load(&b, &err), -ENOENT);
	for (size_t i = 0; i < im.n; i++)
		file_entry__free_unpacked(im.entry[i], NULL);
	end(&im, &b);
}

static void test_ids(void **state)
{
	struct images im;

	start(&im);
	im.entry[3]->id = im.entry[3]->pipe->id = 2;
	expect(&im, -EBADMSG, "two files have the id 2");
	start(&im);
	im.entry[3]->pipe->id = 9;
	expect(&im, -EBADMSG, "file 4 says inside that it is file 9");
	start(&im);
	add_row(&im, 3, 5, FD_TYPES__REG);
	expect(&im, -EBADMSG, "task 99: fd 3: there is no file 5");
	start(&im);
	im.task->fs->root_id = 3;
	expect(&im, -EBADMSG, "cwd or root is not in files.img");
	start(&im);
	im.task->fs->cwd_id = 33;
	expect(&im, -EBADMSG, "cwd or root is not in files.img");
}

static void test_messages(void **state)
{
	struct images im;

	start(&im);
	im.entry[1]->type = FD_TYPES__PIPE;
	expect(&im, -EBADMSG, "file 2 has not exactly the message of its type");
	start(&im);
	im.entry[1]->pipe = im.entry[3]->pipe;
	im.entry[3]->pipe = NULL;
	expect(&im, -EBADMSG, "file 2 has not exactly the message of its type");
	start(&im);
	im.entry[1]->type = FD_TYPES__UND;
	expect(&im, -EBADMSG, "file 2 is of no known type");
	start(&im);
	im.entry[1]->type = FD_TYPES__CTL_TTY;
	expect(&im, -EBADMSG, "file 2 is of no known type");
}

static void test_tables(void **state)
{
	struct images im;

	start(&im);
	add_row(&im, 1, 2, FD_TYPES__REG);
	expect(&im, -EBADMSG, "fd 1 is there twice");
	start(&im);
	add_row(&im, 3, 2, FD_TYPES__PIPE);
	expect(&im, -EBADMSG, "fd 3: type 2, but file 2 has 1");
	start(&im);
	add_row(&im, 0xffffffff, 2, FD_TYPES__REG);
	expect(&im, -EBADMSG, "bad number");
	start(&im);
	add_row(&im, 3, 2, FD_TYPES__REG)->flags = 2;
	expect(&im, -EBADMSG, "flags 0x2");
}

/* What others can save and we cannot is said as a whole. */
static void test_foreign_kinds(void **state)
{
	struct images im;
	struct file_build b;
	struct err err = {};

	start(&im);
	im.entry[im.n++] = file_entry_new(FD_TYPES__INOTIFY, 5, 0);
	im.entry[im.n++] = file_entry_new(FD_TYPES__EXT, 6, 0);
	add_row(&im, 8, 5, FD_TYPES__INOTIFY);
	assert_int_equal(load(&im, &b, &err), ERR_REFUSED);
	assert_string_equal(err.text, "task 99: fd 8: a file of type INOTIFY is not supported; "
				      "file 6 of type EXT is not supported");
	end(&im, &b);
}

/* The kernel would signal whoever has the number now. */
static void test_owner_outside(void **state)
{
	static const struct f_owner_ex outside[] = {
		{ F_OWNER_PID, 1 },	 { F_OWNER_TID, 1 }, { F_OWNER_PGRP, 1 },
		{ F_OWNER_PGRP, 0x1ff }, { 7, 99 },	     { F_OWNER_PID, -99 },
	};
	struct images im;

	for (size_t i = 0; i < sizeof(outside) / sizeof(*outside); i++) {
		FownEntry *fown;

		start(&im);
		fown = im.entry[3]->pipe->fown;
		fown->pid_type = outside[i].type;
		fown->pid = outside[i].pid;
		expect(&im, ERR_REFUSED, "file 4: an owner outside of the tree");
	}
}

static void test_owner_inside(void **state)
{
	struct file_build b;
	struct images im;
	struct err err = {};

	start(&im);
	im.entry[3]->pipe->fown->pid_type = F_OWNER_PID;
	im.entry[3]->pipe->fown->pid = 99;
	assert_int_equal(load(&im, &b, &err), 0);
	end(&im, &b);
}

static void test_pipe_data(void **state)
{
	struct images im;

	start(&im);
	write_pipe_data(&im, 50, 4096, "hello");
	expect(&im, -EBADMSG, "pipes-data.img");
	start(&im);
	write_pipe_data(&im, 5, 4, "hello");
	expect(&im, -EBADMSG, "5 bytes in a pipe of 4");
	start(&im);
	write_pipe_data(&im, 5, 0xffffffff, "hello");
	expect(&im, -EBADMSG, "pipe 77");
}

static void test_terminal_without_info(void **state)
{
	struct images im;

	start(&im);
	im.entry[im.n++] = file_entry_new(FD_TYPES__TTY, 5, 0);
	expect(&im, -EBADMSG, "terminal 0 is not in tty-info.img");
}

static void test_fifo_without_path(void **state)
{
	struct images im;

	start(&im);
	im.entry[im.n++] = file_entry_new(FD_TYPES__FIFO, 5, 0);
	expect(&im, -EBADMSG, "FIFO 5 has no path");
}

/* No room below our own descriptors: said before a row is made. */
static void test_too_high(void **state)
{
	struct images im;
	struct file_build b;
	struct err err = {};
	struct thread *t;
	struct batch batch = {};

	start(&im);
	add_row(&im, 5000, 2, FD_TYPES__REG);
	t = task_add_thread(im.task, 99);
	batch.thread = t;
	assert_int_equal(load(&im, &b, &err), 0);
	assert_int_equal(files_top(&b), 5001);
	assert_int_equal(files_give(&b, &batch, 5000, &err), -EMFILE);
	assert_non_null(strstr(err.text, "task 99: fd 5000"));
	end(&im, &b);
}

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_no_files),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_foreign_kinds),
		cmocka_unit_test(test_owner_outside),
		cmocka_unit_test(test_owner_inside),
		cmocka_unit_test(test_pipe_data),
		cmocka_unit_test(test_terminal_without_info),
		cmocka_unit_test(test_fifo_without_path),
		cmocka_unit_test(test_too_high),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
