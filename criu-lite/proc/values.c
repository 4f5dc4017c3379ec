/* values.c - the files of /proc/PID that hold one value or little more. */
#include "criu-lite/proc/values.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "criu-lite/proc/text.h"

/* Whether the number was all there was, up to one newline. */
static bool only(struct text *t)
{
	text_char(t, '\n');
	return t->p == t->end;
}

int proc_number_parse(const char *buf, size_t len, int64_t *out, struct err *err)
{
	struct text t = text_of(buf, len);
	int64_t v;

	if (!text_int(&t, &v) || !only(&t))
		return err_set(err, -EINVAL, "not a number");
	*out = v;
	return 0;
}

int proc_hex_parse(const char *buf, size_t len, uint64_t *out, struct err *err)
{
	struct text t = text_of(buf, len);
	uint64_t v;

	if (!text_hex(&t, &v) || !only(&t))
		return err_set(err, -EINVAL, "not a hexadecimal number");
	*out = v;
	return 0;
}

/* Read the number in @name, which must lie between @min and @max. */
static int number_read(const struct proc_dir *dir, const char *name, int64_t min, int64_t max,
		       int64_t *out, struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	int64_t v;
	int rc = proc_read(dir, name, &buf, &len, err);

	if (rc < 0)
		return rc;
	rc = proc_number_parse(buf, len, &v, err);
	if (rc == 0 && (v < min || v > max))
		rc = err_set(err, -ERANGE, "%lld is out of range", (long long)v);
	if (rc < 0)
		return err_add(err, rc, "%s", name);
	*out = v;
	return 0;
}

static int hex32_read(const struct proc_dir *dir, const char *name, uint32_t *out, struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	uint64_t v;
	int rc = proc_read(dir, name, &buf, &len, err);

	if (rc < 0)
		return rc;
	if (!len) /* a task without memory has no coredump_filter */
		return err_set(err, -ENODATA, "%s: empty", name);
	rc = proc_hex_parse(buf, len, &v, err);
	if (rc == 0 && v > UINT32_MAX)
		rc = err_set(err, -ERANGE, "%llx is out of range", (unsigned long long)v);
	if (rc < 0)
		return err_add(err, rc, "%s", name);
	*out = (uint32_t)v;
	return 0;
}

int proc_personality_read(const struct proc_dir *dir, uint32_t *out, struct err *err)
{
	return hex32_read(dir, "personality", out, err);
}

int proc_coredump_filter_read(const struct proc_dir *dir, uint32_t *out, struct err *err)
{
	return hex32_read(dir, "coredump_filter", out, err);
}

int proc_oom_score_adj_read(const struct proc_dir *dir, int32_t *out, struct err *err)
{
	int64_t v;
	int rc = number_read(dir, "oom_score_adj", -1000, 1000, &v, err);

	if (rc == 0)
		*out = (int32_t)v;
	return rc;
}

int proc_loginuid_read(const struct proc_dir *dir, uint32_t *out, struct err *err)
{
	int64_t v;
	int rc = number_read(dir, "loginuid", 0, UINT32_MAX, &v, err);

	if (rc == 0)
		*out = (uint32_t)v;
	return rc;
}

int proc_timerslack_read(const struct proc_dir *dir, uint64_t *out, struct err *err)
{
	int64_t v;
	int rc = number_read(dir, "timerslack_ns", 0, INT64_MAX, &v, err);

	if (rc == 0)
		*out = (uint64_t)v;
	return rc;
}

/* "/autogroup-25 nice -5" */
int proc_autogroup_parse(const char *buf, size_t len, int32_t *out, struct err *err)
{
	struct text t = text_of(buf, len), whole = t;
	uint64_t number;
	int64_t nice;

	if (!text_word(&t, "/autogroup-") || !text_dec(&t, &number) || !text_word(&t, " nice ") ||
	    !text_int(&t, &nice) || !only(&t) || nice < -20 || nice > 19)
		return text_bad(err, "autogroup", &whole);
	*out = (int32_t)nice;
	return 0;
}

int proc_autogroup_read(const struct proc_dir *dir, int32_t *out, struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	int rc = proc_read(dir, "autogroup", &buf, &len, err);

	if (rc == 0 && !len) /* the group of all that have none of their own */
		rc = err_set(err, -ENODATA, "autogroup: empty");
	return rc < 0 ? rc : proc_autogroup_parse(buf, len, out, err);
}

/* "1234.000567": milliseconds and, behind the point, six digits of nanoseconds. */
static bool take_ms(struct text *t, uint64_t *ns)
{
	uint64_t ms, rest;
	const char *point;

	if (!text_dec(t, &ms) || !text_char(t, '.'))
		return false;
	point = t->p;
	if (!text_dec(t, &rest) || t->p - point != 6 || !text_done(t))
		return false;
	return !__builtin_mul_overflow(ms, (uint64_t)1000000, &ms) &&
	       !__builtin_add_overflow(ms, rest, ns);
}

int proc_exec_start_parse(const char *buf, size_t len, uint64_t *ns, struct err *err)
{
	struct text t = text_of(buf, len), line;

	/* The first line is the task's name, which may be anything. */
	text_line(&t, &line);
	while (text_line(&t, &line)) {
		struct text rest = line;

		if (!text_word(&rest, "se.exec_start "))
			continue;
		if (!text_blanks(&rest) || !text_char(&rest, ':') || !text_blanks(&rest) ||
		    !take_ms(&rest, ns))
			return text_bad(err, "sched", &line);
		return 0;
	}
	return err_set(err, -ENOENT, "sched: no se.exec_start line");
}

int proc_exec_start_read(const struct proc_dir *dir, uint64_t *ns, struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	int rc = proc_read(dir, "sched", &buf, &len, err);

	return rc < 0 ? rc : proc_exec_start_parse(buf, len, ns, err);
}

static bool take_0x(struct text *t, uint64_t *out)
{
	return text_word(t, " 0x") && text_hex(t, out);
}

/* "running", "-1 SP PC" or "NR A0 ... A5 SP PC" */
static bool take_syscall(struct text *t, struct proc_syscall *s)
{
	if (text_word(t, "running")) {
		s->running = true;
		s->nr = -1;
		return true;
	}
	if (!text_int(t, &s->nr))
		return false;
	for (size_t i = 0; s->nr != -1 && i < ARRAY_SIZE(s->args); i++) {
		if (!take_0x(t, &s->args[i]))
			return false;
	}
	return take_0x(t, &s->sp) && take_0x(t, &s->pc);
}

int proc_syscall_parse(const char *buf, size_t len, struct proc_syscall *out, struct err *err)
{
	struct text t = text_of(buf, len), whole = t;
	struct proc_syscall s = {};

	if (!take_syscall(&t, &s) || !only(&t))
		return text_bad(err, "syscall", &whole);
	*out = s;
	return 0;
}

int proc_syscall_read(const struct proc_dir *dir, struct proc_syscall *out, struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	int rc = proc_read(dir, "syscall", &buf, &len, err);

	return rc < 0 ? rc : proc_syscall_parse(buf, len, out, err);
}

int proc_boot_id_read(char **out, struct err *err)
{
	scoped_fd fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char text[37] = "";

	if (fd < 0 || read(fd, text, 36) != 36)
		return err_errno(err, "reading the kernel's boot id");
	*out = xstrdup(text);
	return 0;
}

int proc_wchan_read(const struct proc_dir *dir, char **out, struct err *err)
{
	size_t len;

	return proc_read(dir, "wchan", out, &len, err);
}
