/*
 * roundtrip.c - descriptors of one child, saved, written, read, put into another
 * child, and saved again: both savings must say the same.
 */
#include "puppet.h"
#include "criu-lite/file/kinds.h"
#include "images/img.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>

static char dir[] = "/tmp/files-XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[4][128];
	static int i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

/* Say more than "not equal" about a function that fails. */
#define ok(expr, err)                                                                              \
	do {                                                                                       \
		int rc_ = (expr);                                                                  \
		if (rc_ < 0)                                                                       \
			fail_msg(#expr ": %d: %s", rc_, (err)->text);                              \
	} while (0)

/* --- a child in some state -------------------------------------------------------------- */

struct original {
	pid_t pid;
	struct tree tree;
	struct task *task;
};

static int must(int rc)
{
	if (rc < 0) {
		perror("preparing a child");
		_exit(1);
	}
	return rc;
}

static void original_start(struct original *o, void (*prepare)(void))
{
	int ready[2];
	char c;

	*o = (struct original) {};
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	o->pid = fork();
	if (!o->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		must(dup2(ready[1], PUPPET_BUSY));
		syscall(SYS_close_range, 0, PUPPET_BUSY - 1, 0);
		syscall(SYS_close_range, PUPPET_BUSY + 1, ~0U, 0);
		prepare();
		must(write(PUPPET_BUSY, "", 1));
		close(PUPPET_BUSY);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	/* It has closed its end too when this one reads nothing more. */
	assert_int_equal(read(ready[0], &c, 1), 0);
	close(ready[0]);
	o->task = task_of(&o->tree, o->pid);
}

static void original_end(struct original *o)
{
	kill(o->pid, SIGKILL);
	waitpid(o->pid, NULL, 0);
	tree_release(&o->tree);
}

/* --- there and back ------------------------------------------------------------------------ */

static void empty_dir(int dirfd)
{
	static const char *const names[] = { "files.img", "pipes-data.img", "fifo-data.img",
					     "memfd.img", "tty-info.img" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlinkat(dirfd, names[i], 0);
}

static FdinfoEntry *fdinfo_copy(const FdinfoEntry *row)
{
	FdinfoEntry *copy = xmalloc(sizeof(*copy));

	fdinfo_entry__init(copy);
	copy->id = row->id;
	copy->flags = row->flags;
	copy->type = row->type;
	copy->fd = row->fd;
	return copy;
}

static void copy_tables(const struct task *from, struct task *to)
{
	to->fdinfo = xcalloc(from->n_fdinfo, sizeof(*to->fdinfo));
	/* Backwards: the order of rows is free. */
	for (size_t i = from->n_fdinfo; i-- > 0;)
		to->fdinfo[to->n_fdinfo++] = fdinfo_copy(from->fdinfo[i]);
	to->fs = xmalloc(sizeof(*to->fs));
	fs_entry__init(to->fs);
	to->fs->cwd_id = from->fs->cwd_id;
	to->fs->root_id = from->fs->root_id;
	to->fs->has_umask = true;
	to->fs->umask = from->fs->umask;
}

/* Owners of descriptors keep their numbers here, where the puppet has another one. */
static void add_owners(struct tree *tree, const struct task *saved)
{
	struct task *was = tree_add_task(tree, saved->pid);

	was->state = TASK_DEAD;
	was->pgid = saved->pgid;
}

static void rebuild(int dirfd, const struct task *saved, struct puppet *p)
{
	struct file_build b = { .tree = &p->tree, .dirfd = dirfd };
	struct err err = {};

	add_owners(&p->tree, saved);
	copy_tables(saved, p->task);
	ok(files_load(&b, &err), &err);
	ok(files_give(&b, &p->batch, PUPPET_BUSY, &err), &err);
	ok(files_fs_rebuild(&b, &p->batch, PUPPET_BUSY + 1, &err), &err);
	ok(files_attach(&b, &p->batch, &err), &err);
	ok(batch_flush(&p->batch, &err), &err);
	files_build_release(&b);
	puppet_close_ours(p);
}

static int by_data(const void *pa, const void *pb)
{
	const EventpollTfdEntry *a = *(EventpollTfdEntry *const *)pa;
	const EventpollTfdEntry *b = *(EventpollTfdEntry *const *)pb;

	return a->data < b->data ? -1 : a->data > b->data;
}

/* The kernel's order is that of addresses, and it adds errors to a one-shot that had fired. */
static void forget_targets(EventpollFileEntry *e)
{
	if (e->n_tfd)
		qsort(e->tfd, e->n_tfd, sizeof(*e->tfd), by_data);
	for (size_t i = 0; i < e->n_tfd; i++) {
		e->tfd[i]->inode = 0;
		if (e->tfd[i]->events & EPOLLONESHOT)
			e->tfd[i]->events &= ~(uint32_t)(EPOLLERR | EPOLLHUP);
	}
}

/* Inodes of pipes are new, and so are the times of timers. */
static void forget_the_new(FileEntry *e)
{
	if (e->type == FD_TYPES__PIPE)
		e->pipe->pipe_id = 0;
	if (e->type == FD_TYPES__TIMERFD) {
		assert_true(e->tfd->vsec <= 1000);
		e->tfd->vsec = e->tfd->vsec > 900;
		e->tfd->vnsec = 0;
	}
	if (e->type == FD_TYPES__EVENTPOLL)
		forget_targets(e->epfd);
}

static void same_entries(const struct file_save *a, const struct file_save *b)
{
	unsigned char bytes[2][4096];

	assert_int_equal(a->n_entries, b->n_entries);
	for (size_t i = 0; i < a->n_entries; i++) {
		size_t len = file_entry__get_packed_size(a->entry[i]);

		forget_the_new(a->entry[i]);
		forget_the_new(b->entry[i]);
		len = file_entry__pack(a->entry[i], bytes[0]);
		assert_int_equal(len, file_entry__pack(b->entry[i], bytes[1]));
		assert_memory_equal(bytes[0], bytes[1], len);
	}
}

static void same_tables(const struct task *a, const struct task *b)
{
	assert_int_equal(a->n_fdinfo, b->n_fdinfo);
	for (size_t i = 0; i < a->n_fdinfo; i++) {
		assert_int_equal(a->fdinfo[i]->fd, b->fdinfo[i]->fd);
		assert_int_equal(a->fdinfo[i]->id, b->fdinfo[i]->id);
		assert_int_equal(a->fdinfo[i]->flags, b->fdinfo[i]->flags);
		assert_int_equal(a->fdinfo[i]->type, b->fdinfo[i]->type);
	}
	assert_int_equal(a->fs->umask, b->fs->umask);
	assert_int_equal(a->fs->cwd_id, b->fs->cwd_id);
	assert_int_equal(a->fs->root_id, b->fs->root_id);
}

/* The bytes of an image but for the numbers of pipes. */
static size_t slurp(int dirfd, const char *name, char *buf, size_t size)
{
	scoped_fd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, size);

	assert_true(n >= 0 && (size_t)n < size);
	return n;
}

static void drop_rows(struct task *task)
{
	for (size_t i = 0; i < task->n_fdinfo; i++)
		fdinfo_entry__free_unpacked(task->fdinfo[i], NULL);
	free(task->fdinfo);
	fs_entry__free_unpacked(task->fs, NULL);
	task->fdinfo = NULL;
	task->fs = NULL;
	task->n_fdinfo = 0;
}

static void there_and_back(void (*prepare)(void),
			   void (*also)(const struct original *, const struct puppet *))
{
	scoped_fd dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct refusals no[2] = {};
	struct original o;
	struct puppet p;
	struct err err = {};
	static char data[2][300000];
	size_t len[2];

	empty_dir(dirfd);
	original_start(&o, prepare);
	struct file_save a = { .tree = &o.tree, .refusals = &no[0] };
	ok(files_collect(&a, &err), &err);
	ok(refusals_result(&no[0], &err), &err);
	ok(files_write(&a, dirfd, &err), &err);
	len[0] = slurp(dirfd, "pipes-data.img", data[0], sizeof(data[0]));

	puppet_start(&p);
	rebuild(dirfd, o.task, &p);
	drop_rows(p.task);
	tree_add_task(&p.tree, o.pid)->state = TASK_DEAD; /* an owner that the first tree had */
	struct file_save b = { .tree = &p.tree, .refusals = &no[1] };
	ok(files_collect(&b, &err), &err);
	ok(refusals_result(&no[1], &err), &err);
	same_entries(&a, &b);
	same_tables(o.task, p.task);
	empty_dir(dirfd);
	ok(files_write(&b, dirfd, &err), &err);
	len[1] = slurp(dirfd, "pipes-data.img", data[1], sizeof(data[1]));
	assert_int_equal(len[0], len[1]);
	if (also)
		also(&o, &p);
	files_save_release(&a);
	files_save_release(&b);
	puppet_end(&p);
	original_end(&o);
}

/* --- what is saved and rebuilt ------------------------------------------------------------- */

static void prepare_files(void)
{
	int fd = must(open(in_dir("text"), O_CREAT | O_RDWR | O_TRUNC, 0640));

	must(write(fd, "0123456789", 10));
	must(lseek(fd, 4, SEEK_SET));
	must(dup2(fd, 17)); /* shared, beyond a gap */
	must(fcntl(17, F_SETFD, FD_CLOEXEC));
	must(open(in_dir("text"), O_RDONLY | O_CLOEXEC)); /* the same file, not shared */
	must(dup2(must(open(in_dir("text"), O_WRONLY | O_APPEND | O_NONBLOCK)), 99));
	must(open(dir, O_RDONLY | O_DIRECTORY));
	must(open(dir, O_PATH));
	must(open("/dev/null", O_RDWR));
	must(open("/dev/urandom", O_RDONLY));
	must(chdir(dir));
	umask(027);
}

static void test_files(void **state)
{
	there_and_back(prepare_files, NULL);
}

static void prepare_nothing(void)
{
}

static void test_no_descriptors(void **state)
{
	there_and_back(prepare_nothing, NULL);
}

enum { IN_PIPE = 70000 };

static void prepare_packets(void)
{
	int p[2];

	must(pipe2(p, O_DIRECT));
	must(write(p[1], "first", 5));
	must(write(p[1], "second", 6));
	must(write(p[1], "3", 1));
	must(pipe(p)); /* written in packets once, but no more */
	must(fcntl(p[1], F_SETFL, O_DIRECT));
	must(write(p[1], "one", 3));
	must(write(p[1], "two", 3));
	must(fcntl(p[1], F_SETFL, 0));
}

static void look_at_packets(const struct original *o, const struct puppet *p)
{
	scoped_fd a = file_copy(p->task, 0, NULL), b = file_copy(p->task, 2, NULL);
	char buf[64];

	assert_int_equal(read(a, buf, sizeof(buf)), 5);
	assert_int_equal(read(a, buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "second", 6);
	assert_int_equal(read(a, buf, sizeof(buf)), 1);
	assert_int_equal(read(b, buf, sizeof(buf)), 3);
	assert_int_equal(read(b, buf, sizeof(buf)), 3);
	assert_memory_equal(buf, "two", 3);
}

static void test_packets(void **state)
{
	there_and_back(prepare_packets, look_at_packets);
}

static void prepare_pipes(void)
{
	static char much[IN_PIPE];
	int p[2], extra;

	for (size_t i = 0; i < sizeof(much); i++)
		much[i] = i % 251;
	must(pipe(p)); /* 0 1: full of data, larger than usual */
	must(fcntl(p[1], F_SETPIPE_SZ, 1 << 17));
	must(write(p[1], much, sizeof(much)));
	must(pipe2(p, O_NONBLOCK | O_CLOEXEC)); /* 2 3: empty */
	must(pipe(p));				/* 4 5: only the read end stays */
	must(write(p[1], "left", 4));
	close(p[1]);
	must(pipe(p)); /* 5 6: only the write end stays */
	must(write(p[1], "right", 5));
	close(p[0]);
	must(pipe(p)); /* nothing of its own to read: and another description of its write end */
	extra = must(open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK));
	must(dup2(extra, 40));
	must(open("/proc/self/fd/0", O_RDWR));
}

static void look_into_pipes(const struct original *o, const struct puppet *p)
{
	static char buf[IN_PIPE + 1];
	scoped_fd full = file_copy(p->task, 0, NULL), left = file_copy(p->task, 4, NULL);

	assert_int_equal(fcntl(full, F_GETPIPE_SZ), 1 << 17);
	assert_int_equal(read(full, buf, sizeof(buf)), IN_PIPE);
	for (size_t i = 0; i < IN_PIPE; i++)
		assert_int_equal((unsigned char)buf[i], i % 251);
	assert_int_equal(read(left, buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "left", 4);
	assert_int_equal(read(left, buf, sizeof(buf)), 0); /* nobody writes */
}

static void look_that_originals_stay(const struct original *o, const struct puppet *p)
{
	scoped_fd full = file_copy(o->task, 0, NULL);
	int len = 0;

	assert_int_equal(ioctl(full, FIONREAD, &len), 0);
	assert_int_equal(len, IN_PIPE);
	look_into_pipes(o, p);
}

static void test_pipes(void **state)
{
	there_and_back(prepare_pipes, look_that_originals_stay);
}

static void prepare_fifos(void)
{
	int r;

	must(mkfifo(in_dir("fifo"), 0600));
	r = must(open(in_dir("fifo"), O_RDONLY | O_NONBLOCK));
	must(open(in_dir("fifo"), O_WRONLY));
	must(write(1, "some bytes", 10));
	must(mkfifo(in_dir("lonely"), 0600));
	must(open(in_dir("lonely"), O_RDONLY | O_NONBLOCK));
	must(fcntl(r, F_SETFL, 0));
}

/*
 * A FIFO that two trees have open at once cannot be: the first child goes
 * before the second is built.
 */
static void test_fifos(void **state)
{
	scoped_fd dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct refusals no = {};
	struct original o;
	struct puppet p;
	struct err err = {};
	char buf[64];

	empty_dir(dirfd);
	original_start(&o, prepare_fifos);
	struct file_save a = { .tree = &o.tree, .refusals = &no };
	ok(files_collect(&a, &err), &err);
	ok(refusals_result(&no, &err), &err);
	ok(files_write(&a, dirfd, &err), &err);
	kill(o.pid, SIGKILL);
	waitpid(o.pid, NULL, 0);
	puppet_start(&p);
	rebuild(dirfd, o.task, &p);
	scoped_fd r = file_copy(p.task, 0, &err), lonely = file_copy(p.task, 2, &err);
	assert_int_equal(fcntl(r, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
	assert_int_equal(read(r, buf, sizeof(buf)), 10);
	assert_memory_equal(buf, "some bytes", 10);
	assert_int_equal(read(lonely, buf, sizeof(buf)), 0);
	files_save_release(&a);
	puppet_end(&p);
	tree_release(&o.tree);
}

static void prepare_eventfds(void)
{
	uint64_t much = UINT64_MAX - 1;

	must(eventfd(0, 0));
	must(eventfd(7, EFD_NONBLOCK | EFD_CLOEXEC));
	must(eventfd(3, EFD_SEMAPHORE));
	must(eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK));
	must(write(must(eventfd(0, 0)), &much, sizeof(much)));
}

static void look_at_semaphore(const struct original *o, const struct puppet *p)
{
	scoped_fd plain = file_copy(p->task, 1, NULL), sem = file_copy(p->task, 2, NULL);
	uint64_t v;

	assert_int_equal(read(plain, &v, sizeof(v)), 8);
	assert_int_equal(v, 7);
	assert_int_equal(read(sem, &v, sizeof(v)), 8);
	assert_int_equal(v, 1);
}

static void test_eventfds(void **state)
{
	there_and_back(prepare_eventfds, look_at_semaphore);
}

/* Kernels before 6.5 do not tell semaphores from counters: asking one leaves it as it was. */
static void test_old_kernel(void **state)
{
	static const struct {
		unsigned count;
		int flags;
	} c[] = { { 0, 0 },
		  { 1, 0 },
		  { 2, 0 },
		  { 3000, 0 },
		  { 0, EFD_SEMAPHORE },
		  { 1, EFD_SEMAPHORE },
		  { 2, EFD_SEMAPHORE },
		  { 3000, EFD_SEMAPHORE } };

	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		scoped_fd fd = eventfd(c[i].count, c[i].flags);
		struct proc_fdinfo info = { .is_eventfd = true,
					    .eventfd_count = c[i].count,
					    .eventfd_semaphore = -1 };
		struct fd_look l = { .info = &info, .copy = fd };
		FileEntry *e = file_entry_new(FD_TYPES__EVENTFD, 1, O_RDWR);
		uint64_t left = 0, v;

		assert_int_equal(fd_eventfd.save(NULL, &l, e, NULL), 0);
		assert_int_equal(e->efd->flags, O_RDWR | c[i].flags);
		assert_int_equal(e->efd->counter, c[i].count);
		fcntl(fd, F_SETFL, O_NONBLOCK);
		while (read(fd, &v, sizeof(v)) == sizeof(v))
			left += v;
		assert_int_equal(left, c[i].count);
		file_entry__free_unpacked(e, NULL);
	}
}

static void prepare_timers(void)
{
	struct itimerspec far = { .it_value = { 1000, 0 }, .it_interval = { 5, 6 } };
	struct itimerspec soon = { .it_value = { 0, 1 } };
	struct timespec now;
	int fd = must(timerfd_create(CLOCK_MONOTONIC, 0)), expired;

	must(timerfd_settime(fd, 0, &far, NULL));
	clock_gettime(CLOCK_REALTIME, &now);
	far.it_value.tv_sec += now.tv_sec;
	fd = must(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
	must(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL));
	expired = must(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC));
	must(timerfd_settime(expired, 0, &soon, NULL));
	must(timerfd_create(CLOCK_MONOTONIC, 0)); /* never armed */
	poll(&(struct pollfd) { .fd = expired, .events = POLLIN }, 1, 10000);
}

static void test_timers(void **state)
{
	there_and_back(prepare_timers, NULL);
}

/* As criu writes one that had expired and was not read: no time left, yet it goes on. */
static void test_expired_interval(void **state)
{
	TimerfdEntry tfd = TIMERFD_ENTRY__INIT;
	FileEntry e = FILE_ENTRY__INIT;
	struct err err = {};
	uint64_t n;
	int fd;

	tfd.clockid = CLOCK_MONOTONIC;
	tfd.flags = O_RDWR | O_NONBLOCK;
	tfd.fown = &(FownEntry)FOWN_ENTRY__INIT;
	tfd.ticks = 1;
	tfd.insec = 10000000;
	e.tfd = &tfd;
	ok(fd_timerfd.build(NULL, &e, &fd, &err), &err);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(poll(&(struct pollfd) { .fd = fd, .events = POLLIN }, 1, 10000),
				 1);
		assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	}
	close(fd);
	/* One that somebody has disarmed stays so, whatever its interval. */
	tfd.ticks = 0;
	ok(fd_timerfd.build(NULL, &e, &fd, &err), &err);
	assert_int_equal(poll(&(struct pollfd) { .fd = fd, .events = POLLIN }, 1, 50), 0);
	close(fd);
}

static void prepare_signalfds(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMAX);
	must(signalfd(-1, &set, SFD_NONBLOCK));
	sigemptyset(&set);
	must(signalfd(-1, &set, SFD_CLOEXEC));
}

