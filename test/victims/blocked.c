/*
 * blocked.c - victims: asleep in a system call. Nobody may notice that the
 * call was interrupted: no EINTR, no timeout that is lost or never comes.
 *
 * One row a call: who sleeps (a thread), what wakes it, what it must return.
 * `call` says which; with `limit` (milliseconds) the call is to time out by
 * itself instead of being woken.
 */
#include "victim.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static int fd[2], epoll, word, sem;
static pid_t kid, sleeper_tid;
static long limit; /* milliseconds, or -1 */
static long result;
static int result_errno;
static volatile sig_atomic_t handled;

static struct timespec *limit_ts(void)
{
	static struct timespec t;

	t = (struct timespec) { limit / 1000, limit % 1000 * 1000000 };
	return limit < 0 ? NULL : &t;
}

static void make_pipe(void)
{
	SYS(pipe(fd));
}

static void write_pipe(void)
{
	CHECK(write(fd[1], "x", 1) == 1, "write");
}

static long in_read(void)
{
	char c;

	return read(fd[0], &c, 1);
}

/* A pipe that is full: one page, which the writer cannot get rid of. */
static void fill_pipe(void)
{
	char page[PAGE];

	SYS(pipe(fd));
	SYS(fcntl(fd[1], F_SETPIPE_SZ, PAGE));
	fill(page, PAGE, 9);
	CHECK(write(fd[1], page, PAGE) == PAGE, "write");
}

static long in_write(void)
{
	return write(fd[1], "y", 1);
}

static void drain_pipe(void)
{
	char page[PAGE];

	CHECK(read(fd[0], page, PAGE) == PAGE, "read");
	CHECK(differs(page, PAGE, 9) < 0, "the pipe's content changed");
}

static long in_poll(void)
{
	struct pollfd p = { fd[0], POLLIN, 0 };

	return poll(&p, 1, limit);
}

static long in_ppoll(void)
{
	struct pollfd p = { fd[0], POLLIN, 0 };

	return ppoll(&p, 1, limit_ts(), NULL);
}

static long in_select(void)
{
	struct timeval t = { limit / 1000, limit % 1000 * 1000 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd[0], &set);
	return select(fd[0] + 1, &set, NULL, NULL, limit < 0 ? NULL : &t);
}

static long in_pselect(void)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd[0], &set);
	return pselect(fd[0] + 1, &set, NULL, NULL, limit_ts(), NULL);
}

static void make_epoll(void)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 0x123456789abcdef0 };

	SYS(pipe(fd));
	epoll = SYS(epoll_create1(0));
	SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd[0], &e));
}

static long in_epoll_wait(void)
{
	struct epoll_event e = { 0 };
	int n = epoll_wait(epoll, &e, 1, limit);

	CHECK(n != 1 || e.data.u64 == 0x123456789abcdef0, "epoll data changed");
	return n;
}

static long in_epoll_pwait(void)
{
	struct epoll_event e;
	sigset_t mask;

	sigfillset(&mask);
	return epoll_pwait(epoll, &e, 1, limit, &mask);
}

static long in_epoll_pwait2(void)
{
	struct epoll_event e;
	sigset_t mask;

	sigfillset(&mask);
	return syscall(SYS_epoll_pwait2, epoll, &e, 1, limit_ts(), &mask, sizeof(uint64_t));
}

static long in_futex(void)
{
	return syscall(SYS_futex, &word, FUTEX_WAIT, 0, limit_ts(), NULL, 0);
}

static void wake_futex(void)
{
	word = 1;
	syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static long in_futex_bitset(void)
{
	struct timespec t, *r = limit_ts();

	clock_gettime(CLOCK_MONOTONIC, &t);
	if (r) {
		t.tv_sec += r->tv_sec;
		t.tv_nsec = 0; /* an absolute time, earlier by less than a second */
	}
	return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, r ? &t : NULL, NULL, 1);
}

static long in_nanosleep(void)
{
	return nanosleep(limit_ts(), NULL);
}

static long in_clock_nanosleep(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += limit / 1000;
	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void end_when_told(void *unused)
{
	child_ready();
	wait_mark("kid-may-end");
}

static void make_kid(void)
{
	kid = child(end_when_told, NULL);
}

static void end_kid(void)
{
	mark("kid-may-end");
}

static long in_wait4(void)
{
	return wait4(kid, NULL, 0, NULL) == kid;
}

static long in_waitid(void)
{
	siginfo_t info;

	return waitid(P_PID, kid, &info, WEXITED) == 0 && info.si_pid == kid;
}

static sigset_t usr2(void)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGUSR2);
	return s;
}

