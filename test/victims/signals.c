/* signals.c - victims: handlers, pending signals, timers that send them. */
#include "victim.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

/* What the kernel keeps; the C library hides flags and the restorer. */
struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

static void get_action(int sig, struct kernel_sigaction *sa)
{
	SYS(syscall(SYS_rt_sigaction, sig, NULL, sa, sizeof(sa->mask)));
}

static void nothing(int sig)
{
}

VICTIM(handlers)
{
	static struct kernel_sigaction before[65], after;
	static const int flags[] = { 0, SA_RESTART, SA_SIGINFO | SA_NODEFER,
				     SA_RESETHAND | SA_ONSTACK, SA_NOCLDSTOP | SA_NOCLDWAIT };

	for (int s = 1; s < 65; s++) {
		struct sigaction sa = { .sa_handler = s % 7 == 3 ? SIG_IGN : nothing,
					.sa_flags = flags[s % 5] };

		if (s == SIGKILL || s == SIGSTOP || s == 32 || s == 33 || s % 6 == 5)
			continue;
		sigaddset(&sa.sa_mask, s % 30 + 1);
		SYS(sigaction(s, &sa, NULL));
	}
	for (int s = 1; s < 65; s++)
		get_action(s, &before[s]);
	ready();
	for (int s = 1; s < 65; s++) {
		get_action(s, &after);
		CHECK(!memcmp(&after, &before[s], sizeof(after)),
		      "signal %d: handler %p flags %lx restorer %p mask %lx, was %p %lx %p %lx", s,
		      after.handler, after.flags, after.restorer, after.mask, before[s].handler,
		      before[s].flags, before[s].restorer, before[s].mask);
	}
}

/* --- pending ---------------------------------------------------------------- */
static void send_thread(int sig, int value)
{
	siginfo_t info = { .si_signo = sig, .si_code = SI_QUEUE };

	info.si_value.sival_int = value;
	info.si_pid = getpid();
	info.si_uid = 4321;
	SYS(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), sig, &info));
}

static void expect_signal(int sig, int code, int value, uid_t uid)
{
	struct timespec none = { 0 };
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	/* The C library's own wait rewrites si_code. */
	CHECK(syscall(SYS_rt_sigtimedwait, &set, &info, &none, 8) == sig,
	      "signal %d is no longer pending", sig);
	CHECK(info.si_code == code, "signal %d: si_code %d, was %d", sig, info.si_code, code);
	CHECK(info.si_pid == getpid() && info.si_uid == uid, "signal %d: from pid %d uid %d", sig,
	      info.si_pid, info.si_uid);
	if (code == SI_QUEUE)
		CHECK(info.si_value.sival_int == value, "signal %d: value %d, was %d", sig,
		      info.si_value.sival_int, value);
}

/* Thread signals are taken before those of the process, each in its order. */
VICTIM(pending)
{
	sigset_t all, pending;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	for (int i = 0; i < 5; i++)
		SYS(sigqueue(getpid(), SIGRTMIN + 1, (union sigval) { .sival_int = 100 + i }));
	SYS(sigqueue(getpid(), SIGUSR1, (union sigval) { .sival_int = -3 }));
	SYS(kill(getpid(), SIGHUP));
	for (int i = 0; i < 3; i++)
		send_thread(SIGRTMIN + 1, 200 + i);
	SYS(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2));
	ready();
	for (int i = 0; i < 3; i++)
		expect_signal(SIGRTMIN + 1, SI_QUEUE, 200 + i, 4321);
	for (int i = 0; i < 5; i++)
		expect_signal(SIGRTMIN + 1, SI_QUEUE, 100 + i, getuid());
	expect_signal(SIGUSR1, SI_QUEUE, -3, getuid());
	expect_signal(SIGHUP, SI_USER, 0, getuid());
	expect_signal(SIGUSR2, SI_TKILL, 0, getuid());
	SYS(sigpending(&pending));
	CHECK(sigisemptyset(&pending), "more signals are pending than were sent");
}

static pthread_barrier_t sent;
static int look;

static void *own_pending(void *number)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	send_thread(SIGRTMIN + 3, 1000 + (long)number);
	pthread_barrier_wait(&sent);
	while (!__atomic_load_n(&look, __ATOMIC_ACQUIRE))
		nap();
	expect_signal(SIGRTMIN + 3, SI_QUEUE, 1000 + (long)number, 4321);
	return NULL;
}

