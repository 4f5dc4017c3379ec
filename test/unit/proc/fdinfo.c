/* fdinfo.c - what the descriptors of a recorded task are, and the names of links. */
#include "test/unit/proc/unit.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include "criu-lite/proc/fdinfo.h"

static struct proc_fdinfo info_of(int fd)
{
	scoped_proc dir = recorded(ODD);
	struct proc_fdinfo info;
	struct err err = {};

	if (proc_fdinfo_read(dir, fd, &info, &err) < 0)
		fail_msg("%s", err.text);
	return info;
}

static void plain(void **state)
{
	struct proc_fdinfo i = info_of(5);

	assert_int_equal(i.pos, 5);
	assert_int_equal(i.flags, O_RDWR | O_APPEND | 0100000);
	assert_int_equal(i.mnt_id, 27);
	assert_int_equal(i.ino, 10952930);
	assert_int_equal(i.n_locks, 1);
	assert_false(i.is_eventfd || i.is_timerfd || i.is_signalfd || i.is_pidfd);
	assert_int_equal(i.n_epoll, 0);
	assert_int_equal(i.eventfd_id, -1);
}

static void epoll(void **state)
{
	struct proc_fdinfo i = info_of(6);

	assert_int_equal(i.flags, O_RDWR | O_CLOEXEC);
	assert_int_equal(i.n_epoll, 2);
	assert_int_equal(i.epoll[0].tfd, 8);
	assert_int_equal(i.epoll[0].events, EPOLLIN | EPOLLET | EPOLLERR | EPOLLHUP);
	assert_int_equal(i.epoll[0].data, 0x123456789abcdef0);
	assert_int_equal(i.epoll[0].ino, 0x8a5f);
	assert_int_equal(i.epoll[0].sdev, 0xf);
	assert_int_equal(i.epoll[1].tfd, 7);
	assert_true(i.epoll[1].events & EPOLLONESHOT);
	assert_int_equal(i.epoll[1].data, 7);
	proc_fdinfo_release(&i);
	assert_null(i.epoll);
}

static void others(void **state)
{
	struct proc_fdinfo event = info_of(7), sig = info_of(11), timer = info_of(12);
	struct proc_fdinfo inotify = info_of(13), pidfd = info_of(14);

	assert_true(event.is_eventfd);
	assert_int_equal(event.eventfd_count, 42);
	assert_int_equal(event.eventfd_id, 1);
	assert_int_equal(event.eventfd_semaphore, 1);
	assert_true(sig.is_signalfd);
	assert_int_equal(sig.sigmask, 0x8000000000000200);
	assert_true(timer.is_timerfd);
	assert_int_equal(timer.clockid, CLOCK_MONOTONIC);
	assert_int_equal(timer.ticks, 0);
	assert_int_equal(timer.settime_flags, 0);
	assert_int_equal(timer.it_value.tv_sec, 999998);
	assert_int_equal(timer.it_value.tv_nsec, 804786991);
	assert_int_equal(timer.it_interval.tv_sec, 7);
	assert_int_equal(timer.it_interval.tv_nsec, 500000000);
	assert_int_equal(inotify.n_inotify, 1);
	assert_true(pidfd.is_pidfd);
	assert_int_equal(pidfd.pidfd_pid, 10837);
}

#define HEAD "pos:\t0\nflags:\t02\nmnt_id:\t1\n"

static void text(void **state)
{
	struct proc_fdinfo i;

	assert_int_equal(PARSE(proc_fdinfo_parse,
			       HEAD "tfd:        3 events:       19 data:     ffffffffffffffff \n"
				    "Pid:\t-1\nfanotify flags:0 event-flags:0\nSqMask:\t0x7\n",
			       &i, NULL),
			 0);
	assert_int_equal(i.n_epoll, 1);
	assert_int_equal(i.epoll[0].data, UINT64_MAX);
	assert_int_equal(i.epoll[0].ino, 0);
	assert_int_equal(i.pidfd_pid, -1);
	assert_int_equal(i.n_fanotify, 1);
	proc_fdinfo_release(&i);
}

