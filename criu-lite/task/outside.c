/* outside.c - writing to /proc/PID. */
#include "criu-lite/task/outside.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

int outside_write(pid_t pid, const char *file, struct err *err, const char *fmt, ...)
{
	scoped char *path = xasprintf("/proc/%d/%s", pid, file);
	scoped_fd fd = open(path, O_WRONLY | O_CLOEXEC);
	char text[32];
	va_list ap;
	int len;

	if (fd < 0)
		return err_errno(err, "open %s", path);
	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (len < 0 || (size_t)len >= sizeof(text))
		return err_set(err, -EINVAL, "%s: too long a value", path);
	if (write(fd, text, (size_t)len) != len)
		return err_errno(err, "write %s to %s", text, path);
	return 0;
}
