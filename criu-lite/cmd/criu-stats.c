/* criu-stats.c - what a run did, in the messages that criu has for it. */
#include "criu-lite/cmd/criu-stats.h"
#include "images/img.h"
#include "proto/stats.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint32_t phase_us(SdPhase *const *phase, size_t n, const char *name)
{
	uint64_t us = 0;

	for (size_t i = 0; i < n; i++)
		if (!strcmp(phase[i]->name, name))
			us += phase[i]->us;
	return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int write_stats(const char *name, StatsEntry *e, struct err *err)
{
	if (unlink(name) < 0 && errno != ENOENT)
		return err_errno(err, "%s: remove", name);
	return img_write_one(e, err, AT_FDCWD, "%s", name);
}

static void print_us(const char *what, uint32_t us)
{
	printf("%s: %" PRIu32 " us\n", what, us);
}

static void print_pages(const char *what, uint64_t n)
{
	printf("%s: %" PRIu64 " (0x%" PRIx64 ")\n", what, n, n);
}

static void display_dump(const DumpStatsEntry *d)
{
	puts("Displaying dump stats:");
	print_us("Freezing time", d->freezing_time);
	print_us("Frozen time", d->frozen_time);
	print_us("Memory dump time", d->memdump_time);
	print_us("Memory write time", d->memwrite_time);
	print_pages("Memory pages scanned", d->pages_scanned);
	print_pages("Memory pages skipped from parent", d->pages_skipped_parent);
	print_pages("Memory pages written", d->pages_written);
	print_pages("Shared memory pages scanned", d->shpages_scanned);
	print_pages("Shared memory pages skipped from parent", d->shpages_skipped_parent);
	print_pages("Shared memory pages written", d->shpages_written);
}

/* The pages of shared memory have fields of their own, and are in no other. */
int criu_stats_dump(const SdCheckpoint *c, bool display, struct err *err)
{
	DumpStatsEntry d = DUMP_STATS_ENTRY__INIT;
	StatsEntry e = STATS_ENTRY__INIT;

	d.freezing_time = phase_us(c->phases, c->n_phases, "freeze");
	d.frozen_time = c->frozen_us > UINT32_MAX ? UINT32_MAX : (uint32_t)c->frozen_us;
	d.memdump_time = phase_us(c->phases, c->n_phases, "pages");
	d.memwrite_time = phase_us(c->phases, c->n_phases, "sync");
	d.pages_scanned = c->pages_used - c->shared_used;
	d.pages_skipped_parent = c->pages_parent - c->shared_parent;
	d.pages_written = c->pages_written - c->shared_written;
	d.has_shpages_scanned = d.has_shpages_skipped_parent = d.has_shpages_written = true;
	d.shpages_scanned = c->shared_used;
	d.shpages_skipped_parent = c->shared_parent;
	d.shpages_written = c->shared_written;
	e.dump = &d;
	if (display)
		display_dump(&d);
	return write_stats("stats-dump", &e, err);
}

int criu_stats_restore(const struct restored *r, uint64_t pages, bool display, struct err *err)
{
	RestoreStatsEntry d = RESTORE_STATS_ENTRY__INIT;
	StatsEntry e = STATS_ENTRY__INIT;

	d.forking_time = phase_us(r->phases, r->n_phases, "births");
	d.restore_time = r->total_us > UINT32_MAX ? UINT32_MAX : (uint32_t)r->total_us;
	d.has_pages_restored = true;
	d.pages_restored = pages;
	e.restore = &d;
	if (display) {
		puts("Displaying restore stats:");
		print_pages("Pages restored", d.pages_restored);
		print_us("Restore time", d.restore_time);
		print_us("Forking time", d.forking_time);
	}
	return write_stats("stats-restore", &e, err);
}
