/* report.c - printing results and progress. */
#include "criu-lite/cmd/report.h"
#include "base/mem.h"
#include "base/parallel.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void human(char out[16], uint64_t bytes)
{
	if (humanize_number(out, 8, bytes, "B", HN_AUTOSCALE, HN_DECIMAL | HN_IEC_PREFIXES) < 0)
		snprintf(out, 16, "?");
}

void report_dump(const SdCheckpoint *c, const char *dir)
{
	char bytes[16];

	human(bytes, c->bytes_written);
	if (c->full_reason && c->seq > 1)
		printf("full dump: %s\n", c->full_reason);
	for (size_t i = 0; i < c->n_untracked; i++)
		printf("not tracked, all written each time: %s\n", c->untracked[i]);
	printf("%s/%u: %u task%s, %u thread%s, %" PRIu64 " page%s written of %" PRIu64
	       " in use, %s, frozen %.1f ms, %.1f ms in all\n",
	       dir, c->seq, c->tasks, plural(c->tasks), c->threads, plural(c->threads),
	       c->pages_written, plural(c->pages_written), c->pages_used, bytes,
	       c->frozen_us / 1000.0, c->total_us / 1000.0);
}

void report_dump_json(const SdCheckpoint *c)
{
	json_t *phases = json_object();
	json_t *untracked = json_array();
	json_t *o;

	for (size_t i = 0; i < c->n_phases; i++)
		json_object_set_new(phases, c->phases[i]->name, json_integer(c->phases[i]->us));
	for (size_t i = 0; i < c->n_untracked; i++)
		json_array_append_new(untracked, json_string(c->untracked[i]));
	o = json_pack("{s:i, s:o, s:s, s:o, s:o, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
		      "checkpoint", (int)c->seq, "parent",
		      c->has_parent_seq ? json_integer(c->parent_seq) : json_null(), "tracker",
		      c->tracker, "full_reason",
		      c->full_reason ? json_string(c->full_reason) : json_null(), "untracked",
		      untracked, "tasks", (int)c->tasks, "threads", (int)c->threads, "pages_used",
		      (json_int_t)c->pages_used, "pages_written", (json_int_t)c->pages_written,
		      "pages_parent", (json_int_t)c->pages_parent, "pages_zero",
		      (json_int_t)c->pages_zero, "bytes_written", (json_int_t)c->bytes_written,
		      "frozen_us", (json_int_t)c->frozen_us, "total_us", (json_int_t)c->total_us,
		      "phases_us", phases);
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

void report_say(const char *line)
{
	fprintf(stderr, "%s\n", line);
}

/* --- progress: for people who wait ------------------------------------------------ */

enum { TICK_MS = 200, QUIET_MS = 1000 };

static bool draw(const struct progress *p)
{
	const char *what = atomic_load(&p->what);
	uint64_t done = atomic_load(&p->done), of = atomic_load(&p->of);

	if (!what)
		return false;
	if (of)
		fprintf(stderr, "\r\033[K%s: %3.0f %%", what, 100.0 * (double)done / (double)of);
	else
		fprintf(stderr, "\r\033[K%s: %" PRIu64, what, done);
	return true;
}

/* Nothing in the first second; then in place, until the end of the pipe says that it is over. */
static void *onlooker(void *arg)
{
	struct report_progress *r = arg;
	struct pollfd over = { .fd = r->over[0], .events = POLLIN };
	int wait = QUIET_MS;
	bool drawn = false;

	while (poll(&over, 1, wait) == 0) {
		drawn |= draw(&r->progress);
		wait = TICK_MS;
	}
	if (drawn)
		fputs("\r\033[K", stderr);
	return NULL;
}

void report_progress_begin(struct report_progress *r)
{
	*r = (struct report_progress) {};
	if (!isatty(STDERR_FILENO) || pipe2(r->over, O_CLOEXEC) < 0)
		return;
	r->running = thread_start(&r->thread, onlooker, r);
}

void report_progress_end(struct report_progress *r)
{
	if (!r->running)
		return;
	close(r->over[1]);
	pthread_join(r->thread, NULL);
	close(r->over[0]);
	r->running = false;
}
