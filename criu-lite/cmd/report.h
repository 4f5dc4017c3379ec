/*
 * report - how the programs print what they did: one line for a person, one
 * JSON object for a program, progress on a terminal.
 */
#ifndef CMD_REPORT_H
#define CMD_REPORT_H

#include "proto/criu-lite.pb-c.h"

#include <stdint.h>

/* "checkpoint 2: 1 task, 4 threads; 120 of 5000 pages ..." on stdout. */
void report_dump(const SdCheckpoint *c, const char *dir);
/* The same and every phase as one JSON object on stdout. */
void report_dump_json(const SdCheckpoint *c);

/* A line of -v, on stderr. */
void report_say(const char *line);
/* Redrawn in place on stderr when that is a terminal and the work takes longer than a second. */
void report_progress(const char *phase, uint64_t done, uint64_t of);
void report_progress_end(void);

#endif
