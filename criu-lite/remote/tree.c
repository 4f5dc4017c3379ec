/* tree.c - the tree's own bookkeeping: adding, finding, freeing. */
#include "criu-lite/remote/tree.h"
#include "base/mem.h"
#include "criu-lite/proc/maps.h"
#include "criu-lite/proc/proc.h"
#include "criu-lite/proc/status.h"

struct task *tree_add_task(struct tree *tree, pid_t pid)
{
	struct task *task = xcalloc(1, sizeof(*task));

	task->pid = pid;
	task->pidfd = -1;
	task->state = TASK_ALIVE;
	ARRAY_PUSH(tree->task, tree->n_tasks, tree->cap_tasks, task);
	return task;
}

struct thread *task_add_thread(struct task *task, pid_t tid)
{
	struct thread *t = xcalloc(1, sizeof(*t));

	t->tid = tid;
	t->task = task;
	t->index = task->n_threads;
	ARRAY_PUSH(task->thread, task->n_threads, task->cap_threads, t);
	return t;
}

struct task *tree_find(const struct tree *tree, pid_t pid)
{
	struct task *t;

	for_each_task (t, tree)
		if (t->pid == pid)
			return t;
	return NULL;
}

void tree_threads(const struct tree *tree, struct thread ***all, size_t *n)
{
	size_t cap = 0;
	struct task *task;
	struct thread *t;

	*all = NULL;
	*n = 0;
	for_each_live_task (task, tree)
		for_each_thread (t, task)
			ARRAY_PUSH(*all, *n, cap, t);
}

int thread_status(struct thread *t, const struct proc_status **status, struct err *err)
{
	if (!t->status) {
		struct proc_status read;
		int rc = proc_status_read_thread(t->task->proc, t->tid, &read, err);

		if (rc < 0)
			return rc;
		t->status = xmemdup(&read, sizeof(read));
	}
	*status = t->status;
	return 0;
}

void task_forget_maps(struct task *task)
{
	free(task->vma);
	task->vma = NULL;
	task->n_vmas = 0;
}

int task_maps(struct task *task, const struct proc_vma **v, size_t *n, struct err *err)
{
	int rc = task->vma ? 0 : proc_maps_read(task->proc, &task->vma, &task->n_vmas, err);

	if (rc < 0)
		return rc;
	*v = task->vma;
	*n = task->n_vmas;
	return 0;
}

static void thread_free(struct thread *t)
{
	if (t->core)
		core_entry__free_unpacked(t->core, NULL);
	if (t->extra)
		sd_task_extra__free_unpacked(t->extra, NULL);
	if (t->status)
		proc_status_release(t->status);
	free(t->status);
	free(t->ns);
	free(t);
}

static void task_free(struct task *task)
{
	for (size_t i = 0; i < task->n_threads; i++)
		thread_free(task->thread[i]);
	free(task->thread);
	if (task->mm)
		mm_entry__free_unpacked(task->mm, NULL);
	if (task->fs)
		fs_entry__free_unpacked(task->fs, NULL);
	if (task->ids)
		task_kobj_ids_entry__free_unpacked(task->ids, NULL);
	for (size_t i = 0; i < task->n_fdinfo; i++)
		fdinfo_entry__free_unpacked(task->fdinfo[i], NULL);
	free(task->fdinfo);
	free(task->vma);
	proc_close(task->proc);
	if (task->pidfd >= 0)
		close(task->pidfd);
	free(task);
}

void tree_release(struct tree *tree)
{
	for (size_t i = 0; i < tree->n_tasks; i++)
		task_free(tree->task[i]);
	free(tree->task);
	*tree = (struct tree) {};
}