static void test_signalfds(void **state)
{
	there_and_back(prepare_signalfds, NULL);
}

static void watch(int epfd, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	must(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev));
}

static void prepare_epolls(void)
{
	struct epoll_event ev;
	int p[2], outer = must(epoll_create1(0)), inner = must(epoll_create1(EPOLL_CLOEXEC)), efd;

	must(pipe(p));
	watch(outer, inner, EPOLLIN, 1);
	watch(inner, p[0], EPOLLIN | EPOLLET, ~0ULL);
	watch(inner, p[1], EPOLLOUT | EPOLLONESHOT, 0x123456789abcdefULL);
	watch(outer, p[0], EPOLLIN | EPOLLEXCLUSIVE, 3);
	must(epoll_wait(inner, &ev, 1, 0)); /* the one-shot has fired */
	/* The same number twice: once for what it was before. The old one went with its file. */
	efd = must(eventfd(1, 0));
	watch(outer, efd, EPOLLIN, 4);
	watch(outer, must(dup2(efd, 50)), EPOLLPRI, 5);
	/* The number is another file's by now. */
	watch(outer, must(dup2(must(eventfd(0, 0)), 70)), EPOLLIN, 6);
	must(dup2(70, 71));
	must(dup2(efd, 70));
	must(dup2(outer, 60));
}

