/* early.c - gadgets, sleeping times and unfinished rescues, before the freeze. */
#include "criu-lite/remote/early.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "criu-lite/arch/x86-64/regs.h"
#include "criu-lite/arch/x86-64/runner.h"
#include "criu-lite/proc/children.h"
#include "criu-lite/proc/maps.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/proc/values.h"
#include "criu-lite/remote/inside.h"
#include "criu-lite/remote/tracee.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define RESCUE_POLL_NS 10000000
#define MANY_THREADS   16 /* more than it takes to look at the descriptors */

/* The kernel's clock of one processor, against CLOCK_MONOTONIC. */
struct cpu_clock {
	int cpu;
	uint64_t exec_start, mono;
};

struct look {
	struct early *early;
	uint64_t deadline_ns;
	struct cpu_clock *clock;
	size_t n_clocks, cap_clocks;
};

/* The number behind "name   :" in a sched file. */
static bool sched_number(const char *buf, const char *name, uint64_t *out)
{
	const char *at = strstr(buf, name);

	at = at ? strchr(at, ':') : NULL;
	return at && sscanf(at + 1, " %" SCNu64, out) == 1;
}

static bool read_sched(const struct proc_dir *dir, uint64_t *exec_start, uint64_t *switches)
{
	scoped char *buf = NULL;
	size_t len;

	return proc_read(dir, "sched", &buf, &len, NULL) == 0 &&
	       proc_exec_start_parse(buf, len, exec_start, NULL) == 0 &&
	       sched_number(buf, "nr_switches", switches);
}

/*
 * exec_start counts in the clock of the processor, which stands apart from the
 * others' by stolen time: read our own there, right after yielding has brought
 * it up to date.
 */
static bool measure_clock(int cpu, struct cpu_clock *out)
{
	cpu_set_t old, one;
	scoped_proc self = NULL;
	uint64_t switches;
	bool ok;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof(old), &old) < 0 ||
	    sched_setaffinity(0, sizeof(one), &one) < 0)
		return false;
	sched_yield();
	out->cpu = cpu;
	out->mono = now_ns();
	ok = proc_open(&self, NULL, getpid(), NULL) == 0 &&
	     read_sched(self, &out->exec_start, &switches);
	sched_setaffinity(0, sizeof(old), &old);
	return ok;
}

static const struct cpu_clock *clock_of(struct look *look, int cpu)
{
	struct cpu_clock made;

	for (size_t i = 0; i < look->n_clocks; i++)
		if (look->clock[i].cpu == cpu)
			return &look->clock[i];
	if (!measure_clock(cpu, &made))
		return NULL;
	ARRAY_PUSH(look->clock, look->n_clocks, look->cap_clocks, made);
	return &look->clock[look->n_clocks - 1];
}

static void look_at_nap(struct look *look, const struct proc_dir *dir, pid_t tid)
{
	struct proc_syscall call;
	struct early_nap nap = { .tid = tid };
	const struct cpu_clock *clock;
	struct proc_stat stat;
	uint64_t since, now;

	if (proc_syscall_read(dir, &call, NULL) < 0 || call.running ||
	    !syscall_timeout_in_register(call.nr))
		return;
	if (proc_stat_read(dir, &stat, NULL) < 0 || !(clock = clock_of(look, stat.processor)))
		return;
	if (!read_sched(dir, &since, &nap.switches))
		return;
	nap.looked_ns = now_ns();
	now = clock->exec_start + (nap.looked_ns - clock->mono);
	if (now <= since)
		return;
	nap.slept_ns = now - since;
	ARRAY_PUSH(look->early->nap, look->early->n_naps, look->early->cap_naps, nap);
}

/* The threads of one task, and which are in a call whose timeout is in a register. */
struct sleepers {
	const struct proc_dir *task;
	int *tid;
	size_t n;
	bool *sleeps;
};

static int find_sleeper(void *arg, size_t i, struct err *err)
{
	struct sleepers *s = arg;
	scoped char *name = xasprintf("task/%d/syscall", s->tid[i]);
	scoped char *buf = NULL;
	struct proc_syscall call;
	size_t len;

	s->sleeps[i] = proc_read(s->task, name, &buf, &len, NULL) == 0 &&
		       proc_syscall_parse(buf, len, &call, NULL) == 0 && !call.running &&
		       syscall_timeout_in_register(call.nr);
	return 0;
}

/* Descriptors are shared by all threads; those that have tables of their own are refused. */
static bool has_epoll(const struct proc_dir *task, const int *fd, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		scoped char *name = xasprintf("fd/%d", fd[i]);
		scoped char *target = NULL;

		if (proc_readlink(task, name, &target, NULL) < 0 ||
		    !strcmp(target, "anon_inode:[eventpoll]"))
			return true;
	}
	return false;
}

/*
 * Which threads sleep in epoll_wait, each of them must be asked. But where there are few
 * descriptors and none is for that, nobody does.
 */
static bool could_sleep(const struct proc_dir *task, size_t n_threads)
{
	scoped int *fd = NULL;
	size_t n = 0;

	if (n_threads < MANY_THREADS || proc_list_few(task, "fd", n_threads, &fd, &n, NULL) < 0)
		return true;
	return has_epoll(task, fd, n);
}

