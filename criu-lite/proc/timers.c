/* timers.c - /proc/PID/timers: POSIX timers, four lines each. */
#include "criu-lite/proc/timers.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "criu-lite/proc/text.h"

/* "signal: 60/00007fff86e452a8" */
static bool take_signal(struct text *t, struct proc_timer *timer)
{
	return text_word(t, "signal: ") && text_i32(t, &timer->signo) && text_char(t, '/') &&
	       text_hex(t, &timer->sival_ptr) && text_done(t);
}

/* "notify: signal/tid.2634"; the kernel writes SIGEV_THREAD_ID as the tid. */
static bool take_notify(struct text *t, struct proc_timer *timer)
{
	static const struct {
		const char *name;
		int32_t notify;
	} kinds[] = {
		{ "signal/", SIGEV_SIGNAL },
		{ "none/", SIGEV_NONE },
		{ "thread/", SIGEV_THREAD },
	};

	if (!text_word(t, "notify: "))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!text_word(t, kinds[i].name))
			continue;
		timer->notify = kinds[i].notify;
		if (text_word(t, "tid."))
			timer->notify |= SIGEV_THREAD_ID;
		else if (!text_word(t, "pid."))
			return false;
		return text_i32(t, &timer->target) && text_done(t);
	}
	return false;
}

static bool take_clock(struct text *t, struct proc_timer *timer)
{
	return text_word(t, "ClockID: ") && text_i32(t, &timer->clockid) && text_done(t);
}

static bool take_id(struct text *t, struct proc_timer *timer)
{
	return text_word(t, "ID: ") && text_i32(t, &timer->id) && text_done(t);
}

int proc_timers_parse(const char *buf, size_t len, struct proc_timer **out, size_t *n,
		      struct err *err)
{
	static bool (*const takes[])(struct text *, struct proc_timer *) = { take_id, take_signal,
									     take_notify,
									     take_clock };
	scoped struct proc_timer *v = NULL;
	struct proc_timer timer = {};
	size_t used = 0, cap = 0, step = 0;
	struct text t = text_of(buf, len), line;

	while (text_line(&t, &line)) {
		struct text rest = line;

		if (!takes[step](&rest, &timer))
			return text_bad(err, "timers", &line);
		step = (step + 1) % ARRAY_SIZE(takes);
		if (!step)
			ARRAY_PUSH(v, used, cap, timer);
	}
	if (step)
		return err_set(err, -EINVAL, "timers: ends in the middle of timer %d", timer.id);
	*out = v;
	*n = used;
	v = NULL;
	return 0;
}

int proc_timers_read(const struct proc_dir *dir, struct proc_timer **v, size_t *n, struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	int rc = proc_read(dir, "timers", &buf, &len, err);

	return rc < 0 ? rc : proc_timers_parse(buf, len, v, n, err);
}