static void look_at_one_shot(const struct original *o, const struct puppet *p)
{
	scoped_fd inner = file_copy(p->task, 1, NULL);
	struct epoll_event ev;

	/* Still silent, though its pipe can be written. */
	assert_int_equal(epoll_wait(inner, &ev, 1, 0), 0);
}

static void test_epolls(void **state)
{
	there_and_back(prepare_epolls, look_at_one_shot);
}

static void prepare_owners(void)
{
	struct f_owner_ex owner = { F_OWNER_PID, getpid() };
	int p[2];

	must(pipe(p));
	must(fcntl(p[0], F_SETOWN_EX, &owner));
	must(fcntl(p[0], F_SETSIG, SIGUSR1));
	must(fcntl(p[0], F_SETFL, O_ASYNC | O_NONBLOCK));
	owner.type = F_OWNER_PGRP;
	owner.pid = getpgrp();
	must(fcntl(p[1], F_SETOWN_EX, &owner));
}

static void test_owners(void **state)
{
	there_and_back(prepare_owners, NULL);
}

enum { MANY = 400 };

static void prepare_many(void)
{
	int p[2];

	for (int i = 0; i < MANY / 2; i++) {
		must(pipe(p));
		must(write(p[1], &i, sizeof(i)));
	}
	for (int i = 0; i < MANY; i++)
		must(dup(i));
}

