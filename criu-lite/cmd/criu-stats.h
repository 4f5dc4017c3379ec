/*
 * criu-stats - stats-dump and stats-restore, and --display-stats.
 */
#ifndef CMD_CRIU_STATS_H
#define CMD_CRIU_STATS_H

#include "criu-lite/restore/restore.h"

/* Into the directory we work in, in place of what was there; printed, if @display. */
int criu_stats_dump(const SdCheckpoint *c, bool display, struct err *err);
/* @pages: how many were brought back. */
int criu_stats_restore(const struct restored *r, uint64_t pages, bool display, struct err *err);

#endif
