/* children.c - the children of a task, gathered from its threads or from everybody's parents. */
#include "criu-lite/proc/children.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/proc/text.h"

#define MANY_THREADS 256

int proc_children_parse(const char *buf, size_t len, int **pids, size_t *n, struct err *err)
{
	scoped int *v = NULL;
	size_t used = 0, cap = 0;
	struct text t = text_of(buf, len);

	while (!text_done(&t) && !(text_len(&t) == 1 && *t.p == '\n')) {
		int pid;

		if (!text_i32(&t, &pid) || pid <= 0 || (t.p < t.end && *t.p != ' ' && *t.p != '\n'))
			return err_set(err, -EINVAL, "children: not a list of pids");
		ARRAY_PUSH(v, used, cap, pid);
	}
	*pids = v;
	*n = used;
	v = NULL;
	return 0;
}

static int int_order(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* The same child is in two lists when its parent thread ended in between: keep one. */
static size_t sort_unique(int *v, size_t n)
{
	size_t kept = 0;

	if (n)
		qsort(v, n, sizeof(*v), int_order);
	for (size_t i = 0; i < n; i++) {
		if (!kept || v[kept - 1] != v[i])
			v[kept++] = v[i];
	}
	return kept;
}

struct pid_list {
	int *v;
	size_t n, cap;
};

/* That a file of a thread is not there says nothing of the kernel if the thread is not, either. */
static bool thread_is_there(const struct proc_dir *task, int tid)
{
	scoped char *name = xasprintf("task/%d/stat", tid);

	return faccessat(proc_dirfd(task), name, F_OK, 0) == 0;
}

/* NO_LISTS: this kernel has none (it is built without CONFIG_PROC_CHILDREN). */
enum { NO_LISTS = 1 };

static int add_thread(const struct proc_dir *task, int tid, struct pid_list *all, struct err *err)
{
	scoped char *name = xasprintf("task/%d/children", tid);
	scoped char *buf = NULL;
	scoped int *some = NULL;
	size_t len, n;
	int rc = proc_read(task, name, &buf, &len, err);

	if (proc_ended(rc))
		return thread_is_there(task, tid) ? NO_LISTS : 0;
	if (rc == 0)
		rc = proc_children_parse(buf, len, &some, &n, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		ARRAY_PUSH(all->v, all->n, all->cap, some[i]);
	return 0;
}

/* The links of "task" are its threads and two more; 0: this file system does not count. */
static size_t count_threads(const struct proc_dir *task)
{
	struct stat st;

	if (fstatat(proc_dirfd(task), "task", &st, 0) < 0 || st.st_nlink < 3)
		return 0;
	return st.st_nlink - 2;
}

static int ask_threads(const struct proc_dir *task, size_t n_threads, struct pid_list *all,
		       struct err *err)
{
	scoped int *tids = NULL;
	size_t n;
	int rc;

	if (n_threads == 1)
		return add_thread(task, proc_id(task), all, err);
	rc = proc_list(task, "task", &tids, &n, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = add_thread(task, tids[i], all, err);
	return rc;
}

static int ask_process(const struct proc_dir *task, int pid, struct pid_list *all, struct err *err)
{
	scoped char *name = xasprintf("../%d/stat", pid), *buf = NULL;
	struct proc_stat stat;
	size_t len;
	int rc = proc_read(task, name, &buf, &len, err);

	/* What ended meanwhile is nobody's child any more. */
	if (proc_ended(rc))
		return 0;
	if (rc == 0)
		rc = proc_stat_parse(buf, len, &stat, err);
	if (rc == 0 && stat.ppid == proc_id(task))
		ARRAY_PUSH(all->v, all->n, all->cap, pid);
	return rc;
}

/* Is a /proc mounted so that it may hide processes from us? It does not matter which one. */
static bool processes_may_be_hidden(const struct proc_dir *task)
{
	scoped char *buf = NULL;
	size_t len;

	return proc_read(task, "../self/mountinfo", &buf, &len, NULL) == 0 &&
	       strstr(buf, "hidepid=");
}

/*
 * @most: give up with -E2BIG, having asked nobody, when there are more processes. So too when
 * some may not be seen: the lists of children have those as well.
 */
static int ask_processes(const struct proc_dir *task, size_t most, struct pid_list *all,
			 struct err *err)
{
	scoped int *other = NULL;
	size_t n;
	int rc = processes_may_be_hidden(task) ? -E2BIG
					       : proc_list_few(task, "..", most, &other, &n, err);

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = ask_process(task, other[i], all, err);
	return rc;
}

int proc_children_read(const struct proc_dir *task, int **pids, size_t *n, struct err *err)
{
	size_t n_threads = count_threads(task);
	struct pid_list all = {};
	int rc = -E2BIG;

	/* Where there are fewer processes than threads, ask them who their parent is. */
	if (n_threads >= MANY_THREADS)
		rc = ask_processes(task, n_threads / 2, &all, err);
	if (rc == -E2BIG)
		rc = ask_threads(task, n_threads, &all, err);
	if (rc == NO_LISTS)
		rc = ask_processes(task, SIZE_MAX, &all, err);
	if (rc == -E2BIG)
		err_set(err, rc,
			"children: this kernel lists none, and /proc may hide some "
			"(hidepid, see proc(5))");
	if (rc < 0) {
		free(all.v);
		return rc;
	}
	*n = sort_unique(all.v, all.n);
	*pids = all.v;
	return 0;
}