static void look_at_many(const struct original *o, const struct puppet *p)
{
	for (int i = 0; i < MANY / 2; i++) {
		scoped_fd fd = file_copy(p->task, 2 * i, NULL);
		int v = -1;

		assert_int_equal(read(fd, &v, sizeof(v)), sizeof(v));
		assert_int_equal(v, i);
	}
}

static void test_many(void **state)
{
	there_and_back(prepare_many, look_at_many);
}

/* --- two tasks ------------------------------------------------------------------------------- */

static void child_of_family(const int *p, int epfd, int ready)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(PUPPET_BUSY);
	close(p[1]);
	close(1);
	/* A number that the parent does not have, in an instance that both do. */
	must(dup2(must(eventfd(5, 0)), 33));
	watch(epfd, 33, EPOLLIN, 33);
	must(fcntl(p[0], F_SETFD, FD_CLOEXEC));
	close(ready);
	for (;;)
		pause();
}

static void prepare_family(void)
{
	int p[2], ready[2], file, epfd;
	char c;

	file = must(open(in_dir("family"), O_CREAT | O_RDWR | O_TRUNC, 0600));
	must(write(file, "0123456789", 10));
	must(dup2(file, 1));
	must(pipe(p));
	must(write(p[1], "between", 7));
	epfd = must(epoll_create1(0));
	watch(epfd, p[0], EPOLLIN, 1);
	must(pipe(ready));
	if (!must(fork())) {
		close(ready[0]);
		child_of_family(p, epfd, ready[1]);
	}
	close(ready[1]);
	must(read(ready[0], &c, 1)); /* the end: the child is done */
	must(close(ready[0]));
}

