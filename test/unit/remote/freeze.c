/* freeze.c - real trees, stopped, entered and let go, that must not notice. */
#include "base/mem.h"
#include "criu-lite/remote/inside.h"
#include "criu-lite/remote/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

#define WAIT_MS	 30000 /* for anything that must happen */
#define SLEEP_MS 1500  /* of calls with a timeout */
#define CROWD	 20    /* threads: more than MANY_THREADS of early.c */

static const struct freeze_options options = { .timeout_ms = 10000 };

/* What children say, and how they are told. */
struct shared {
	volatile int ready;
	volatile pid_t pid[4];
	volatile int go;
	volatile int result;
	volatile int ms;
};
static struct shared *shared;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void nap(long ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

#define WAIT_FOR(condition)                                                                        \
	for (uint64_t limit_ = now_ms() + WAIT_MS; !(condition); nap(2))                           \
		if (now_ms() > limit_)                                                             \
	fail_msg("never: %s", #condition)

static char state_of(pid_t pid)
{
	scoped char *name = xasprintf("/proc/%d/stat", pid);
	scoped_file f = fopen(name, "re");
	char line[512], *end;

	if (!f || !fgets(line, sizeof(line), f) || !(end = strrchr(line, ')')))
		return '-';
	return end[2];
}

static int setup(void **state)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	return shared == MAP_FAILED;
}

static int renew(void **state)
{
	memset((void *)shared, 0, sizeof(*shared));
	return 0;
}

/* fork() whose child ends with the test program. */
static pid_t spawn(void)
{
	pid_t pid = fork();

	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

static void freeze(struct tree *tree, pid_t pid)
{
	struct refusals refusals = {};
	struct err err = {};

	if (tree_freeze(tree, pid, &options, &refusals, &err) < 0 ||
	    refusals_result(&refusals, &err) < 0) {
		tree_thaw(tree, THAW_RUN, NULL);
		fail_msg("%s", err.text);
	}
	refusals_release(&refusals);
}

static void thaw(struct tree *tree)
{
	struct err err = {};

	if (tree_thaw(tree, THAW_RUN, &err) < 0)
		fail_msg("%s", err.text);
	tree_release(tree);
}

/* Into every task, one plan, and out. */
static void visit(struct tree *tree)
{
	struct task *task;

	for_each_live_task (task, tree) {
		struct err err = {};
		struct plan p;
		int rc = remote_enter(task, &options, &err);

		if (rc == 0) {
			remote_plan_init(task, &p);
			plan_add(&p, PLAN_IS, "getpid", SYS_getpid);
			p.note[0].expect = task->pid;
			rc = remote_run(task, &p, &err);
			rc = rc < 0 ? rc : plan_judge(&p, &err);
			plan_release(&p);
		}
		if (rc == 0)
			rc = remote_leave(task, &err);
		if (rc < 0) {
			tree_thaw(tree, THAW_RUN, NULL);
			fail_msg("%s", err.text);
		}
	}
}

static void freeze_and_visit(pid_t pid)
{
	struct tree tree = {};

	freeze(&tree, pid);
	visit(&tree);
	thaw(&tree);
}

/* --- trees -------------------------------------------------------------------------------- */

static void sit(int i)
{
	shared->pid[i] = getpid();
	for (;;)
		pause();
}

/* Where the runner has looked for a plan, found none, and is about to wait: behind its first jump. */
static uint64_t about_to_wait(const struct task *task)
{
	static const unsigned char lengths[] = { 3, 4, 7 }; /* by the size of D */
	unsigned char code[16];
	size_t at;

	assert_int_equal(task_peek(task->pid, task->remote->scratch, code, sizeof(code)), 0);
	assert_int_equal(code[0], 0x83); /* cmpl $N, D(%rbx) */
	at = lengths[code[1] >> 6];
	assert_true(code[at] == 0x74 || code[at] == 0x0f); /* je */
	return task->remote->scratch + at + (code[at] == 0x74 ? 2 : 6);
}

static void stopped_before_it_waits(void **state)
{
	pid_t pid = spawn();
	struct tree tree = {};
	struct task *task;
	struct plan p;
	struct regs regs;
	struct err err = {};
	int rc;

	if (pid == 0)
		sit(0);
	WAIT_FOR(shared->pid[0]);
	freeze(&tree, pid);
	task = tree.task[0];
	rc = remote_enter(task, &options, &err);
	if (!rc)
		rc = regs_get(pid, &regs, &err);
	if (!rc) {
		regs_run_at(&regs, &regs, about_to_wait(task), slice_addr(task->remote, 0),
			    task->remote->chain);
		rc = regs_set(pid, &regs, &err);
	}
	if (!rc) {
		remote_plan_init(task, &p);
		plan_add(&p, PLAN_MUST, "getpid", SYS_getpid);
		rc = remote_run(task, &p, &err);
		plan_release(&p);
	}
	if (!rc)
		rc = remote_leave(task, &err);
	if (rc < 0)
		print_message("%s\n", err.text);
	thaw(&tree);
	end(pid);
	assert_int_equal(rc, 0);
}

/* One that is killed while we have it: what is said names it once. */
static void says_whose_once(void **state)
{
	struct tree tree = {};
	struct err entering = {}, leaving = {};
	pid_t pid[2];

	for (int i = 0; i < 2; i++) {
		pid[i] = spawn();
		if (pid[i] == 0)
			sit(i);
		WAIT_FOR(shared->pid[i]);
	}
	freeze(&tree, pid[0]);
	kill(pid[0], SIGKILL);
	WAIT_FOR(state_of(pid[0]) == 'Z');
	assert_true(remote_enter(tree.task[0], &options, &entering) < 0);
	tree_thaw(&tree, THAW_RUN, NULL);
	tree_release(&tree);

	freeze(&tree, pid[1]);
	assert_int_equal(remote_enter(tree.task[0], &options, NULL), 0);
	kill(pid[1], SIGKILL);
	WAIT_FOR(state_of(pid[1]) == 'Z');
	assert_true(remote_leave(tree.task[0], &leaving) < 0);
	tree_thaw(&tree, THAW_RUN, NULL);
	tree_release(&tree);

	for (int i = 0; i < 2; i++) {
		const char *said = i ? leaving.text : entering.text;
		scoped char *whose = xasprintf("task %d: ", pid[i]);

		print_message("%s\n", said);
		assert_ptr_equal(strstr(said, whose), said);
		assert_null(strstr(said + 1, whose));
		end(pid[i]);
	}
}

/* A root with a child in a group of its own, a grandchild, a zombie and a stopped child. */
static void grow(void)
{
	pid_t zombie;

	if (spawn() == 0) {
		setpgid(0, 0);
		if (spawn() == 0)
			sit(1);
		sit(0);
	}
	zombie = spawn();
	if (zombie == 0)
		_exit(42);
	shared->pid[2] = zombie;
	if (spawn() == 0) {
		shared->pid[3] = getpid();
		raise(SIGSTOP);
		for (;;)
			pause();
	}
	shared->ready = 1;
	for (;;)
		pause();
}

static void a_tree_is_described(void **state)
{
	pid_t root = spawn();
	struct tree tree = {};

	if (root == 0)
		grow();
	WAIT_FOR(shared->ready && shared->pid[0] && shared->pid[1] && shared->pid[3]);
	WAIT_FOR(state_of(shared->pid[2]) == 'Z' && state_of(shared->pid[3]) == 'T');
	freeze(&tree, root);
	visit(&tree);
	assert_int_equal(tree.n_tasks, 5);
	assert_ptr_equal(tree.task[0]->parent, NULL);
	assert_int_equal(tree_find(&tree, shared->pid[0])->pgid, shared->pid[0]);
	assert_int_equal(tree_find(&tree, shared->pid[1])->parent->pid, shared->pid[0]);
	assert_int_equal(tree_find(&tree, shared->pid[2])->state, TASK_DEAD);
	assert_int_equal(tree_find(&tree, shared->pid[2])->exit_code, 42 << 8);
	assert_int_equal(tree_find(&tree, shared->pid[3])->state, TASK_STOPPED);
	assert_int_equal(tree_find(&tree, shared->pid[3])->stop_signal, SIGSTOP);
	assert_int_equal(tree.task[0]->exit_signal, SIGCHLD);
	thaw(&tree);
	WAIT_FOR(state_of(shared->pid[3]) == 'T');
	WAIT_FOR(state_of(shared->pid[0]) == 'S');
	kill(shared->pid[3], SIGCONT);
	WAIT_FOR(state_of(shared->pid[3]) == 'S');
	end(root);
}

/* Stops for all: the way out of --stop and --kill. */
static void thaw_can_stop_or_kill(void **state)
{
	pid_t pid = spawn();
	struct tree tree = {};
	struct err err = {};
	int status;

	if (pid == 0)
		sit(0);
	WAIT_FOR(shared->pid[0]);
	freeze(&tree, pid);
	assert_int_equal(tree_thaw(&tree, THAW_STOP, &err), 0);
	tree_release(&tree);
	assert_int_equal(state_of(pid), 'T');
	freeze(&tree, pid);
	assert_int_equal(tree_thaw(&tree, THAW_KILL, &err), 0);
	tree_release(&tree);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void *sit_along(void *arg)
{
	__atomic_fetch_add(&shared->go, 1, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
	return arg;
}

/* Some of them die before they can be detached; their task has ended all the same. */
static void killed_with_its_threads(void **state)
{
	enum { THREADS = 20 };
	pid_t pid = spawn();
	struct tree tree = {};
	struct pollfd ended;
	struct err err = {};
	pthread_t t;

	if (pid == 0) {
		for (int i = 0; i < THREADS; i++)
			pthread_create(&t, NULL, sit_along, NULL);
		sit(0);
	}
	WAIT_FOR(shared->pid[0] && shared->go == THREADS);
	ended = (struct pollfd) { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	assert_true(ended.fd >= 0);
	freeze(&tree, pid);
	assert_int_equal(tree_thaw(&tree, THAW_KILL, &err), 0);
	tree_release(&tree);
	assert_int_equal(poll(&ended, 1, 0), 1);
	close(ended.fd);
	end(pid);
}

/* A stop signal that comes while we are inside takes effect afterwards, unless it was undone. */
static void stop_signals_are_not_lost(void **state)
{
	pid_t pid = spawn();
	struct tree tree = {};

	if (pid == 0)
		sit(0);
	WAIT_FOR(shared->pid[0]);
	freeze(&tree, pid);
	kill(pid, SIGSTOP);
	visit(&tree);
	thaw(&tree);
	WAIT_FOR(state_of(pid) == 'T');
	kill(pid, SIGCONT);
	WAIT_FOR(state_of(pid) == 'S');
	freeze(&tree, pid);
	kill(pid, SIGSTOP);
	visit(&tree);
	kill(pid, SIGCONT);
	thaw(&tree);
	WAIT_FOR(state_of(pid) == 'S');
	end(pid);
}

/* The plan that was to close it did not come about, say. */
static void what_a_plan_made_does_not_stay(void **state)
{
	pid_t pid = spawn();
	struct tree tree = {};
	struct plan p;
	struct err err = {};
	char path[64];
	int rc;

	if (pid == 0)
		sit(0);
	WAIT_FOR(shared->pid[0]);
	freeze(&tree, pid);
	rc = remote_enter(tree.task[0], &options, &err);
	if (rc == 0) {
		remote_plan_init(tree.task[0], &p);
		plan_add(&p, PLAN_MUST, "eventfd", SYS_eventfd2, 7, 0);
		p.row[0].undo = SYS_close;
		rc = remote_run(tree.task[0], &p, &err);
		rc = rc < 0 ? rc : plan_judge(&p, &err);
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, (int)plan_ret(&p, 0));
		plan_release(&p);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(remote_leave(tree.task[0], &err), 0);
	assert_int_equal(faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW), -1);
	thaw(&tree);
	end(pid);
}

/* --- a signal that is on its way in --------------------------------------------------------- */

static volatile int n_handled;

static void count_one(int sig)
{
	n_handled++;
}

/* Each is handled before the call that sent it comes back. */
static void signal_itself(void)
{
	int sent = 0;

	signal(SIGUSR1, count_one);
	while (!shared->go) {
		kill(getpid(), SIGUSR1);
		shared->result |= ++sent != n_handled;
		shared->ready = 1;
	}
	_exit(shared->result);
}

static void wait_stop(struct tracee *t, enum stop wanted)
{
	enum stop stop;

	assert_int_equal(tracee_wait(t, WAIT_MS, &stop, NULL), 0);
	assert_int_equal(stop, wanted);
}

/* As if the signal had come between attaching and asking to stop. */
static void signal_before_the_interrupt(void **state)
{
	pid_t pid = spawn();
	struct tracee *t = xcalloc(1, sizeof(*t));
	int status;

	if (pid == 0)
		signal_itself();
	WAIT_FOR(shared->ready);
	t->tid = pid;
	assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD), 0);
	wait_stop(t, STOP_SIGNAL);
	assert_int_equal(t->signal, SIGUSR1);
	tracee_interrupt(t);
	assert_int_equal(tracee_continue(t, NULL), 0);
	wait_stop(t, STOP_EVENT);
	tracee_detach(t);
	tracee_free(t);
	shared->go = 1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* --- vfork ----------------------------------------------------------------------------------- */

static void vfork_parent(void)
{
	pid_t child = vfork();

	if (child == 0) {
		shared->pid[0] = getpid();
		shared->ready = 1;
		while (!shared->go)
			usleep(1000);
		execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	shared->pid[1] = child;
	for (;;)
		pause();
}

static void *say_go(void *arg)
{
	nap(100);
	shared->go = 1;
	return NULL;
}

static void vfork_child_goes_on_to_exec(void **state)
{
	pid_t pid = spawn();
	struct tree tree = {};
	pthread_t t;

	if (pid == 0)
		vfork_parent();
	WAIT_FOR(shared->ready);
	pthread_create(&t, NULL, say_go, NULL);
	freeze(&tree, pid);
	visit(&tree);
	assert_int_equal(tree.n_tasks, 2);
	assert_int_equal(tree.task[1]->pid, shared->pid[0]);
	thaw(&tree);
	pthread_join(t, NULL);
	WAIT_FOR(shared->pid[1]);
	kill(shared->pid[1], SIGKILL);
	end(pid);
}

/* In a process of its own: what never stopped is let go when the tool ends. */
static void time_out_on(pid_t pid)
{
	const struct freeze_options brief = { .timeout_ms = 200 };
	struct refusals refusals = {};
	struct tree tree = {};
	struct err err = {};
	int rc = tree_freeze(&tree, pid, &brief, &refusals, &err);

	tree_thaw(&tree, THAW_RUN, NULL);
	_exit(rc == -ETIMEDOUT && strstr(err.text, "did not stop") ? 0 : 1);
}

static void vfork_for_ever_is_told_and_let_go(void **state)
{
	pid_t pid = spawn(), tool;
	int status;

	if (pid == 0)
		vfork_parent();
	WAIT_FOR(shared->ready);
	tool = spawn();
	if (tool == 0)
		time_out_on(pid);
	assert_int_equal(waitpid(tool, &status, 0), tool);
	assert_int_equal(status, 0);
	shared->go = 1;
	WAIT_FOR(shared->pid[1]);
	kill(shared->pid[1], SIGKILL);
	end(pid);
}

/* --- what is refused ----------------------------------------------------------------------------- */

static void expect_refusal(pid_t pid, const char *word)
{
	struct refusals refusals = {};
	struct tree tree = {};
	struct err err = {};
	int rc = tree_freeze(&tree, pid, &options, &refusals, &err);

	if (rc == 0)
		rc = refusals_result(&refusals, &err);
	tree_thaw(&tree, THAW_RUN, NULL);
	tree_release(&tree);
	refusals_release(&refusals);
	assert_int_equal(rc, ERR_REFUSED);
	if (!strstr(err.text, word))
		fail_msg("no \"%s\" in: %s", word, err.text);
}

/* Its parent, which waits for it, is not to be frozen: what it has is only lent. */
static void vfork_child_alone(void **state)
{
	pid_t pid = spawn();
	scoped char *who = NULL;

	if (pid == 0)
		vfork_parent();
	WAIT_FOR(shared->ready);
	who = xasprintf("task %d and task %d outside of the tree share memory", shared->pid[0],
			pid);
	expect_refusal(shared->pid[0], who);
	shared->go = 1;
	WAIT_FOR(shared->pid[1]);
	kill(shared->pid[1], SIGKILL);
	end(pid);
}

static int vfork_on_borrowed_memory(void *arg)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	vfork_parent();
	return 0;
}

/* Of two that share the memory of the one that cannot stop, its own parent is not the one it waits for. */
static void vfork_below_one_that_shares(void **state)
{
	static char stack[65536] __attribute__((aligned(16)));
	pthread_t t;
	pid_t pid;

#ifdef __SANITIZE_ADDRESS__
	skip(); /* it knows the stack of a thread, but not this one's */
#endif
	pid = spawn();
	if (pid == 0) {
		clone(vfork_on_borrowed_memory, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
		for (;;)
			pause();
	}
	WAIT_FOR(shared->ready);
	pthread_create(&t, NULL, say_go, NULL);
	expect_refusal(pid, "share memory");
	pthread_join(t, NULL);
	WAIT_FOR(shared->pid[1]);
	kill(shared->pid[1], SIGKILL);
	end(pid);
}

static void traced_by_another(void **state)
{
	pid_t pid = spawn(), tracer;
	scoped char *who = NULL;

	if (pid == 0)
		sit(0);
	WAIT_FOR(shared->pid[0]);
	tracer = spawn();
	if (tracer == 0) {
		shared->ready = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 ? 1 : -1;
		for (;;)
			pause();
	}
	WAIT_FOR(shared->ready);
	who = xasprintf("traced by task %d", tracer);
	expect_refusal(pid, who);
	end(tracer);
	freeze_and_visit(pid);
	end(pid);
}

static void ourselves(void **state)
{
	expect_refusal(getpid(), "this program itself");
}

static void *own_directory(void *arg)
{
	shared->ready = unshare(CLONE_FS) == 0 ? 1 : -1;
	while (pause())
		;
	return NULL;
}

static void thread_with_its_own_directory(void **state)
{
	pid_t pid = spawn();

	if (pid == 0) {
		pthread_t t;

		pthread_create(&t, NULL, own_directory, NULL);
		sit(0);
	}
	WAIT_FOR(shared->ready);
	assert_int_equal(shared->ready, 1);
	expect_refusal(pid, "working directory of its own");
	end(pid);
}

static void *outlive(void *arg)
{
	shared->ready = 1;
	while (pause())
		;
	return NULL;
}

static void first_thread_has_ended(void **state)
{
	pid_t pid = spawn();

	if (pid == 0) {
		pthread_t t;

		pthread_create(&t, NULL, outlive, NULL);
		pthread_exit(NULL);
	}
	WAIT_FOR(shared->ready && state_of(pid) == 'Z');
	expect_refusal(pid, "first thread has ended");
	end(pid);
}

static int share_descriptors(void *arg)
{
	/* Before the parent may end: else it would be left behind. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shared->ready = 1;
	while (pause())
		;
	return 0;
}

static void tasks_that_share_descriptors(void **state)
{
	static char stack[65536] __attribute__((aligned(16)));
	pid_t pid = spawn();

	if (pid == 0) {
		clone(share_descriptors, stack + sizeof(stack), CLONE_FILES | SIGCHLD, NULL);
		for (;;)
			pause();
	}
	WAIT_FOR(shared->ready);
	expect_refusal(pid, "share their descriptor table");
	end(pid);
}

static void nobody(void **state)
{
	struct refusals refusals = {};
	struct tree tree = {};
	struct err err = {};
	pid_t pid = spawn();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_int_equal(tree_freeze(&tree, pid, &options, &refusals, &err), -ESRCH);
	tree_thaw(&tree, THAW_RUN, NULL);
	tree_release(&tree);
}

/* --- calls that sleep ------------------------------------------------------------------------------- */

static struct timespec full(void)
{
	return (struct timespec) { .tv_sec = SLEEP_MS / 1000,
				   .tv_nsec = SLEEP_MS % 1000 * 1000000l };
}

static int ended(long rc, int as)
{
	return rc < 0 && errno != as ? errno : 0;
}

static int sleep_nanosleep(void)
{
	struct timespec t = full();

	return ended(nanosleep(&t, NULL), 0);
}

static int sleep_poll(void)
{
	return ended(poll(NULL, 0, SLEEP_MS), 0);
}

static int sleep_select(void)
{
	struct timeval t = { .tv_sec = SLEEP_MS / 1000, .tv_usec = SLEEP_MS % 1000 * 1000 };

	return ended(select(0, NULL, NULL, NULL, &t), 0);
}

static int sleep_epoll(void)
{
	struct epoll_event e;

	return ended(epoll_wait(epoll_create1(0), &e, 1, SLEEP_MS), 0);
}

static int sleep_futex(void)
{
	struct timespec t = full();
	int word = 0;

	return ended(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &t, NULL, 0), ETIMEDOUT);
}

static int sleep_sigtimedwait(void)
{
	struct timespec t = full();
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return ended(sigtimedwait(&set, NULL, &t), EAGAIN);
}

static int sleep_semtimedop(void)
{
	struct timespec t = full();
	struct sembuf op = { .sem_op = -1 };
	int id = semget(IPC_PRIVATE, 1, 0600), rc = ended(semtimedop(id, &op, 1, &t), EAGAIN);

	semctl(id, 0, IPC_RMID);
	return rc;
}

static int sleep_read(void)
{
	int fd[2];
	char c;

	if (pipe(fd) < 0)
		return errno;
	if (fork() == 0) {
		nap(SLEEP_MS);
		_exit(write(fd[1], "x", 1) != 1);
	}
	return read(fd[0], &c, 1) == 1 ? 0 : errno;
}

static int sleep_wait4(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		nap(SLEEP_MS);
		_exit(0);
	}
	return waitpid(pid, NULL, 0) == pid ? 0 : errno;
}

static const struct sleeper {
	const char *name;
	int (*call)(void);
} sleepers[] = {
	{ "nanosleep", sleep_nanosleep },   { "poll", sleep_poll },
	{ "select", sleep_select },	    { "epoll_wait", sleep_epoll },
	{ "futex", sleep_futex },	    { "sigtimedwait", sleep_sigtimedwait },
	{ "semtimedop", sleep_semtimedop }, { "read", sleep_read },
	{ "wait4", sleep_wait4 },
};

static pid_t start_sleeper(const struct sleeper *s)
{
	pid_t pid = spawn();

	if (pid == 0) {
		uint64_t start = now_ms();

		shared->pid[0] = getpid();
		shared->result = s->call();
		shared->ms = (int)(now_ms() - start);
		shared->ready = 1;
		sit(1);
	}
	WAIT_FOR(shared->pid[0] && state_of(pid) == 'S');
	return pid;
}

/* Whatever it sleeps in: no EINTR, and not a millisecond less. */
static void sleeping_calls_go_on(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(sleepers); i++) {
		pid_t pid;

		renew(NULL);
		pid = start_sleeper(&sleepers[i]);
		freeze_and_visit(pid);
		WAIT_FOR(shared->ready);
		if (shared->result || shared->ms < SLEEP_MS - 2)
			fail_msg("%s: %s after %d ms", sleepers[i].name, strerror(shared->result),
				 shared->ms);
		end(pid);
	}
}

/* If each freeze began the wait anew, it would outlast them all. */
static void timeout_runs_on(int (*call)(void))
{
	const struct sleeper epoll = { "epoll_wait", call };
	pid_t pid = start_sleeper(&epoll);
	int freezes = 0;

	for (; !shared->ready && freezes < 100; freezes++) {
		freeze_and_visit(pid);
		nap(SLEEP_MS / 10);
	}
	assert_true(shared->ready);
	assert_int_equal(shared->result, 0);
	assert_true(shared->ms >= SLEEP_MS - 2);
	end(pid);
}

static void epoll_timeout_runs_on(void **state)
{
	timeout_runs_on(sleep_epoll);
}

static void *idle(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static int sleep_epoll_in_a_crowd(void)
{
	pthread_t t;

	for (int i = 0; i < CROWD; i++)
		if (pthread_create(&t, NULL, idle, NULL))
			return EAGAIN;
	return sleep_epoll();
}

/* So many that descriptors are looked at before threads are. */
static void epoll_timeout_runs_on_in_a_crowd(void **state)
{
	timeout_runs_on(sleep_epoll_in_a_crowd);
}

static volatile int handled;

static void handle(int sig)
{
	handled = 1;
}

static int sleep_until_signal(void)
{
	struct epoll_event e;
	int rc;

	signal(SIGUSR1, handle);
	rc = epoll_wait(epoll_create1(0), &e, 1, WAIT_MS);
	return rc < 0 && errno == EINTR && handled ? 0 : -1;
}

/* A handler that runs on the way out must be seen by the call as ever: it ends with EINTR. */
static void signal_while_frozen_interrupts(void **state)
{
	const struct sleeper wait = { "epoll_wait", sleep_until_signal };
	pid_t pid = start_sleeper(&wait);
	struct tree tree = {};

	freeze(&tree, pid);
	kill(pid, SIGUSR1);
	visit(&tree);
	thaw(&tree);
	WAIT_FOR(shared->ready);
	assert_int_equal(shared->result, 0);
	end(pid);
}

/* --- restartable sequences ------------------------------------------------------------------------- */

struct rseq_section {
	uint32_t version, flags;
	uint64_t start, len, abort;
} __attribute__((aligned(32)));

extern const char sequence_start[], sequence_end[], sequence_abort[];

/* For ever into a long sequence; counts how often it was aborted. */
static void __attribute__((noinline)) run_sequences(void)
{
	char *rseq = (char *)__builtin_thread_pointer() + __rseq_offset;
	static struct rseq_section section;

	section.start = (uint64_t)sequence_start;
	section.len = (uint64_t)(sequence_end - sequence_start);
	section.abort = (uint64_t)sequence_abort;
	shared->ready = 1;
	for (;;) {
		uint64_t n = 1ull << 40, aborted = 0;

		__asm__ volatile("	movq %[section], 8(%[rseq])\n"
				 "sequence_start:\n"
				 "1:	dec %[n]\n"
				 "	jnz 1b\n"
				 "sequence_end:\n"
				 "	jmp 2f\n"
				 "	.byte 0x0f, 0xb9, 0x3d\n" /* ud1 before the signature */
				 "	.long 0x53053053\n"
				 "sequence_abort:\n"
				 "	mov $1, %[aborted]\n"
				 "2:\n"
				 : [n] "+r"(n), [aborted] "+r"(aborted)
				 : [rseq] "r"(rseq), [section] "r"(&section)
				 : "memory", "cc");
		shared->result += (int)aborted;
	}
}

/* Our calls make the kernel forget the sequence: we must have gone to the abort handler. */
static void sequence_is_aborted(void **state)
{
	pid_t pid;
	int before;

	if (!__rseq_size) /* libc was told not to register any */
		skip();
	pid = spawn();
	if (pid == 0)
		run_sequences();
	WAIT_FOR(shared->ready);
	nap(20);
	before = shared->result;
	for (int i = 0; i < 10; i++) {
		int aborted = shared->result;

		freeze_and_visit(pid);
		WAIT_FOR(shared->result > aborted);
	}
	assert_true(shared->result >= before + 10);
	end(pid);
}

#define T(f) cmocka_unit_test_setup(f, renew)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(stopped_before_it_waits),
		T(says_whose_once),
		T(a_tree_is_described),
		T(thaw_can_stop_or_kill),
		T(killed_with_its_threads),
		T(stop_signals_are_not_lost),
		T(signal_before_the_interrupt),
		T(what_a_plan_made_does_not_stay),
		T(vfork_child_goes_on_to_exec),
		T(vfork_for_ever_is_told_and_let_go),
		T(vfork_child_alone),
		T(vfork_below_one_that_shares),
		T(traced_by_another),
		T(ourselves),
		T(thread_with_its_own_directory),
		T(first_thread_has_ended),
		T(tasks_that_share_descriptors),
		T(nobody),
		T(sleeping_calls_go_on),
		T(epoll_timeout_runs_on),
		T(epoll_timeout_runs_on_in_a_crowd),
		T(signal_while_frozen_interrupts),
		T(sequence_is_aborted),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
