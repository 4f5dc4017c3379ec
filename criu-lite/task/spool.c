/* spool.c - a ring of memory, a queue of what lies in it, and whoever empties both. */
#include "criu-lite/task/spool.h"
#include "base/mem.h"
#include "base/parallel.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define HOLD_MOST ((size_t)128 << 20) /* more is written while it is read */
#define HOLD_SOME (4 * SPOOL_ROOM)    /* where more would not stay in the cache */
#define HOLD_IDLE ((size_t)8 << 20)   /* less is not worth a thread */

/* Bytes on their way into their file, or, without bytes, the end of a file. */
struct job {
	struct job *next;
	struct pages_writer *w;
	const char *from; /* NULL: the end */
	size_t len;
	bool lent; /* not in the ring */
	bool summed;
};

struct spool {
	char *ring;
	size_t len, head; /* of the ring; @head: the next room */
	bool running, hopeless;
	bool ample; /* room for all that is expected: the caller does not wait, and does not sum */
	bool fresh; /* nothing lies behind the head yet */
	bool aside; /* the thread has what time is left over */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t turn; /* something below has changed */
	struct job *first, **last;
	struct job *own, **own_last; /* the caller's, not yet behind those */
	bool end;
	int rc; /* of the first that failed */
	struct err err;

	struct pages_writer **writer; /* until it is closed */
	size_t n_writers, cap_writers;
	SdBlockSums **sums;
	size_t n_sums, cap_sums;
};

/*
 * A page that is met for the first time costs a fault, and on a virtual machine perhaps
 * a page of the host. By MADV_POPULATE_WRITE it would cost less where pages are small, but that
 * locks our address space, and a thread that reads smaps meanwhile would wait for memory.
 */
static void fault_in(char *at, size_t len)
{
	for (size_t i = 0; i < len; i += IMG_PAGE_SIZE)
		((volatile char *)at)[i] = 0;
}

static void step_forward(struct spool *s)
{
	if (s->aside)
		be_idle(s->thread, false);
	s->aside = false;
}

/* --- one job after the other ----------------------------------------------------- */

static void sum_job(struct job *j)
{
	if (j->from && !j->summed)
		pages_sum(j->w, j->from, j->len);
	j->summed = true;
}

static void forget_writer(struct spool *s, const struct pages_writer *w)
{
	for (size_t i = 0; i < s->n_writers; i++)
		if (s->writer[i] == w)
			s->writer[i] = s->writer[--s->n_writers];
}

/* Without the lock; @sums is set at the end of a file. */
static int do_job(struct job *j, SdBlockSums **sums, struct err *err)
{
	sum_job(j);
	return j->from ? pages_put(j->w, j->from, j->len, err) : pages_close(&j->w, sums, err);
}

/* The first job, under the lock, which is open while it is done. */
static void step(struct spool *s)
{
	struct job *j = s->first;
	SdBlockSums *sums = NULL;
	struct err err = {};
	int rc = 0;

	if (!j->from)
		forget_writer(s, j->w);
	if (s->rc && !j->from)
		pages_writer_release(&j->w);
	if (!s->rc) {
		pthread_mutex_unlock(&s->lock);
		rc = do_job(j, &sums, &err);
		pthread_mutex_lock(&s->lock);
	}
	if (rc < 0) {
		s->rc = rc;
		s->err = err;
	}
	if (sums)
		ARRAY_PUSH(s->sums, s->n_sums, s->cap_sums, sums);
	s->first = j->next;
	if (!s->first)
		s->last = &s->first;
	free(j);
	pthread_cond_broadcast(&s->turn);
}

