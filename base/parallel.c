/* parallel.c - numbers are handed out in rising order, a few at a time, until one fails. */
#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

enum { MAX_THREADS = 16 };

/* How work is dealt out. */
struct deal {
	size_t threads;	       /* at most */
	size_t worth_a_thread; /* starting one takes as long as reading some files */
	size_t at_a_time;
};

static const struct deal small = { .threads = 8, .worth_a_thread = 32, .at_a_time = 8 };
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

static int share(const struct deal *deal, size_t n, parallel_work *work, void *arg, struct err *err)
{
	struct crew c = {
		.deal = deal, .n = n, .work = work, .arg = arg, .failed = SIZE_MAX, .err = err
	};
	size_t wanted = threads_for(deal, n), started = 0;
	pthread_t thread[MAX_THREADS];
	sigset_t all, mask;

	if (wanted < 2)
		return loop(n, work, arg, err);
	pthread_mutex_init(&c.lock, NULL);
	/* Signals are for the thread that knows what to do then. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	while (started + 1 < wanted && !pthread_create(&thread[started], NULL, help, &c))
		started++;
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
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

int parallel_large(size_t n, parallel_work *work, void *arg, struct err *err)
{
	return share(&large, n, work, arg, err);
}
