/*
 * tree.c - a tree that notices when a part of it is missing: threads, a child
 * with threads, a session of its own, a process group, a zombie, a stopped task.
 *
 *	tree FILE
 *
 * Every thread counts up in its place of FILE (see tree.h) and looks at itself
 * each time: ids, signal mask, thread-local storage, a vector register.
 */
#include "tree.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct tree_file *file;
static __thread int own_number;

static void beat(int i)
{
	struct tree_thread *t = &file->thread[i];
	struct timespec nap = { .tv_nsec = 1000000 };
	sigset_t mask, now;
	pid_t parent = getppid();

	own_number = i;
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + i);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	t->pid = getpid();
	t->tid = gettid();
	t->pgid = getpgrp();
	t->sid = getsid(0);
	for (;;) {
		double before = i + 0.25, after;

		__asm__ volatile("movsd %1, %%xmm9\n\tmov $35, %%eax\n\tmov %2, %%rdi\n\t"
				 "xor %%esi, %%esi\n\tsyscall\n\tmovsd %%xmm9, %0"
				 : "=m"(after)
				 : "m"(before), "r"(&nap)
				 : "rax", "rdi", "rsi", "rcx", "r11", "xmm9", "memory");
		pthread_sigmask(SIG_SETMASK, NULL, &now);
		if (after != before || own_number != i || getpid() != t->pid ||
		    gettid() != t->tid || getpgrp() != t->pgid || getsid(0) != t->sid ||
		    sigismember(&now, SIGRTMIN + i) != 1 || sigismember(&now, SIGUSR1) ||
		    (i != ROOT && i != ROOT_THREAD && i != ROOT_THREAD2 && getppid() != parent))
			t->wrong = 1;
		t->beats++;
	}
}

static void *thread(void *arg)
{
	beat((int)(intptr_t)arg);
	return NULL;
}

static void start_thread(int i)
{
	pthread_t p;

	if (pthread_create(&p, NULL, thread, (void *)(intptr_t)i))
		abort();
}

static void child(int i)
{
	if (i == CHILD) {
		setpgid(0, 0);
		start_thread(CHILD_THREAD);
		if (!fork()) {
			setsid();
			beat(GRANDCHILD);
		}
	}
	beat(i);
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	pid_t dead;

	file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || file == MAP_FAILED)
		return 1;
	close(fd);
	setsid();
	dead = fork();
	if (!dead)
		_exit(42);
	file->zombie = dead;
	if (!fork())
		child(CHILD);
	if (!fork())
		child(STOPPED);
	start_thread(ROOT_THREAD);
	start_thread(ROOT_THREAD2);
	beat(ROOT);
}