static pid_t only_child(pid_t pid)
{
	char path[64];
	int child = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	scoped_file f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &child), 1);
	return child;
}

static void collect(struct file_save *s, struct tree *tree)
{
	struct refusals no = {};
	struct err err = {};

	*s = (struct file_save) { .tree = tree, .refusals = &no };
	ok(files_collect(s, &err), &err);
	ok(refusals_result(&no, &err), &err);
}

static void rebuild_family(int dirfd, const struct tree *saved, struct puppet *p)
{
	struct tree tree = {};
	struct file_build b = { .tree = &tree, .dirfd = dirfd };
	struct err err = {};

	for (int i = 0; i < 2; i++) {
		copy_tables(saved->task[i], p[i].task);
		ARRAY_PUSH(tree.task, tree.n_tasks, tree.cap_tasks, p[i].task);
	}
	ok(files_load(&b, &err), &err);
	for (int i = 0; i < 2; i++)
		ok(files_give(&b, &p[i].batch, PUPPET_BUSY, &err), &err);
	for (int i = 0; i < 2; i++) {
		ok(files_attach(&b, &p[i].batch, &err), &err);
		ok(batch_flush(&p[i].batch, &err), &err);
	}
	files_build_release(&b);
	free(tree.task);
	for (int i = 0; i < 2; i++)
		puppet_close_ours(&p[i]);
}