static long in_sigtimedwait(void)
{
	sigset_t s = usr2();
	siginfo_t info;

	return sigtimedwait(&s, &info, limit_ts());
}

static void send_usr2(void)
{
	SYS(syscall(SYS_tgkill, getpid(), sleeper_tid, SIGUSR2));
}

static void count_usr2(int sig)
{
	handled++;
}

static void catch_usr2(void)
{
	struct sigaction sa = { .sa_handler = count_usr2 };

	SYS(sigaction(SIGUSR2, &sa, NULL));
}

/* These two do end with EINTR, but only when their signal comes. */
static long in_sigsuspend(void)
{
	sigset_t mask, now;
	long rc;

	sigfillset(&mask);
	sigdelset(&mask, SIGUSR2);
	rc = sigsuspend(&mask);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	CHECK(sigismember(&now, SIGUSR2) == 1 && !sigismember(&now, SIGUSR1),
	      "sigsuspend left another mask behind");
	return rc == -1 && errno == EINTR && handled == 1;
}

static long in_pause(void)
{
	sigset_t s = usr2();
	long rc;

	pthread_sigmask(SIG_UNBLOCK, &s, NULL);
	rc = syscall(SYS_pause);
	return rc == -1 && errno == EINTR && handled == 1;
}

static void make_sem(void)
{
	sem = SYS(semget(IPC_PRIVATE, 1, 0600));
}

static long in_semtimedop(void)
{
	struct sembuf down = { 0, -1, 0 };

	return semtimedop(sem, &down, 1, limit_ts());
}

static void raise_sem(void)
{
	struct sembuf up = { 0, 1, 0 };

	SYS(semop(sem, &up, 1));
}

static void remove_sem(void)
{
	SYS(semctl(sem, 0, IPC_RMID));
}

static void make_sockets(void)
{
	struct timeval t = { limit / 1000, limit % 1000 * 1000 };

	SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
	if (limit >= 0)
		SYS(setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
}

static long in_recv(void)
{
	char c;

	return recv(fd[0], &c, 1, 0);
}

static void make_fifo(void)
{
	SYS(mkfifo(in_dir("fifo"), 0600));
}

static long in_open_fifo(void)
{
	return open(in_dir("fifo"), O_RDONLY) >= 0;
}

static void open_other_end(void)
{
	SYS(open(in_dir("fifo"), O_WRONLY));
}

static void make_eventfd(void)
{
	fd[0] = fd[1] = SYS(eventfd(0, 0));
}

static long in_read_eventfd(void)
{
	uint64_t v = 0;

	return read(fd[0], &v, 8) == 8 && v == 5;
}

static void raise_eventfd(void)
{
	uint64_t v = 5;

	CHECK(write(fd[1], &v, 8) == 8, "write");
}

/* A ring without entries is enough to wait in. What it waits for, any task may ask for. */
static struct io_uring_params ring;

static void make_ring(void)
{
	fd[0] = SYS(syscall(SYS_io_uring_setup, 8, &ring));
}

static long in_ring(void)
{
	return syscall(SYS_io_uring_enter, fd[0], 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
}

/* An entry of zeros does nothing. */
static void complete_in_ring(void)
{
	size_t len = ring.sq_off.array + ring.sq_entries * sizeof(uint32_t);
	char *sq = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd[0], IORING_OFF_SQ_RING);

	CHECK(sq != MAP_FAILED, "mmap of the ring");
	__atomic_store_n((uint32_t *)(sq + ring.sq_off.tail), 1, __ATOMIC_RELEASE);
	CHECK(syscall(SYS_io_uring_enter, fd[0], 1, 0, 0, NULL, 0) == 1, "submitting");
	SYS(munmap(sq, len));
}

static const struct call {
	const char *name;
	long nr;
	void (*make)(void);
	long (*sleep)(void);
	void (*wake)(void);
	long woken;	   /* what sleep() gives when woken */
	long timed_out;	   /* ... and after the limit, */
	int timeout_errno; /* with this errno when that is -1 */
	void (*after)(void);
} calls[] = {
	{ "read", SYS_read, make_pipe, in_read, write_pipe, 1 },
	{ "write", SYS_write, fill_pipe, in_write, drain_pipe, 1 },
	{ "poll", SYS_poll, make_pipe, in_poll, write_pipe, 1, 0 },
	{ "ppoll", SYS_ppoll, make_pipe, in_ppoll, write_pipe, 1, 0 },
	{ "select", SYS_pselect6, make_pipe, in_select, write_pipe, 1, 0 },
	{ "pselect", SYS_pselect6, make_pipe, in_pselect, write_pipe, 1, 0 },
	{ "epoll-wait", SYS_epoll_wait, make_epoll, in_epoll_wait, write_pipe, 1, 0 },
	{ "epoll-pwait", SYS_epoll_pwait, make_epoll, in_epoll_pwait, write_pipe, 1, 0 },
	{ "epoll-pwait2", SYS_epoll_pwait2, make_epoll, in_epoll_pwait2, write_pipe, 1, 0 },
	{ "io-uring-enter", SYS_io_uring_enter, make_ring, in_ring, complete_in_ring, 0 },
	{ "futex", SYS_futex, NULL, in_futex, wake_futex, 0, -1, ETIMEDOUT },
	{ "futex-bitset", SYS_futex, NULL, in_futex_bitset, wake_futex, 0, -1, ETIMEDOUT },
	{ "nanosleep", SYS_clock_nanosleep, NULL, in_nanosleep, NULL, 0, 0 },
	{ "clock-nanosleep", SYS_clock_nanosleep, NULL, in_clock_nanosleep, NULL, 0, 0 },
	{ "wait4", SYS_wait4, make_kid, in_wait4, end_kid, 1 },
	{ "waitid", SYS_waitid, make_kid, in_waitid, end_kid, 1 },
	{ "sigtimedwait", SYS_rt_sigtimedwait, NULL, in_sigtimedwait, send_usr2, SIGUSR2, -1,
	  EAGAIN },
	{ "sigsuspend", SYS_rt_sigsuspend, catch_usr2, in_sigsuspend, send_usr2, 1 },
	{ "pause", SYS_pause, catch_usr2, in_pause, send_usr2, 1 },
	{ "semtimedop", SYS_semtimedop, make_sem, in_semtimedop, raise_sem, 0, -1, EAGAIN,
	  remove_sem },
	{ "recv", SYS_recvfrom, make_sockets, in_recv, write_pipe, 1, -1, EAGAIN },
	{ "open-fifo", SYS_openat, make_fifo, in_open_fifo, open_other_end, 1 },
	{ "read-eventfd", SYS_read, make_eventfd, in_read_eventfd, raise_eventfd, 1 },
};

static const struct call *find_call(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!strcmp(calls[i].name, name))
			return &calls[i];
	fail("no row for call %s", name);
}

