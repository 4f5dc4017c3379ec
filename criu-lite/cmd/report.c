/* report.c - printing results and progress. */
#include "criu-lite/cmd/report.h"
#include "base/mem.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
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
	printf("%s/%u: %u task%s, %u thread%s, %" PRIu64 " page%s written of %" PRIu64
	       " in use, %s, frozen %.1f ms, %.1f ms in all\n",
	       dir, c->seq, c->tasks, plural(c->tasks), c->threads, plural(c->threads),
	       c->pages_written, plural(c->pages_written), c->pages_used, bytes,
	       c->frozen_us / 1000.0, c->total_us / 1000.0);
}

void report_dump_json(const SdCheckpoint *c)
{
	json_t *phases = json_object();
	json_t *o;

	for (size_t i = 0; i < c->n_phases; i++)
		json_object_set_new(phases, c->phases[i]->name, json_integer(c->phases[i]->us));
	o = json_pack("{s:i, s:o, s:s, s:o, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
		      "checkpoint", (int)c->seq, "parent",
		      c->has_parent_seq ? json_integer(c->parent_seq) : json_null(), "tracker",
		      c->tracker, "full_reason",
		      c->full_reason ? json_string(c->full_reason) : json_null(), "tasks",
		      (int)c->tasks, "threads", (int)c->threads, "pages_used",
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

/* Progress is for people who wait: nothing in the first second, then ten lines a second at most. */
static struct {
	struct timespec begun, drawn;
	bool shown;
} progress;

static double since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - t->tv_sec) + (now.tv_nsec - t->tv_nsec) * 1e-9;
}

void report_progress(const char *what, uint64_t done, uint64_t of)
{
	if (!isatty(STDERR_FILENO))
		return;
	if (!progress.begun.tv_sec)
		clock_gettime(CLOCK_MONOTONIC, &progress.begun);
	if (since(&progress.begun) < 1 || since(&progress.drawn) < 0.1)
		return;
	clock_gettime(CLOCK_MONOTONIC, &progress.drawn);
	progress.shown = true;
	fprintf(stderr, "\r\033[K%s: %3.0f %%", what, of ? 100.0 * done / of : 100.0);
}

void report_progress_end(void)
{
	if (progress.shown)
		fputs("\r\033[K", stderr);
	progress.shown = false;
}
