/*
 * criu-log - messages as tools that watch criu look for them.
 *
 *	Error (criu-lite/cmd/criu-dump.c:80): ...	from level 1
 *	Warn  (criu-lite/cmd/criu-dump.c:80): ...	from level 2, the default
 *	(00.004711) ...					from level 3; then times come before all
 *
 * One log a process, as standard error is, where it goes until there is a file.
 */
#ifndef CMD_CRIU_LOG_H
#define CMD_CRIU_LOG_H

#include "base/err.h"

enum { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG };

void criu_log_level(int level);
/* @file is made anew (0600), also if nothing will be said. */
int criu_log_open(const char *file, struct err *err);

void criu_log(int level, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* What is said by dump and restore as they go on: level 4. */
void criu_log_say(const char *line);

#define say_error(...) criu_log(LOG_ERROR, __FILE__, __LINE__, __VA_ARGS__)
#define say_warn(...)  criu_log(LOG_WARN, __FILE__, __LINE__, __VA_ARGS__)
#define say_info(...)  criu_log(LOG_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define say_debug(...) criu_log(LOG_DEBUG, __FILE__, __LINE__, __VA_ARGS__)

#endif
