/* timens.c - /proc/PID/timens_offsets. */
#include "criu-lite/proc/timens.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "criu-lite/proc/text.h"

static bool take_offset(struct text *t, struct timespec *out)
{
	int64_t sec;
	uint64_t nsec;

	if (!text_blanks(t) || !text_int(t, &sec) || !text_blanks(t) || !text_dec(t, &nsec) ||
	    !text_done(t) || nsec >= 1000000000)
		return false;
	*out = (struct timespec) { .tv_sec = sec, .tv_nsec = (long)nsec };
	return true;
}

int proc_timens_parse(const char *buf, size_t len, struct proc_timens *out, struct err *err)
{
	struct proc_timens v = {};
	struct text t = text_of(buf, len), line;
	bool monotonic = false, boottime = false;

	while (text_line(&t, &line)) {
		struct text rest = line;
		bool ok = true;

		if (text_word(&rest, "monotonic "))
			ok = monotonic = take_offset(&rest, &v.monotonic);
		else if (text_word(&rest, "boottime "))
			ok = boottime = take_offset(&rest, &v.boottime);
		if (!ok)
			return text_bad(err, "timens_offsets", &line);
	}
	if (!monotonic || !boottime)
		return err_set(err, -EINVAL, "timens_offsets: no \"%s\" line",
			       monotonic ? "boottime" : "monotonic");
	*out = v;
	return 0;
}

int proc_timens_read(const struct proc_dir *dir, struct proc_timens *out, struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	int rc = proc_read(dir, "timens_offsets", &buf, &len, err);

	return rc < 0 ? rc : proc_timens_parse(buf, len, out, err);
}