static void test_family(void **state)
{
	scoped_fd dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct file_save a, b;
	struct tree again = {};
	struct original o;
	struct puppet p[2];
	struct err err = {};

	empty_dir(dirfd);
	original_start(&o, prepare_family);
	task_of(&o.tree, only_child(o.pid))->parent = o.task;
	collect(&a, &o.tree);
	ok(files_write(&a, dirfd, &err), &err);
	/* text (twice in the parent), two pipe ends, epoll, root and cwd; the child's eventfd. */
	assert_int_equal(a.n_entries, 7);
	for (int i = 0; i < 2; i++)
		puppet_start(&p[i]);
	rebuild_family(dirfd, &o.tree, p);
	for (int i = 0; i < 2; i++)
		task_of(&again, p[i].pid)->parent = i ? again.task[0] : NULL;
	collect(&b, &again);
	same_entries(&a, &b);
	for (int i = 0; i < 2; i++) {
		same_tables(o.tree.task[i], again.task[i]);
	}
	files_save_release(&a);
	files_save_release(&b);
	tree_release(&again);
	for (int i = 0; i < 2; i++)
		puppet_end(&p[i]);
	original_end(&o);
}

/* --- what is refused ------------------------------------------------------------------------ */

static void refused(void (*prepare)(void), const char *const *what, size_t n)
{
	struct refusals no = {};
	struct original o;
	struct err err = {};
	char line[300];

	original_start(&o, prepare);
	struct file_save s = { .tree = &o.tree, .refusals = &no };
	ok(files_collect(&s, &err), &err);
	for (size_t i = 0; i < no.n && i < n; i++) {
		snprintf(line, sizeof(line), "task %d: fd %s", o.pid, what[i]);
		assert_string_equal(no.line[i], line);
	}
	assert_int_equal(no.n, n);
	assert_int_equal(refusals_result(&no, &err), ERR_REFUSED);
	files_save_release(&s);
	refusals_release(&no);
	original_end(&o);
}

