/* limits.c - /proc/PID/limits. */
#include "criu-lite/proc/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "criu-lite/proc/text.h"

static const char *const names[PROC_N_LIMITS] = {
	[RLIMIT_CPU] = "Max cpu time",
	[RLIMIT_FSIZE] = "Max file size",
	[RLIMIT_DATA] = "Max data size",
	[RLIMIT_STACK] = "Max stack size",
	[RLIMIT_CORE] = "Max core file size",
	[RLIMIT_RSS] = "Max resident set",
	[RLIMIT_NPROC] = "Max processes",
	[RLIMIT_NOFILE] = "Max open files",
	[RLIMIT_MEMLOCK] = "Max locked memory",
	[RLIMIT_AS] = "Max address space",
	[RLIMIT_LOCKS] = "Max file locks",
	[RLIMIT_SIGPENDING] = "Max pending signals",
	[RLIMIT_MSGQUEUE] = "Max msgqueue size",
	[RLIMIT_NICE] = "Max nice priority",
	[RLIMIT_RTPRIO] = "Max realtime priority",
	[RLIMIT_RTTIME] = "Max realtime timeout",
};

static bool take_limit(struct text *t, uint64_t *out)
{
	text_blanks(t);
	if (text_word(t, "unlimited")) {
		*out = PROC_LIMIT_NONE;
		return true;
	}
	return text_dec(t, out);
}

/* Which resource the line begins with; the name is followed by blanks. */
static int resource_of(struct text *line)
{
	for (int i = 0; i < PROC_N_LIMITS; i++) {
		struct text t = *line;

		if (text_word(&t, names[i]) && text_char(&t, ' ')) {
			*line = t;
			return i;
		}
	}
	return -1;
}

int proc_limits_parse(const char *buf, size_t len, struct proc_limit limits[PROC_N_LIMITS],
		      struct err *err)
{
	struct proc_limit v[PROC_N_LIMITS] = {};
	bool seen[PROC_N_LIMITS] = {};
	struct text t = text_of(buf, len), line;

	while (text_line(&t, &line)) {
		struct text value = line;
		int i = resource_of(&value);

		if (i < 0)
			continue; /* the heading, and resources yet to be invented */
		if (seen[i] || !take_limit(&value, &v[i].cur) || !text_char(&value, ' ') ||
		    !take_limit(&value, &v[i].max) || (value.p < value.end && *value.p != ' '))
			return text_bad(err, "limits", &line);
		seen[i] = true;
	}
	for (int i = 0; i < PROC_N_LIMITS; i++) {
		if (!seen[i])
			return err_set(err, -EINVAL, "limits: no \"%s\" line", names[i]);
	}
	memcpy(limits, v, sizeof(v));
	return 0;
}

int proc_limits_read(const struct proc_dir *dir, struct proc_limit limits[PROC_N_LIMITS],
		     struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	int rc = proc_read(dir, "limits", &buf, &len, err);

	return rc < 0 ? rc : proc_limits_parse(buf, len, limits, err);
}
