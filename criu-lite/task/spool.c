/* spool.c - a thread that writes one buffer while the other one is filled. */
#include "criu-lite/task/spool.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* One buffer's way to its file. */
struct job {
	const char *from;
	size_t len;
	int fd;
	uint64_t offset;
};

struct spool {
	size_t len;
	char *buffer[2];
	int filling; /* which of them the caller has */
	size_t full; /* buffers put that were full */
	bool running;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t turn; /* something below has changed */
	struct job job;	     /* the thread's, while .from */
	bool end;
	int rc; /* of the first that failed */
	struct err err;
};

struct spool *spool_new(size_t buffer_len)
{
	struct spool *s = xcalloc(1, sizeof(*s));

	s->len = buffer_len;
	s->buffer[0] = xmalloc(buffer_len);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->turn, NULL);
	return s;
}

char *spool_buffer(struct spool *s)
{
	return s->buffer[s->filling];
}

static int write_job(struct job j, struct err *err)
{
	while (j.len) {
		ssize_t done = pwrite(j.fd, j.from, j.len, j.offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return err_errno(err, "writing pages");
		j.from += done;
		j.len -= done;
		j.offset += done;
	}
	return 0;
}

static void *writer(void *arg)
{
	struct spool *s = arg;
	struct err err;

	pthread_mutex_lock(&s->lock);
	while (!s->end) {
		struct job j = s->job;
		int rc;

		if (!j.from) {
			pthread_cond_wait(&s->turn, &s->lock);
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		rc = write_job(j, &err);
		pthread_mutex_lock(&s->lock);
		if (rc < 0) {
			s->rc = rc;
			s->err = err;
		}
		s->job.from = NULL;
		pthread_cond_broadcast(&s->turn);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static bool start(struct spool *s)
{
	sigset_t all, mask;

	if (s->running)
		return true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	s->running = pthread_create(&s->thread, NULL, writer, s) == 0;
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (s->running && !s->buffer[1])
		s->buffer[1] = xmalloc(s->len);
	return s->running;
}

int spool_drain(struct spool *s, struct err *err)
{
	int rc;

	pthread_mutex_lock(&s->lock);
	while (s->job.from)
		pthread_cond_wait(&s->turn, &s->lock);
	rc = s->rc;
	pthread_mutex_unlock(&s->lock);
	return rc < 0 ? err_set(err, rc, "%s", s->err.text) : 0;
}

int spool_put(struct spool *s, size_t len, int fd, uint64_t offset, struct err *err)
{
	struct job j = { .from = spool_buffer(s), .len = len, .fd = fd, .offset = offset };
	int rc = spool_drain(s, err);

	if (rc < 0 || !len)
		return rc;
	s->full += len == s->len;
	if (s->full < 2 || !start(s)) {
		s->rc = write_job(j, &s->err);
		return s->rc < 0 ? err_set(err, s->rc, "%s", s->err.text) : 0;
	}
	pthread_mutex_lock(&s->lock);
	s->job = j;
	pthread_cond_broadcast(&s->turn);
	pthread_mutex_unlock(&s->lock);
	s->filling ^= 1;
	return 0;
}

void spool_free(struct spool *s)
{
	if (!s)
		return;
	if (s->running) {
		pthread_mutex_lock(&s->lock);
		s->end = true;
		pthread_cond_broadcast(&s->turn);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
	}
	pthread_cond_destroy(&s->turn);
	pthread_mutex_destroy(&s->lock);
	free(s->buffer[0]);
	free(s->buffer[1]);
	free(s);
}