static void *writer(void *arg)
{
	struct spool *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->end) {
		if (s->first)
			step(s);
		else
			pthread_cond_wait(&s->turn, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void start(struct spool *s)
{
	for (struct job *j = s->first; j && !s->ample; j = j->next)
		sum_job(j);
	s->running = thread_start(&s->thread, writer, s);
	s->hopeless = !s->running;
}

bool spool_too_much(size_t expected)
{
	return expected > HOLD_MOST;
}

struct spool *spool_new(size_t expected)
{
	struct spool *s = xcalloc(1, sizeof(*s));
	bool hold = expected && !spool_too_much(expected);

	s->len = hold ? expected + HOLD_SOME : HOLD_SOME;
	s->ring = map_huge(s->len);
	/* Where there is not so much, pages are written while the tree is read. */
	if (!s->ring) {
		hold = false;
		s->len = HOLD_SOME;
		s->ring = map_huge(s->len);
	}
	if (!s->ring)
		out_of_memory();
	if (hold)
		fault_in(s->ring, expected);
	s->ample = s->fresh = hold;
	s->last = &s->first;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->turn, NULL);
	s->own_last = &s->own;
	/* The tree waits for the reader and must not wait for the writer as well. */
	if (hold && expected > HOLD_IDLE && may_be_idle())
		start(s);
	s->aside = s->running;
	if (s->aside)
		be_idle(s->thread, true);
	return s;
}

/* One job further, by whoever does them. */
static void advance(struct spool *s)
{
	if (s->running)
		pthread_cond_wait(&s->turn, &s->lock);
	else
		step(s);
}

/* Under the lock. */
static void hand_over(struct spool *s)
{
	if (!s->own)
		return;
	*s->last = s->own;
	s->last = s->own_last;
	s->own = NULL;
	s->own_last = &s->own;
	pthread_cond_broadcast(&s->turn);
}

static int failure(const struct spool *s, struct err *err)
{
	return s->rc < 0 ? err_set(err, s->rc, "%s", s->err.text) : 0;
}

/* --- the caller's side -------------------------------------------------------------- */

void spool_adopt(struct spool *s, struct pages_writer *w)
{
	pthread_mutex_lock(&s->lock);
	ARRAY_PUSH(s->writer, s->n_writers, s->cap_writers, w);
	pthread_mutex_unlock(&s->lock);
}

/* Where the oldest bytes are that wait; NULL: there are none. */
static const char *oldest(const struct spool *s)
{
	const struct job *j = s->first;

	while (j && (!j->from || j->lent))
		j = j->next;
	return j ? j->from : NULL;
}

/* What lies in the ring reaches from the oldest bytes to the head, around the end perhaps. */
static char *find_room(struct spool *s)
{
	const char *old = oldest(s);
	size_t tail = old ? (size_t)(old - s->ring) : 0;

	if (!old)
		s->head = 0;
	else if (s->head > tail && s->len - s->head < SPOOL_ROOM)
		s->head = 0; /* may be where the tail is: then it is full */
	else if (s->head > tail)
		return s->ring + s->head;
	return !old || s->head + SPOOL_ROOM < tail ? s->ring + s->head : NULL;
}

int spool_room(struct spool *s, char **room, struct err *err)
{
	int rc;

	/* Where nothing ever lay nobody has to be asked. */
	if (s->fresh && s->len - s->head >= SPOOL_ROOM) {
		*room = s->ring + s->head;
		return 0;
	}
	s->fresh = false;
	pthread_mutex_lock(&s->lock);
	hand_over(s);
	while (!s->rc && !(*room = find_room(s))) {
		if (!s->running && !s->hopeless)
			start(s);
		step_forward(s);
		advance(s);
	}
	rc = failure(s, err);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* A writer with little time may hold the lock for long: where it can wait, the job does. */
static void add_job(struct spool *s, struct job job)
{
	struct job *j = xmemdup(&job, sizeof(job));

	*s->own_last = j;
	s->own_last = &j->next;
	if (!s->aside)
		pthread_mutex_lock(&s->lock);
	else if (pthread_mutex_trylock(&s->lock))
		return;
	hand_over(s);
	pthread_mutex_unlock(&s->lock);
}

void spool_put(struct spool *s, size_t len, struct pages_writer *w)
{
	struct job j = { .w = w, .from = s->ring + s->head, .len = len };

	if (!len)
		return;
	if (s->running && !s->ample)
		sum_job(&j);
	s->head += len;
	add_job(s, j);
}

void spool_lend(struct spool *s, const char *from, size_t len, struct pages_writer *w)
{
	struct job j = { .w = w, .from = from, .len = len, .lent = true };

	if (s->running && !s->ample)
		sum_job(&j);
	add_job(s, j);
}

void spool_close(struct spool *s, struct pages_writer *w)
{
	add_job(s, (struct job) { .w = w });
}

int spool_drain(struct spool *s, struct err *err)
{
	int rc;

	step_forward(s);
	pthread_mutex_lock(&s->lock);
	hand_over(s);
	while (s->first)
		advance(s);
	rc = failure(s, err);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

void spool_give_sums(struct spool *s, struct chain *c)
{
	for (size_t i = 0; i < s->n_sums; i++)
		chain_take_sums(c, s->sums[i]);
	s->n_sums = 0;
}

static void end_thread(struct spool *s)
{
	pthread_mutex_lock(&s->lock);
	s->end = true;
	pthread_cond_broadcast(&s->turn);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
}

void spool_free(struct spool *s)
{
	if (!s)
		return;
	step_forward(s);
	if (s->running)
		end_thread(s);
	hand_over(s);
	while (s->first) {
		struct job *j = s->first;

		s->first = j->next;
		free(j);
	}
	for (size_t i = 0; i < s->n_writers; i++)
		pages_writer_release(&s->writer[i]);
	for (size_t i = 0; i < s->n_sums; i++)
		sd_block_sums__free_unpacked(s->sums[i], NULL);
	free(s->writer);
	free(s->sums);
	munmap(s->ring, s->len);
	pthread_cond_destroy(&s->turn);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