VICTIM(pending_threads)
{
	pthread_t t[4];

	pthread_barrier_init(&sent, NULL, 5);
	for (long i = 0; i < 4; i++)
		CHECK(!pthread_create(&t[i], NULL, own_pending, (void *)i), "pthread_create");
	pthread_barrier_wait(&sent);
	ready();
	__atomic_store_n(&look, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

/* A blocked SIGCHLD with what it says about the child. */
static void leave(void *unused)
{
	child_ready();
	_exit(9);
}

VICTIM(pending_sigchld)
{
	struct timespec none = { 0 };
	siginfo_t info;
	sigset_t chld;
	pid_t kid;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &chld, NULL);
	kid = child(leave, NULL);
	SYS(waitid(P_PID, kid, &info, WEXITED));
	ready();
	CHECK(sigtimedwait(&chld, &info, &none) == SIGCHLD, "SIGCHLD is no longer pending");
	CHECK(info.si_pid == kid && info.si_code == CLD_EXITED && info.si_status == 9,
	      "SIGCHLD speaks of pid %d code %d status %d", info.si_pid, info.si_code,
	      info.si_status);
}

/* --- interval timers ----------------------------------------------------------- */
static const char *const itimer_names[] = { "ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF" };

VICTIM(itimers)
{
	struct itimerval set, now;

	for (int i = 0; i < 3; i++) {
		set = (struct itimerval) { { 100 + i, 7000 }, { 5000 + i, 0 } };
		SYS(setitimer(i, &set, NULL));
	}
	ready();
	for (int i = 0; i < 3; i++) {
		SYS(getitimer(i, &now));
		CHECK(now.it_interval.tv_sec == 100 + i && now.it_interval.tv_usec / 1000 == 7,
		      "%s: interval is %ld.%06ld", itimer_names[i], now.it_interval.tv_sec,
		      now.it_interval.tv_usec);
		CHECK(now.it_value.tv_sec <= 5000 + i && now.it_value.tv_sec > 4800,
		      "%s: %ld s are left of %d", itimer_names[i], now.it_value.tv_sec, 5000 + i);
	}
}

static volatile sig_atomic_t ticks;

static void tick(int sig)
{
	ticks++;
}

/* Ticks come before, and must come after. */
VICTIM(itimer_ticking)
{
	struct itimerval set = { { 0, 10000 }, { 0, 10000 } };
	int before;

	signal(SIGALRM, tick);
	SYS(setitimer(ITIMER_REAL, &set, NULL));
	WAIT_FOR(ticks > 2, "the timer does not tick");
	ready();
	before = ticks;
	WAIT_FOR(ticks > before + 2, "the timer no longer ticks");
}

/* --- POSIX timers ----------------------------------------------------------------- */
struct posix_timer {
	clockid_t clock;
	int notify, seconds, interval;
};

static const struct posix_timer timer_rows[] = {
	{ CLOCK_MONOTONIC, SIGEV_SIGNAL, 3000, 5 },
	{ CLOCK_REALTIME, SIGEV_NONE, 3001, 0 },
	{ CLOCK_MONOTONIC, SIGEV_SIGNAL, 0, 0 }, /* deleted: leaves a hole */
	{ CLOCK_BOOTTIME, SIGEV_THREAD_ID, 3002, 6 },
	{ CLOCK_MONOTONIC, SIGEV_SIGNAL, 0, 0 }, /* not armed */
};
enum { N_TIMERS = sizeof(timer_rows) / sizeof(timer_rows[0]), DELETED = 2 };

static int create_timer(const struct posix_timer *t, int value)
{
	struct sigevent ev = { .sigev_notify = t->notify, .sigev_signo = SIGRTMIN + 2 };
	struct itimerspec its = { { t->interval, 0 }, { t->seconds, 0 } };
	int id;

	ev.sigev_value.sival_int = value;
	ev._sigev_un._tid = gettid();
	SYS(syscall(SYS_timer_create, t->clock, &ev, &id));
	SYS(syscall(SYS_timer_settime, id, 0, &its, NULL));
	return id;
}

VICTIM(posix_timers)
{
	struct itimerspec now;
	int id[N_TIMERS];

	for (int i = 0; i < N_TIMERS; i++)
		id[i] = create_timer(&timer_rows[i], i);
	SYS(syscall(SYS_timer_delete, id[DELETED]));
	ready();
	for (int i = 0; i < N_TIMERS; i++) {
		const struct posix_timer *t = &timer_rows[i];

		if (i == DELETED) {
			CHECK(syscall(SYS_timer_gettime, id[i], &now) < 0,
			      "a deleted timer is back");
			continue;
		}
		SYS(syscall(SYS_timer_gettime, id[i], &now));
		CHECK(now.it_interval.tv_sec == t->interval, "timer %d: interval is %ld", id[i],
		      now.it_interval.tv_sec);
		CHECK(now.it_value.tv_sec <= t->seconds &&
			      now.it_value.tv_sec >= t->seconds - (t->seconds ? 200 : 0),
		      "timer %d: %ld s are left of %d", id[i], now.it_value.tv_sec, t->seconds);
	}
}

static volatile sig_atomic_t timer_value = -1;

static void on_timer(int sig, siginfo_t *info, void *uc)
{
	timer_value = info->si_value.sival_int;
	ticks++;
}

VICTIM(posix_timer_ticking)
{
	struct sigaction sa = { .sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct posix_timer t = { CLOCK_MONOTONIC, SIGEV_SIGNAL, 1, 0 };
	struct itimerspec its = { { 0, 10000000 }, { 0, 10000000 } };
	int before, id;

	SYS(sigaction(SIGRTMIN + 2, &sa, NULL));
	id = create_timer(&t, 4711);
	SYS(syscall(SYS_timer_settime, id, 0, &its, NULL));
	WAIT_FOR(ticks > 2, "the timer does not tick");
	ready();
	before = ticks;
	timer_value = -1;
	WAIT_FOR(ticks > before + 2, "the timer no longer ticks");
	CHECK(timer_value == 4711, "the timer's value is %d", (int)timer_value);
}

/* Expired while its signal was blocked: one signal, and a count of those missed. */
VICTIM(posix_timer_pending)
{
	struct posix_timer t = { CLOCK_MONOTONIC, SIGEV_SIGNAL, 1, 0 };
	struct itimerspec its = { { 0, 0 }, { 0, 1000000 } };
	struct timespec none = { 0 };
	siginfo_t info;
	sigset_t set, pending;
	int id;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	id = create_timer(&t, 99);
	SYS(syscall(SYS_timer_settime, id, 0, &its, NULL));
	WAIT_FOR(!sigpending(&pending) && sigismember(&pending, SIGRTMIN + 2), "no signal comes");
	ready();
	CHECK(sigtimedwait(&set, &info, &none) == SIGRTMIN + 2, "the signal is gone");
	CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == 99, "code %d value %d",
	      info.si_code, info.si_value.sival_int);
}