static void prepare_sockets(void)
{
	int p[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	must(socket(AF_INET, SOCK_STREAM, 0));
	must(socket(AF_INET6, SOCK_DGRAM, 0));
	must(socket(AF_NETLINK, SOCK_RAW, 0));
	must(dup(2)); /* once is enough */
}

static void test_sockets(void **state)
{
	static const char *const what[] = {
		"0: socket (unix stream) is not supported",
		"1: socket (unix stream) is not supported",
		"2: socket (tcp) is not supported",
		"3: socket (udp over IPv6) is not supported",
		"4: socket (netlink raw) is not supported",
	};

	refused(prepare_sockets, what, ARRAY_SIZE(what));
}

static char gone_text[3][200];

static void prepare_gone(void)
{
	int fd;

	must(open(in_dir("gone"), O_CREAT | O_RDWR, 0600));
	must(unlink(in_dir("gone")));
	must(open(in_dir("linked"), O_CREAT | O_RDWR, 0600));
	must(link(in_dir("linked"), in_dir("other")));
	must(unlink(in_dir("linked")));
	must(mkdir(in_dir("sub"), 0700));
	must(open(in_dir("sub"), O_RDONLY));
	must(rmdir(in_dir("sub")));
	fd = must(open(in_dir("locked"), O_CREAT | O_RDWR, 0600));
	must(flock(fd, LOCK_EX));
	must(open("/proc/self/status", O_RDONLY));
}

static void test_gone(void **state)
{
	const char *what[] = { gone_text[0], gone_text[1], gone_text[2], NULL, NULL };
	struct refusals no = {};
	struct original o;
	char locked[200], status[200];

	snprintf(gone_text[0], 200, "deleted file %s (deleted) is not supported", in_dir("gone"));
	snprintf(gone_text[1], 200, "deleted file %s (deleted) is not supported", in_dir("linked"));
	snprintf(gone_text[2], 200, "deleted directory %s (deleted) is not supported",
		 in_dir("sub"));
	snprintf(locked, sizeof(locked), "a file lock or lease (on %s) is not supported",
		 in_dir("locked"));
	original_start(&o, prepare_gone);
	snprintf(status, sizeof(status), "/proc/%d/status, a file of a task, is not supported",
		 o.pid);
	what[3] = locked;
	what[4] = status;
	struct file_save s = { .tree = &o.tree, .refusals = &no };
	assert_int_equal(files_collect(&s, NULL), 0);
	assert_int_equal(no.n, ARRAY_SIZE(what));
	for (size_t i = 0; i < no.n; i++)
		assert_non_null(strstr(no.line[i], what[i]));
	files_save_release(&s);
	refusals_release(&no);
	original_end(&o);
}

static void prepare_anon(void)
{
	must(syscall(SYS_inotify_init1, 0));
	must(syscall(SYS_pidfd_open, getpid(), 0));
	must(open("/proc/self/ns/net", O_RDONLY));
	must(open("/dev/ptmx", O_RDWR | O_NOCTTY));
}

static void test_anon(void **state)
{
	struct refusals no = {};
	struct original o;
	static const char *const what[] = {
		"fd 0: inotify is not supported",
		"fd 1: pidfd (of task ",
		"fd 2: namespace net:[",
		"fd 3: pseudo terminal master /dev/p",
	};

	original_start(&o, prepare_anon);
	struct file_save s = { .tree = &o.tree, .refusals = &no };
	assert_int_equal(files_collect(&s, NULL), 0);
	for (size_t i = 0; i < no.n && i < ARRAY_SIZE(what); i++)
		if (!strstr(no.line[i], what[i]))
			fail_msg("%s, not %s", no.line[i], what[i]);
	assert_int_equal(no.n, ARRAY_SIZE(what));
	files_save_release(&s);
	refusals_release(&no);
	original_end(&o);
}

static void prepare_lock_of_child(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int ready[2], fd = must(open(in_dir("by-child"), O_CREAT | O_RDWR, 0600));
	char c;

	must(pipe(ready));
	if (!must(fork())) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(PUPPET_BUSY);
		must(fcntl(fd, F_SETLK, &lock));
		syscall(SYS_close_range, 1, ~0U, 0);
		for (;;)
			pause();
	}
	close(ready[1]);
	must(read(ready[0], &c, 1));
	close(ready[0]);
}

