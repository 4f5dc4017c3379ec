/*
 * report - how the programs print what they did: one line for a person, one
 * JSON object for a program, progress on a terminal.
 */
#ifndef CMD_REPORT_H
#define CMD_REPORT_H

#include "base/progress.h"
#include "proto/criu-lite.pb-c.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* "checkpoint 2: 1 task, 4 threads; 120 of 5000 pages ..." on stdout. */
void report_dump(const SdCheckpoint *c, const char *dir);
/* The same and every phase as one JSON object on stdout. */
void report_dump_json(const SdCheckpoint *c);

/* A line of -v, on stderr. */
void report_say(const char *line);
/*
 * While long work goes on: drawn in place on stderr by a thread of its own, when that is
 * a terminal and the work takes longer than a second. Hand .progress to the worker.
 */
struct report_progress {
	struct progress progress;
	pthread_t thread;
	int over[2];
	bool running;
};

void report_progress_begin(struct report_progress *r);
void report_progress_end(struct report_progress *r);

#endif