static void look_at_threads(struct look *look, const struct proc_dir *task)
{
	struct sleepers s = { .task = task };

	if (proc_list(task, "task", &s.tid, &s.n, NULL) < 0)
		return;
	if (!could_sleep(task, s.n)) {
		free(s.tid);
		return;
	}
	s.sleeps = xcalloc(s.n, sizeof(*s.sleeps));
	parallel(s.n, find_sleeper, &s, NULL);
	for (size_t i = 0; i < s.n; i++) {
		scoped_proc dir = NULL;

		if (s.sleeps[i] && proc_open_thread(&dir, task, s.tid[i], NULL) == 0)
			look_at_nap(look, dir, s.tid[i]);
	}
	free(s.sleeps);
	free(s.tid);
}

/* Scratch of a tool that died: shared anonymous code that begins like our runner. */
static bool holds_scratch(pid_t pid, const struct proc_vma *v, size_t n)
{
	size_t len = runner_len;
	char code[4096];

	for (size_t i = 0; i < n; i++) {
		if (!v[i].shared || !(v[i].prot & PROT_EXEC) || v[i].end - v[i].start != 4096)
			continue;
		if (task_peek(pid, v[i].start, code, len) == 0 && !memcmp(code, runner_start, len))
			return true;
	}
	return false;
}

static int wait_for_rescue(struct look *look, const struct proc_dir *dir, struct early_task *task,
			   struct proc_vma **v, size_t *n, struct err *err)
{
	const struct timespec nap = { .tv_nsec = RESCUE_POLL_NS };

	while (holds_scratch(task->pid, *v, *n)) {
		task->rescue = true;
		if (now_ns() > look->deadline_ns)
			return err_set(err, -ETIMEDOUT,
				       "task %d: is still held by another sd-dump or being let go",
				       task->pid);
		nanosleep(&nap, NULL);
		free(*v);
		*v = NULL;
		*n = 0;
		if (proc_maps_read(dir, v, n, NULL) < 0)
			return 0;
	}
	return 0;
}

static int look_at_task(struct look *look, pid_t pid, const struct gadgets *parents,
			struct err *err);

static int look_at_children(struct look *look, const struct proc_dir *dir,
			    const struct gadgets *gadgets, struct err *err)
{
	scoped int *pids = NULL;
	size_t n = 0;

	if (proc_children_read(dir, &pids, &n, NULL) < 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		int rc = look_at_task(look, pids[i], gadgets, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Whatever cannot be read here is found out in the freeze, where it counts. */
static int look_at_task(struct look *look, pid_t pid, const struct gadgets *parents,
			struct err *err)
{
	scoped_proc dir = NULL;
	scoped struct proc_vma *v = NULL;
	struct early_task task = { .pid = pid };
	struct proc_stat stat;
	size_t n = 0;
	int rc;

	if (proc_open(&dir, NULL, pid, NULL) < 0 || proc_stat_read(dir, &stat, NULL) < 0)
		return 0;
	task.start_time = stat.starttime;
	task.ended = proc_stat_exiting(&stat);
	if (proc_maps_read(dir, &v, &n, NULL) == 0) {
		rc = wait_for_rescue(look, dir, &task, &v, &n, err);
		if (rc < 0)
			return rc;
		/* A forked child has its parent's text at the same addresses. */
		if (parents && parents->syscall_ret && gadgets_hold(pid, parents))
			task.gadgets = *parents;
		else
			gadgets_find(pid, v, n, &task.gadgets);
		task.cramped = room_is_scarce(pid, dir, v, n);
	}
	look_at_threads(look, dir);
	ARRAY_PUSH(look->early->task, look->early->n_tasks, look->early->cap_tasks, task);
	return look_at_children(look, dir, &task.gadgets, err);
}

int early_look(struct early *early, pid_t root, uint64_t deadline_ns, struct err *err)
{
	struct look look = { .early = early, .deadline_ns = deadline_ns };
	int rc = look_at_task(&look, root, NULL, err);

	free(look.clock);
	return rc;
}

void early_release(struct early *early)
{
	free(early->task);
	free(early->nap);
	*early = (struct early) {};
}

const struct early_task *early_find(const struct early *early, pid_t pid, uint64_t start_time)
{
	for (size_t i = 0; i < early->n_tasks; i++)
		if (early->task[i].pid == pid && early->task[i].start_time == start_time)
			return &early->task[i];
	return NULL;
}

/*
 * Woken by nobody but us, it has left the processor once more since then: to
 * stop. More than that, and the sleep seen early is not the one it is in.
 */
uint64_t early_slept_ns(const struct early *early, const struct proc_dir *task, pid_t tid)
{
	for (size_t i = 0; i < early->n_naps; i++) {
		const struct early_nap *nap = &early->nap[i];
		uint64_t exec_start, switches;
		scoped_proc dir = NULL;

		if (nap->tid != tid)
			continue;
		if (proc_open_thread(&dir, task, tid, NULL) < 0 ||
		    !read_sched(dir, &exec_start, &switches) || switches > nap->switches + 1)
			return 0;
		return nap->slept_ns + (now_ns() - nap->looked_ns);
	}
	return 0;
}