/* The description is the parent's, and so was saved before, but the lock is not. */
static void test_lock_of_child(void **state)
{
	struct refusals no = {};
	struct original o;
	struct err err = {};
	char line[300];

	original_start(&o, prepare_lock_of_child);
	task_of(&o.tree, only_child(o.pid))->parent = o.task;
	struct file_save s = { .tree = &o.tree, .refusals = &no };
	ok(files_collect(&s, &err), &err);
	assert_int_equal(no.n, 1);
	snprintf(line, sizeof(line), "task %d: fd 0: a file lock or lease (on %s) is not supported",
		 o.tree.task[1]->pid, in_dir("by-child"));
	assert_string_equal(no.line[0], line);
	files_save_release(&s);
	refusals_release(&no);
	original_end(&o);
}

static int strange[2]; /* ends that the test itself keeps */

static void prepare_strange(void)
{
	/* Taken from the parent, which holds the other ends. */
	int parent = must(syscall(SYS_pidfd_open, getppid(), 0));

	must(dup2(must(syscall(SYS_pidfd_getfd, parent, strange[0], 0)), 10));
	must(dup2(must(syscall(SYS_pidfd_getfd, parent, strange[1], 0)), 11));
	syscall(SYS_close_range, 0, 9, 0);
}

static void test_strangers(void **state)
{
	static const char *const what[] = {
		"10: pipe whose write end is held outside of the tree is not supported",
		"11: pipe whose read end is held outside of the tree is not supported",
	};
	int a[2], b[2];

	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	assert_int_equal(pipe2(b, O_CLOEXEC), 0);
	strange[0] = a[0];
	strange[1] = b[1];
	refused(prepare_strange, what, ARRAY_SIZE(what));
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

static void prepare_lost_target(void)
{
	int ep = must(epoll_create1(0)), efd = must(eventfd(0, 0));

	watch(ep, efd, EPOLLIN, 0);
	/* Only a child keeps it open, which is not in the tree. */
	if (!must(fork())) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(PUPPET_BUSY);
		close(ep);
		for (;;)
			pause();
	}
	close(efd);
}

static void test_lost_target(void **state)
{
	static const char *const what[] = {
		"0: epoll that watches a file that was descriptor 1 and is none of the task any more is not supported",
	};

	refused(prepare_lost_target, what, ARRAY_SIZE(what));
}

/* --- what is not there any more ----------------------------------------------------------- */

static void expect_open_error(RegFileEntry *reg, int rc, const char *text)
{
	struct err err = {};
	int fd;

	assert_int_equal(file_reg_open(&(struct file_build) {}, reg, &fd, &err), rc);
	assert_string_equal(err.text, text);
}

static void test_changed_files(void **state)
{
	RegFileEntry reg = REG_FILE_ENTRY__INIT;
	char text[300], path[128];

	snprintf(path, sizeof(path), "%s/changed", dir);
	scoped_fd fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);

	assert_int_equal(write(fd, "four", 4), 4);
	reg.name = path;
	reg.has_size = reg.has_mode = true;
	reg.size = 5;
	reg.mode = S_IFREG | 0600;
	snprintf(
		text, sizeof(text),
		"%s: its size is 4 bytes, but was 5 when saved (the file as it was has to be put there)",
		path);
	expect_open_error(&reg, -ESTALE, text);
	reg.mode = S_IFREG | 0644;
	snprintf(text, sizeof(text), "%s: its mode is 0100600, but was 0100644 when saved", path);
	expect_open_error(&reg, -ESTALE, text);
	reg.flags = O_CREAT | O_TRUNC;
	snprintf(text, sizeof(text), "%s: open flags 01100 are not supported", path);
	expect_open_error(&reg, ERR_REFUSED, text);
	reg.flags = 0;
	unlink(path);
	snprintf(text, sizeof(text), "%s: it was there when saved, but is gone", path);
	expect_open_error(&reg, -ENOENT, text);
	mkfifo(path, 0600);
	snprintf(text, sizeof(text),
		 "%s: neither a regular file nor a directory or harmless device", path);
	expect_open_error(&reg, ERR_REFUSED, text);
	unlink(path);
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
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_pipes),
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_fifos),
		cmocka_unit_test(test_eventfds),
		cmocka_unit_test(test_old_kernel),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_expired_interval),
		cmocka_unit_test(test_signalfds),
		cmocka_unit_test(test_epolls),
		cmocka_unit_test(test_owners),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_family),
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_anon),
		cmocka_unit_test(test_lock_of_child),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_lost_target),
		cmocka_unit_test(test_changed_files),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
