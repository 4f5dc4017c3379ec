/*
 * alarmed.c - a task whose timers all run out at one moment, each of them once.
 *
 *	alarmed FILE MS
 *
 * FILE is made when they are set, MS ahead. SIGUSR2: it ends with 42 when every alarm has come,
 * and has come once; else it says which and ends with 1.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define HOUR	    3600

enum { ITIMER, ONCE, TO_THREAD, PERIODIC, LONG_AGO, ALARMS };
static const char *const names[] = { "ITIMER_REAL", "a timer", "a timer of one thread",
				     "a periodic timer", "a timer that ran out before" };
static volatile int came[ALARMS];

static void on_alarm(int sig, siginfo_t *info, void *context)
{
	came[sig == SIGALRM ? ITIMER : info->si_value.sival_int]++;
}

static void nap_ms(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l }, left;

	while (nanosleep(&t, &left) < 0)
		t = left;
}

static void *receive(void *arg)
{
	*(volatile pid_t *)arg = gettid();
	for (;;)
		pause();
	return NULL;
}

static void set(int which, int sig, pid_t tid, int ms, int every_s)
{
	struct itimerspec its = { .it_interval.tv_sec = every_s,
				  .it_value = { ms / 1000, ms % 1000 * 1000000l } };
	struct sigevent ev = { .sigev_notify = tid ? SIGEV_THREAD_ID : SIGEV_SIGNAL,
			       .sigev_signo = sig,
			       .sigev_value.sival_int = which };
	timer_t id;

	ev._sigev_un._tid = tid;
	if (timer_create(CLOCK_MONOTONIC, &ev, &id) < 0 || timer_settime(id, 0, &its, NULL) < 0)
		abort();
}

static void set_all(int ms, pid_t tid)
{
	struct itimerval real = { .it_value = { ms / 1000, ms % 1000 * 1000 } };

	/* One with the number of another that is still to come. */
	set(LONG_AGO, SIGRTMIN + 1, 0, 1, 0);
	while (!came[LONG_AGO])
		nap_ms(1);
	set(ONCE, SIGRTMIN + 1, 0, ms, 0);
	set(TO_THREAD, SIGRTMIN + 2, tid, ms, 0);
	set(PERIODIC, SIGRTMIN + 3, 0, ms, HOUR);
	if (setitimer(ITIMER_REAL, &real, NULL) < 0)
		abort();
}

static int count(void)
{
	int n = 0;

	for (int i = 0; i < ALARMS; i++)
		n += came[i] > 0;
	return n;
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART };
	volatile pid_t tid = 0;
	pthread_t thread;
	sigset_t end;
	int got, rc = 42;

	if (argc != 3)
		return 2;
	sigemptyset(&end);
	sigaddset(&end, SIGUSR2);
	sigprocmask(SIG_BLOCK, &end, NULL);
	sigaction(SIGALRM, &act, NULL);
	for (int i = 1; i <= 3; i++)
		sigaction(SIGRTMIN + i, &act, NULL);
	if (pthread_create(&thread, NULL, receive, (void *)&tid))
		return 1;
	while (!tid)
		nap_ms(1);
	set_all(atoi(argv[2]), tid);
	close(open(argv[1], O_CREAT | O_WRONLY, 0600));
	while (sigwait(&end, &got) || got != SIGUSR2)
		;
	for (int ms = 0; ms < PATIENCE_MS && count() < ALARMS; ms++)
		nap_ms(1);
	for (int i = 0; i < ALARMS; i++)
		if (came[i] != 1)
			rc = printf("%s came %d times\n", names[i], came[i]) > 0;
	return rc;
}
