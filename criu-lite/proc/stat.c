/* stat.c - /proc/PID/stat: one line of numbers behind a name that may hold anything. */
#include "criu-lite/proc/stat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "criu-lite/proc/text.h"

#define AT(field)  offsetof(struct proc_stat, field)
#define PF_EXITING 4 /* linux/sched.h */
#define PF_KTHREAD 0x200000

/* In the file's order, from the field behind the state letter. */
static const struct {
	const char *name;
	enum { I32, U32, I64, U64 } type;
	size_t at;
} fields[] = {
	{ "ppid", I32, AT(ppid) },
	{ "pgrp", I32, AT(pgrp) },
	{ "session", I32, AT(session) },
	{ "tty_nr", I32, AT(tty_nr) },
	{ "tpgid", I32, AT(tpgid) },
	{ "flags", U32, AT(flags) },
	{ "minflt", U64, AT(minflt) },
	{ "cminflt", U64, AT(cminflt) },
	{ "majflt", U64, AT(majflt) },
	{ "cmajflt", U64, AT(cmajflt) },
	{ "utime", U64, AT(utime) },
	{ "stime", U64, AT(stime) },
	{ "cutime", I64, AT(cutime) },
	{ "cstime", I64, AT(cstime) },
	{ "priority", I64, AT(priority) },
	{ "nice", I64, AT(nice) },
	{ "num_threads", I64, AT(num_threads) },
	{ "itrealvalue", I64, AT(itrealvalue) },
	{ "starttime", U64, AT(starttime) },
	{ "vsize", U64, AT(vsize) },
	{ "rss", I64, AT(rss) },
	{ "rsslim", U64, AT(rsslim) },
	{ "startcode", U64, AT(start_code) },
	{ "endcode", U64, AT(end_code) },
	{ "startstack", U64, AT(start_stack) },
	{ "kstkesp", U64, AT(kstkesp) },
	{ "kstkeip", U64, AT(kstkeip) },
	{ "signal", U64, AT(signal) },
	{ "blocked", U64, AT(blocked) },
	{ "sigignore", U64, AT(sigignore) },
	{ "sigcatch", U64, AT(sigcatch) },
	{ "wchan", U64, AT(wchan) },
	{ "nswap", U64, AT(nswap) },
	{ "cnswap", U64, AT(cnswap) },
	{ "exit_signal", I32, AT(exit_signal) },
	{ "processor", I32, AT(processor) },
	{ "rt_priority", U32, AT(rt_priority) },
	{ "policy", U32, AT(policy) },
	{ "delayacct_blkio_ticks", U64, AT(delayacct_blkio_ticks) },
	{ "guest_time", U64, AT(guest_time) },
	{ "cguest_time", I64, AT(cguest_time) },
	{ "start_data", U64, AT(start_data) },
	{ "end_data", U64, AT(end_data) },
	{ "start_brk", U64, AT(start_brk) },
	{ "arg_start", U64, AT(arg_start) },
	{ "arg_end", U64, AT(arg_end) },
	{ "env_start", U64, AT(env_start) },
	{ "env_end", U64, AT(env_end) },
	{ "exit_code", I32, AT(exit_code) },
};

static bool take_field(struct text *t, size_t i, struct proc_stat *s)
{
	char *to = (char *)s + fields[i].at;

	switch (fields[i].type) {
	case I32:
		return text_i32(t, (int32_t *)to);
	case U32:
		return text_u32(t, (uint32_t *)to);
	case I64:
		return text_int(t, (int64_t *)to);
	case U64:
		return text_dec(t, (uint64_t *)to);
	}
	return false;
}

/* "123 (name) S": what is between the first '(' and the last ')' is the name. */
static int take_head(struct text *t, struct proc_stat *s, struct err *err)
{
	const char *close = memrchr(t->p, ')', text_len(t));
	size_t n;

	if (!text_i32(t, &s->pid) || !text_word(t, " (") || !close || close < t->p)
		return err_set(err, -EINVAL, "stat: no \"pid (name)\"");
	n = (size_t)(close - t->p);
	if (n >= sizeof(s->comm) || memchr(t->p, 0, n))
		return err_set(err, -EINVAL, "stat: name of %zu bytes", n);
	memcpy(s->comm, t->p, n);
	t->p = close + 1;
	if (!text_char(t, ' ') || t->p == t->end)
		return err_set(err, -EINVAL, "stat: no state");
	s->state = *t->p++;
	return 0;
}

int proc_stat_parse(const char *buf, size_t len, struct proc_stat *out, struct err *err)
{
	struct text t = text_of(buf, len);
	struct proc_stat s = {};
	int rc = take_head(&t, &s, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (!text_char(&t, ' ') || !take_field(&t, i, &s))
			return err_set(err, -EINVAL, "stat: no %s", fields[i].name);
	}
	/* Later kernels may add fields, but not to this number. */
	if (t.p < t.end && *t.p != ' ' && *t.p != '\n')
		return err_set(err, -EINVAL, "stat: exit_code runs on");
	*out = s;
	return 0;
}

int proc_stat_read(const struct proc_dir *dir, struct proc_stat *out, struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	int rc = proc_read(dir, "stat", &buf, &len, err);

	return rc < 0 ? rc : proc_stat_parse(buf, len, out, err);
}

bool proc_stat_exiting(const struct proc_stat *st)
{
	return st->state == 'Z' || st->state == 'X' || st->flags & PF_EXITING;
}

bool proc_stat_kernel_thread(const struct proc_stat *st)
{
	return st->flags & PF_KTHREAD;
}
