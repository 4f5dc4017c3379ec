/* criu-log.c - one line a message, into a file or to standard error. */
#include "criu-lite/cmd/criu-log.h"
#include "criu-lite/dump/phases.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static struct {
	FILE *file; /* NULL: standard error */
	int level;
	uint64_t begun;
} the_log = { .level = LOG_WARN };

void criu_log_level(int level)
{
	the_log.level = level;
	the_log.begun = now_us();
}

int criu_log_open(const char *file, struct err *err)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "a");

	if (!f) {
		int rc = err_errno(err, "log file %s", file);

		if (fd >= 0)
			close(fd);
		return rc;
	}
	setvbuf(f, NULL, _IOLBF, 0);
	the_log.file = f;
	return 0;
}

void criu_log(int level, const char *file, int line, const char *fmt, ...)
{
	FILE *f = the_log.file ? the_log.file : stderr;
	uint64_t us = now_us() - the_log.begun;
	va_list ap;

	if (level > the_log.level)
		return;
	if (the_log.level >= LOG_INFO)
		fprintf(f, "(%02" PRIu64 ".%06" PRIu64 ") ", us / 1000000, us % 1000000);
	if (level <= LOG_WARN)
		fprintf(f, "%s (%s:%d): ", level == LOG_ERROR ? "Error" : "Warn ", file, line);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fputc('\n', f);
}

void criu_log_say(const char *line)
{
	say_debug("%s", line);
}
