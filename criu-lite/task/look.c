/* look.c - one reading of /proc/PID/task/TID for all kinds. */
#include "criu-lite/task/look.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct look {
	const struct thread *thread; /* whose dir and stat these are */
	struct proc_dir *dir;
	struct proc_dir *opened; /* the same, if it is not the task's own */
	bool has_stat, has_self;
	struct proc_stat stat;
	struct look_self self;
};

static void forget_thread(struct look *l)
{
	proc_close(l->opened);
	l->dir = l->opened = NULL;
	l->has_stat = false;
	l->thread = NULL;
}

static struct look *look_of(struct saver *s)
{
	if (!s->look)
		s->look = xcalloc(1, sizeof(*s->look));
	return s->look;
}

int look_dir(struct saver *s, struct thread *t, struct proc_dir **dir, struct err *err)
{
	struct look *l = look_of(s);

	if (l->thread != t) {
		bool leader = t == task_leader(t->task);
		int rc;

		forget_thread(l);
		rc = leader ? 0 : proc_open_thread(&l->opened, t->task->proc, t->tid, err);
		if (rc < 0)
			return rc;
		l->dir = leader ? t->task->proc : l->opened;
		l->thread = t;
	}
	*dir = l->dir;
	return 0;
}

int look_stat(struct saver *s, struct thread *t, const struct proc_stat **st, struct err *err)
{
	struct look *l = look_of(s);
	struct proc_dir *dir;
	int rc = look_dir(s, t, &dir, err);

	if (rc < 0)
		return rc;
	if (!l->has_stat) {
		rc = proc_stat_read(dir, &l->stat, err);
		if (rc < 0)
			return rc;
		l->has_stat = true;
	}
	*st = &l->stat;
	return 0;
}

int look_label(const struct proc_dir *dir, char **label, struct err *err)
{
	scoped char *text = NULL;
	size_t len;
	int rc = proc_read(dir, "attr/current", &text, &len, NULL);

	*label = NULL;
	/* The file says EINVAL where no module has a label, and may be missing altogether. */
	if (rc == -EINVAL || rc == -ENOENT || rc == -EOPNOTSUPP)
		return 0;
	if (rc < 0)
		return err_code(err, rc, "read the security label");
	text[strcspn(text, "\n")] = 0;
	if (*text)
		*label = xstrdup(text);
	return 0;
}

int look_self(struct saver *s, const struct look_self **self, struct err *err)
{
	struct look *l = look_of(s);

	if (!l->has_self) {
		scoped_proc me = NULL;
		int rc = proc_open(&me, NULL, getpid(), err);

		if (!rc)
			rc = proc_ns_read(me, l->self.ns, err);
		if (!rc)
			rc = look_label(me, &l->self.label, err);
		if (rc < 0)
			return err_add(err, rc, "this program itself");
		l->self.n_cpus = sysconf(_SC_NPROCESSORS_CONF);
		l->has_self = true;
	}
	*self = &l->self;
	return 0;
}

void look_release(struct saver *s)
{
	if (!s->look)
		return;
	forget_thread(s->look);
	free(s->look->self.label);
	free(s->look);
	s->look = NULL;
}

const char *look_name(const struct thread *t, char buf[LOOK_NAME])
{
	if (t->tid == t->task->pid)
		snprintf(buf, LOOK_NAME, "task %d", t->tid);
	else
		snprintf(buf, LOOK_NAME, "task %d: thread %d", t->task->pid, t->tid);
	return buf;
}