static void *sleeper(void *row)
{
	const struct call *call = row;
	sigset_t s = usr2();

	pthread_sigmask(SIG_BLOCK, &s, NULL);
	__atomic_store_n(&sleeper_tid, gettid(), __ATOMIC_RELEASE);
	errno = 0;
	result = call->sleep();
	result_errno = errno;
	return NULL;
}

static void wait_sleeper(const struct call *call)
{
	WAIT_FOR(__atomic_load_n(&sleeper_tid, __ATOMIC_ACQUIRE), "the thread does not start");
	/* select(2) is a call of its own in older C libraries. */
	if (call->nr == SYS_pselect6 || call->nr == SYS_semtimedop)
		nap();
	else
		wait_asleep(sleeper_tid, call->nr);
}

VICTIM(blocked)
{
	const struct call *call = find_call(param_text("call", "read"));
	struct timespec end;
	pthread_t t;

	limit = param("limit", -1);
	if (call->make)
		call->make();
	CHECK(!pthread_create(&t, NULL, sleeper, (void *)call), "cannot start a thread");
	wait_sleeper(call);
	if (limit >= 0)
		maps_may_change(); /* the thread may end first */
	ready();
	if (limit < 0)
		call->wake();
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 20 + (limit > 0 ? limit / 1000 : 0);
	CHECK(!pthread_timedjoin_np(t, NULL, &end), "%s never returned", call->name);
	errno = result_errno;
	if (result != (limit < 0 ? call->woken : call->timed_out))
		fail_errno("%s gave %ld", call->name, result);
	if (limit >= 0 && call->timed_out == -1 && result_errno != call->timeout_errno)
		fail_errno("%s", call->name);
	if (call->after)
		call->after();
}

/* The same in the leader itself, and in a child that has nothing else. */
static void just_read(void *unused)
{
	child_ready();
	CHECK(in_read() == 1, "read: %s", strerror(errno));
}

VICTIM(blocked_child)
{
	pid_t reader;

	make_pipe();
	reader = child(just_read, NULL);
	wait_asleep(reader, SYS_read);
	ready();
	write_pipe();
	join(reader);
}