static void bad(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "", "fdinfo: no pos line" },
		{ "pos:\t0\n", "fdinfo: no flags line" },
		{ "pos:\t0\nflags:\t02\n", "fdinfo: no mnt_id line" },
		{ "pos:\t0x\n", "fdinfo: cannot understand \"pos:?0x\"" },
		{ "flags:\t08\n", "fdinfo: cannot understand \"flags:?08\"" },
		{ "flags:\t40000000000\n", "fdinfo: cannot understand \"flags:?40000000000\"" },
		{ HEAD "it_value: (1, 1000000000)\n",
		  "fdinfo: cannot understand \"it_value: (1, 1000000000)\"" },
		{ HEAD "tfd: 1 events: 1\n", "fdinfo: cannot understand \"tfd: 1 events: 1\"" },
		{ HEAD "tfd: 1 events: 1 data: 1 pos:0\n",
		  "fdinfo: cannot understand \"tfd: 1 events: 1 data: 1 pos:0\"" },
		{ HEAD "tfd: 1 events: 1 data: 1\ntfd: x\n",
		  "fdinfo: cannot understand \"tfd: x\"" },
	};
	struct proc_fdinfo i = { .pos = 7 };

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		struct err err = {};

		assert_int_equal(PARSE(proc_fdinfo_parse, rows[k].text, &i, &err), -EINVAL);
		assert_string_equal(err.text, rows[k].says);
	}
	assert_int_equal(i.pos, 7);
}

static void links(void **state)
{
	static const struct {
		const char *link;
		enum proc_link_kind kind;
		uint64_t ino;
		const char *name;
		bool deleted;
	} rows[] = {
		{ "/home/x y", PROC_LINK_PATH, 0, "/home/x y", false },
		{ "/tmp/gone (deleted)", PROC_LINK_PATH, 0, "/tmp/gone", true },
		{ "/dev/null", PROC_LINK_DEV, 0, "/dev/null", false },
		{ "/dev/zero (deleted)", PROC_LINK_DEV, 0, "/dev/zero", true },
		{ "/device", PROC_LINK_PATH, 0, "/device", false },
		{ "pipe:[34620]", PROC_LINK_PIPE, 34620, "pipe:[34620]", false },
		{ "pipe:[34620]x", PROC_LINK_OTHER, 0, "pipe:[34620]x", false },
		{ "pipe:[]", PROC_LINK_OTHER, 0, "pipe:[]", false },
		{ "pipe:[99999999999999999999]", PROC_LINK_OTHER, 0, "pipe:[99999999999999999999]",
		  false },
		{ "socket:[1]", PROC_LINK_SOCKET, 1, "socket:[1]", false },
		{ "anon_inode:[eventfd]", PROC_LINK_ANON, 0, "eventfd", false },
		{ "anon_inode:inotify", PROC_LINK_ANON, 0, "inotify", false },
		{ "anon_inode:", PROC_LINK_ANON, 0, "", false },
		{ "anon_inode:[", PROC_LINK_ANON, 0, "[", false },
		{ "/memfd:ring buffer (deleted)", PROC_LINK_MEMFD, 0, "ring buffer", false },
		{ "/memfd: (deleted)", PROC_LINK_MEMFD, 0, "", false },
		{ "/memfd:a", PROC_LINK_PATH, 0, "/memfd:a", false },
		{ "net:[4026531833]", PROC_LINK_NS, 4026531833, "net", false },
		{ "moon:[4026531833]", PROC_LINK_OTHER, 0, "moon:[4026531833]", false },
		{ "", PROC_LINK_OTHER, 0, "", false },
	};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		struct proc_link l;

		proc_link_parse(rows[k].link, &l);
		assert_int_equal(l.kind, rows[k].kind);
		assert_int_equal(l.ino, rows[k].ino);
		assert_int_equal(l.deleted, rows[k].deleted);
		assert_int_equal(l.name_len, strlen(rows[k].name));
		assert_memory_equal(l.name, rows[k].name, l.name_len);
	}
}

/* The list, the links and their infos fit together. */
static void whole_task(void **state)
{
	scoped_proc dir = recorded(ODD);
	scoped int *fds = NULL;
	size_t n, anon = 0;

	assert_int_equal(proc_list(dir, "fd", &fds, &n, NULL), 0);
	assert_int_equal(n, 14);
	for (size_t i = 0; i < n; i++) {
		scoped char *name = xasprintf("fd/%d", fds[i]);
		scoped char *target = NULL;
		struct proc_fdinfo info;
		struct proc_link l;

		assert_int_equal(proc_readlink(dir, name, &target, NULL), 0);
		proc_link_parse(target, &l);
		assert_int_not_equal(l.kind, PROC_LINK_OTHER);
		assert_int_equal(proc_fdinfo_read(dir, fds[i], &info, NULL), 0);
		assert_int_equal(proc_link_is_anon(&l, "eventfd"), info.is_eventfd);
		assert_int_equal(proc_link_is_anon(&l, "inotify"), info.n_inotify == 1);
		assert_int_equal(proc_link_is_anon(&l, "eventpoll"), info.n_epoll == 2);
		anon += l.kind == PROC_LINK_ANON;
		proc_fdinfo_release(&info);
	}
	assert_int_equal(anon, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),      cmocka_unit_test(epoll), cmocka_unit_test(others),
		cmocka_unit_test(text),	      cmocka_unit_test(bad),   cmocka_unit_test(links),
		cmocka_unit_test(whole_task),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
