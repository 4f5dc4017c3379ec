/* parallel.c - numbers are handed out in rising order, a few at a time, until one fails. */
#include "base/parallel.h"
#include "base/mem.h"

#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_THREADS = 16 };

/* How work is dealt out. */
struct deal {
	size_t threads;	       /* at most */
	size_t worth_a_thread; /* starting one takes as long as reading some files */
	size_t at_a_time;
};

static const struct deal small = { .threads = 8, .worth_a_thread = 32, .at_a_time = 8 };
static const struct deal medium = { .threads = 8, .worth_a_thread = 4, .at_a_time = 2 };
static const struct deal large = { .threads = MAX_THREADS, .worth_a_thread = 1, .at_a_time = 1 };

struct crew {
	const struct deal *deal;
	size_t n;
	parallel_work *work;
	void *arg;
	atomic_size_t next;
	atomic_size_t failed; /* the lowest number that has; SIZE_MAX: none */
	pthread_mutex_t lock; /* of the two below */
	int rc;
	struct err *err;
};

/* Whoever is behind one that failed already need not be heard. */
static void tell(struct crew *c, size_t i, int rc, const struct err *why)
{
	pthread_mutex_lock(&c->lock);
	if (i < atomic_load(&c->failed)) {
		atomic_store(&c->failed, i);
		c->rc = err_set(c->err, rc, "%s", why->text);
	}
	pthread_mutex_unlock(&c->lock);
}

static void *help(void *arg)
{
	struct crew *c = arg;
	struct err why;

	for (;;) {
		size_t i = atomic_fetch_add(&c->next, c->deal->at_a_time);

		for (size_t end = i + c->deal->at_a_time; i < end; i++) {
			int rc;

			if (i >= c->n || i >= atomic_load(&c->failed))
				return NULL;
			why.text[0] = 0;
			rc = c->work(c->arg, i, &why);
			if (rc < 0)
				tell(c, i, rc, &why);
		}
	}
}

size_t processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : (size_t)CPU_COUNT(&set);
}

static size_t threads_for(const struct deal *deal, size_t n)
{
	size_t some = n / deal->worth_a_thread, cpus;

	if (some < 2)
		return 1;
	cpus = processors();
	some = some < cpus ? some : cpus;
	return some < deal->threads ? some : deal->threads;
}

static int loop(size_t n, parallel_work *work, void *arg, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++)
		rc = work(arg, i, err);
	return rc;
}

bool thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, mask;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	rc = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	return rc == 0;
}

static int share(const struct deal *deal, size_t n, parallel_work *work, void *arg, struct err *err)
{
	struct crew c = {
		.deal = deal, .n = n, .work = work, .arg = arg, .failed = SIZE_MAX, .err = err
	};
	size_t wanted = threads_for(deal, n), started = 0;
	pthread_t thread[MAX_THREADS];

	if (wanted < 2)
		return loop(n, work, arg, err);
	pthread_mutex_init(&c.lock, NULL);
	while (started + 1 < wanted && thread_start(&thread[started], help, &c))
		started++;
	help(&c);
	while (started)
		pthread_join(thread[--started], NULL);
	pthread_mutex_destroy(&c.lock);
	return c.rc;
}

int parallel(size_t n, parallel_work *work, void *arg, struct err *err)
{
	return share(&small, n, work, arg, err);
}

int parallel_some(size_t n, parallel_work *work, void *arg, struct err *err)
{
	return share(&medium, n, work, arg, err);
}

int parallel_large(size_t n, parallel_work *work, void *arg, struct err *err)
{
	return share(&large, n, work, arg, err);
}

bool may_be_idle(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	return processors() > 1 && syscall(SYS_capget, &head, data) == 0 &&
	       data[0].effective & 1u << CAP_SYS_NICE;
}

void be_idle(pthread_t thread, bool idle)
{
	struct sched_param zero = {};

	pthread_setschedparam(thread, idle ? SCHED_IDLE : SCHED_OTHER, &zero);
}

struct aside {
	int (*work)(void *arg, struct err *err);
	void *arg;
	int rc;
	struct err err;
	bool started;
	pthread_t thread;
};

static void *do_aside(void *arg)
{
	struct aside *a = arg;

	a->rc = a->work(a->arg, &a->err);
	return NULL;
}

static struct aside *begin(int (*work)(void *arg, struct err *err), void *arg, bool idle)
{
	struct aside *a = xcalloc(1, sizeof(*a));

	a->work = work;
	a->arg = arg;
	a->started = (!idle || may_be_idle()) && thread_start(&a->thread, do_aside, a);
	if (a->started && idle)
		be_idle(a->thread, true);
	return a;
}

struct aside *aside_begin(int (*work)(void *arg, struct err *err), void *arg)
{
	return begin(work, arg, true);
}

struct aside *aside_begin_urgent(int (*work)(void *arg, struct err *err), void *arg)
{
	return begin(work, arg, false);
}

int aside_end(struct aside **at, struct err *err)
{
	struct aside *a = *at;
	int rc;

	if (!a)
		return 0;
	if (a->started) {
		be_idle(a->thread, false);
		pthread_join(a->thread, NULL);
	} else {
		do_aside(a);
	}
	rc = a->rc < 0 ? err_set(err, a->rc, "%s", a->err.text) : a->rc;
	free(a);
	*at = NULL;
	return rc;
}
