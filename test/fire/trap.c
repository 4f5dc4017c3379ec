/*
 * trap.c - run a tool and interfere with its n-th system call.
 *
 *	trap [-D DIR] [-w | -c CALL | -b] [-o FILE] [-k N [-u US] | -f N [-e ERRNO] | -s N | -S N | -x COMMAND -n N] PROGRAM [ARG...]
 *
 * Calls of all its threads are counted, from the first that names DIR on (what
 * the dynamic loader does is no matter of ours); with -w only those that change
 * files below DIR, with -c those of the number CALL, with -b those that do not wait for anybody. -k kills the tool as it enters call N, or US microseconds
 * later; -f makes call N fail, with an error that fits it; -s makes a write
 * short, if call N is one, and the next one fail for want of room; after -S the next one works; -x runs COMMAND while the tool stands at call N. FILE gets one line:
 * "calls N hit PHASE CALL", then a line "PHASE CALLS" for each phase. Exits as the
 * tool does, or with 128 + its signal. What it forks is not followed. The counters that
 * a tool built for coverage writes as it ends are left alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Of sd-dump; then those of sd-restore. */
enum phase {
	PREPARE,
	PRECOPY, /* and what is looked up before the freeze */
	FREEZE,
	INSIDE,
	PAGES,
	LEAVE,
	THAW,
	WRITE,
	SYNC,
	PUBLISH,
	BUILD,
	COMMITTED,
	N_PHASES
};
static const char *const phase_names[] = { "prepare", "precopy", "freeze", "inside",
					   "pages",   "leave",	 "thaw",   "write",
					   "sync",    "publish", "build",  "committed" };

enum { MAX_THREADS = 64 };

/* One thread of the tool, between the entry and the exit of a call. */
struct thread {
	pid_t tid;     /* 0: a free place */
	int fail_exit; /* the errno with which this call is to end; 0: its own result */
	bool changed;  /* its arguments are to be as they were when it ends */
	struct user_regs_struct own;
};

struct trap {
	const char *dir, *out, *command;
	bool writes_only, busy_only, counting, counters;
	long only_call; /* -1: all */
	long kill_at, fail_at, short_at, run_at;
	bool room_stays; /* after a short write */
	long delay_us;
	int with; /* this errno, not the one that fits */
	pid_t pid;
	struct thread thread[MAX_THREADS];
	long calls, in_phase[N_PHASES];
	enum phase phase;
	enum phase hit_phase;
	long hit_call; /* its number; -1: none was hit */
	bool room_gone;
	bool gate_opens;
};

static void die(const char *what)
{
	perror(what);
	exit(125);
}

/* --- what a call is about ---------------------------------------------------------------- */

static void read_string(const struct trap *t, unsigned long at, char *buf, size_t len)
{
	size_t page = 4096 - at % 4096;
	struct iovec local = { buf, len - 1 < page ? len - 1 : page }, remote = { (void *)at, 0 };
	ssize_t n;

	remote.iov_len = local.iov_len;
	n = process_vm_readv(t->pid, &local, 1, &remote, 1, 0);
	buf[n < 0 ? 0 : n] = 0;
}

static unsigned long read_word(const struct trap *t, unsigned long at)
{
	unsigned long word = 0;
	struct iovec local = { &word, sizeof(word) }, remote = { (void *)at, sizeof(word) };

	return process_vm_readv(t->pid, &local, 1, &remote, 1, 0) == sizeof(word) ? word : 0;
}

/* The path of a call that has one, else "". */
static void call_path(const struct trap *t, const struct user_regs_struct *r, char *buf, size_t len)
{
	buf[0] = 0;
	switch (r->orig_rax) {
	case SYS_open:
	case SYS_stat:
	case SYS_lstat:
	case SYS_mkdir:
		read_string(t, r->rdi, buf, len);
		break;
	case SYS_openat:
	case SYS_newfstatat:
	case SYS_statx:
	case SYS_mkdirat:
		read_string(t, r->rsi, buf, len);
		break;
	}
}

/* Does what descriptor @fd of the tool is open on begin so? */
static bool leads_to(const struct trap *t, int fd, const char *begin)
{
	char link[64], path[512];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", t->pid, fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n < 0 ? 0 : n] = 0;
	return strncmp(path, begin, strlen(begin)) == 0;
}

static bool below_dir(const struct trap *t, int fd)
{
	return leads_to(t, fd, t->dir);
}

static bool changes_files(const struct trap *t, const struct user_regs_struct *r)
{
	switch (r->orig_rax) {
	case SYS_write:
	case SYS_pwrite64:
	case SYS_writev:
	case SYS_pwritev:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_ftruncate:
	case SYS_fallocate:
	case SYS_copy_file_range:
	case SYS_mkdirat:
	case SYS_unlinkat:
	case SYS_renameat:
	case SYS_renameat2:
		return below_dir(t, (int)r->rdi);
	case SYS_symlinkat:
		return below_dir(t, (int)r->rsi);
	case SYS_openat:
		return (r->rdx & O_CREAT) && below_dir(t, (int)r->rdi);
	case SYS_mkdir:
		return true;
	}
	return false;
}

/* Called as often as it takes: how often, is a matter of who gets the processor. */
static bool waits(long nr)
{
	static const long waiting[] = { SYS_sched_yield,    SYS_nanosleep, SYS_clock_nanosleep,
					SYS_futex,	    SYS_poll,	   SYS_ppoll,
					SYS_wait4,	    SYS_waitid,	   SYS_rt_sigtimedwait,
					SYS_restart_syscall };

	for (size_t i = 0; i < sizeof(waiting) / sizeof(*waiting); i++)
		if (nr == waiting[i])
			return true;
	return false;
}

/* How far sd-restore has come; true: this is that program. */
static bool follow_restore(struct trap *t, const struct user_regs_struct *r)
{
	long nr = (long)r->orig_rax;

	if (t->phase == PREPARE && nr == SYS_clone3 && !(read_word(t, r->rdi) & CLONE_THREAD)) {
		t->phase = BUILD;
	} else if (t->phase == BUILD) {
		/* The byte into the gate: what follows is behind it. */
		if (t->gate_opens)
			t->phase = COMMITTED;
		t->gate_opens = nr == SYS_write && r->rdx == 1 && leads_to(t, (int)r->rdi, "pipe:");
	}
	return t->phase == BUILD || t->phase == COMMITTED;
}

/* How far a tool has come, from the calls that begin each phase. */
static void follow_phase(struct trap *t, const struct user_regs_struct *r, const char *path)
{
	long nr = (long)r->orig_rax;
	bool request = nr == SYS_ptrace;

	if (follow_restore(t, r))
		return;
	switch (t->phase) {
	case PREPARE:
		/* What is written is read through it, before anybody is stopped. */
		if (nr == SYS_openat && strcmp(path, "mem") == 0)
			t->phase = PRECOPY;
		/* fall through */
	case PRECOPY:
		if (request && r->rdi == PTRACE_SEIZE)
			t->phase = FREEZE;
		break;
	case FREEZE:
		if (strstr(path, "map_files"))
			t->phase = INSIDE;
		break;
	case INSIDE:
		if (nr == SYS_mkdirat)
			t->phase = PAGES;
		break;
	case PAGES:
		if (request && (r->rdi == PTRACE_SETREGSET || r->rdi == PTRACE_SETREGS))
			t->phase = LEAVE;
		break;
	case LEAVE:
		if (request && r->rdi == PTRACE_DETACH)
			t->phase = THAW;
		break;
	case THAW:
		if (nr == SYS_openat && (r->rdx & O_CREAT))
			t->phase = WRITE;
		break;
	case WRITE:
		if (nr == SYS_fsync)
			t->phase = SYNC;
		break;
	case SYNC:
		if (nr == SYS_renameat2 || nr == SYS_renameat)
			t->phase = PUBLISH;
		break;
	default:
		break;
	}
}

/* --- errors that fit ----------------------------------------------------------------------- */

static const struct {
	long nr;
	int error[2]; /* taken in turn; 0: cannot fail */
} fits[] = {
	{ SYS_exit, { 0, 0 } },
	{ SYS_exit_group, { 0, 0 } },
	{ SYS_rt_sigreturn, { 0, 0 } },
	{ SYS_rt_sigprocmask, { 0, 0 } },
	{ SYS_rt_sigaction, { 0, 0 } },
	{ SYS_getpid, { 0, 0 } },
	{ SYS_gettid, { 0, 0 } },
	{ SYS_geteuid, { 0, 0 } },
	{ SYS_getuid, { 0, 0 } },
	{ SYS_umask, { 0, 0 } },
	{ SYS_set_robust_list, { 0, 0 } },
	{ SYS_rseq, { 0, 0 } }, /* the C library would end us */
	{ SYS_sched_yield, { 0, 0 } },
	{ SYS_restart_syscall, { 0, 0 } },
	{ SYS_read, { EIO, ENOMEM } },
	{ SYS_pread64, { EIO, ENOMEM } },
	{ SYS_write, { EIO, ENOSPC } },
	{ SYS_pwrite64, { EIO, ENOSPC } },
	{ SYS_writev, { EIO, ENOSPC } },
	{ SYS_pwritev, { EIO, ENOSPC } },
	{ SYS_fsync, { EIO, ENOSPC } },
	{ SYS_ftruncate, { EIO, ENOSPC } },
	{ SYS_openat, { EMFILE, ENOMEM } },
	{ SYS_open, { EMFILE, ENOMEM } },
	{ SYS_close, { EIO, EINTR } },
	{ SYS_mmap, { ENOMEM, ENOMEM } },
	{ SYS_munmap, { ENOMEM, ENOMEM } },
	{ SYS_mremap, { ENOMEM, ENOMEM } },
	{ SYS_mprotect, { ENOMEM, ENOMEM } },
	{ SYS_brk, { ENOMEM, ENOMEM } },
	{ SYS_ptrace, { EIO, EPERM } },
	{ SYS_wait4, { EINTR, EINTR } },
	{ SYS_waitid, { EINTR, EINTR } },
	{ SYS_futex, { EINTR, EINTR } },
	{ SYS_poll, { EINTR, ENOMEM } },
	{ SYS_ppoll, { EINTR, ENOMEM } },
	{ SYS_nanosleep, { EINTR, EINTR } },
	{ SYS_clock_nanosleep, { EINTR, EINTR } },
	{ SYS_rt_sigtimedwait, { EINTR, EAGAIN } },
	{ SYS_clone, { EAGAIN, ENOMEM } },
	{ SYS_clone3, { EAGAIN, ENOMEM } },
	{ SYS_ioctl, { ENOMEM, EINTR } },
	{ SYS_process_vm_readv, { ENOMEM, EPERM } },
	{ SYS_process_vm_writev, { ENOMEM, EPERM } },
	{ SYS_flock, { EINTR, ENOLCK } },
	{ SYS_getdents64, { EIO, ENOMEM } },
	{ SYS_newfstatat, { EIO, ENOMEM } },
	{ SYS_readlink, { EIO, ENOMEM } },
	{ SYS_readlinkat, { EIO, ENOMEM } },
	{ SYS_getrandom, { EINTR, EINTR } },
};

static int fitting_error(const struct trap *t, const struct user_regs_struct *r)
{
	long nr = (long)r->orig_rax;
	int error = EPERM;

	/* Waking somebody up does not fail. */
	if (nr == SYS_futex && (r->rsi & 127) == 1)
		return 0;
	for (size_t i = 0; i < sizeof(fits) / sizeof(*fits); i++)
		if (fits[i].nr == nr)
			error = fits[i].error[t->calls % 2];
	return error && t->with ? t->with : error;
}

/* --- interference ---------------------------------------------------------------------------- */

static void hit(struct trap *t, struct thread *th, const struct user_regs_struct *r)
{
	th->own = *r;
	t->hit_call = (long)r->orig_rax;
	t->hit_phase = t->phase;
}

/*
 * The call is not made, with two exceptions: close closes whatever it says, and
 * brk has no errors: it answers where the break is, as if asked for that.
 */
static void make_it_fail(struct trap *t, struct thread *th, struct user_regs_struct *r, int error)
{
	if (!error)
		return;
	hit(t, th, r);
	if (r->orig_rax != SYS_brk)
		th->fail_exit = error;
	if (r->orig_rax == SYS_close)
		return;
	th->changed = true;
	if (r->orig_rax == SYS_brk)
		r->rdi = 0;
	else
		r->orig_rax = (unsigned long)-1;
	if (ptrace(PTRACE_SETREGS, th->tid, NULL, r) < 0)
		die("PTRACE_SETREGS");
}

static bool is_write(long nr)
{
	return nr == SYS_write || nr == SYS_pwrite64;
}

static void make_it_short(struct trap *t, struct thread *th, struct user_regs_struct *r)
{
	hit(t, th, r);
	th->changed = true;
	t->room_gone = !t->room_stays;
	r->rdx = (r->rdx + t->room_stays) / 2;
	if (ptrace(PTRACE_SETREGS, th->tid, NULL, r) < 0)
		die("PTRACE_SETREGS");
}

static pid_t doomed;

static void kill_late(int sig)
{
	kill(doomed, SIGKILL);
}

static void kill_it(struct trap *t, struct thread *th, const struct user_regs_struct *r)
{
	struct itimerval late = { .it_value = { t->delay_us / 1000000, t->delay_us % 1000000 } };

	hit(t, th, r);
	doomed = t->pid;
	if (t->delay_us)
		setitimer(ITIMER_REAL, &late, NULL);
	else
		kill(t->pid, SIGKILL);
}

/* What `make coverage` builds ends by writing down what ran: harmed there, all counts of a file are lost. */
static bool is_of_counters(const char *path)
{
	size_t n = strlen(path);

	return n > 5 && !strcmp(path + n - 5, ".gcda");
}

static void on_entry(struct trap *t, struct thread *th)
{
	struct user_regs_struct r;
	char path[512];

	if (ptrace(PTRACE_GETREGS, th->tid, NULL, &r) < 0)
		return;
	call_path(t, &r, path, sizeof(path));
	t->counting = t->counting || strncmp(path, t->dir, strlen(t->dir)) == 0;
	t->counters = t->counters || is_of_counters(path);
	if (!t->counting || t->counters)
		return;
	follow_phase(t, &r, path);
	if (t->writes_only && !changes_files(t, &r))
		return;
	if (t->busy_only && waits((long)r.orig_rax))
		return;
	if (t->only_call >= 0 && t->only_call != (long)r.orig_rax)
		return;
	t->calls++;
	t->in_phase[t->phase]++;
	if (t->calls == t->run_at) {
		hit(t, th, &r);
		if (system(t->command) != 0)
			die(t->command);
	}
	if (t->calls == t->kill_at)
		kill_it(t, th, &r);
	else if (t->calls == t->fail_at)
		make_it_fail(t, th, &r, fitting_error(t, &r));
	else if (t->room_gone && is_write((long)r.orig_rax))
		make_it_fail(t, th, &r, ENOSPC);
	else if (t->calls == t->short_at && is_write((long)r.orig_rax))
		make_it_short(t, th, &r);
}

/* Callers trust that registers hold the arguments still. */
static void on_exit_of_call(struct thread *th)
{
	struct user_regs_struct r;

	if (!th->fail_exit && !th->changed)
		return;
	if (ptrace(PTRACE_GETREGS, th->tid, NULL, &r) == 0) {
		r.rdi = th->own.rdi;
		r.rdx = th->own.rdx;
		if (th->fail_exit)
			r.rax = (unsigned long)-th->fail_exit;
		ptrace(PTRACE_SETREGS, th->tid, NULL, &r);
	}
	th->fail_exit = 0;
	th->changed = false;
}

static void on_call_stop(struct trap *t, struct thread *th)
{
	struct __ptrace_syscall_info info = {};

	if (ptrace(PTRACE_GET_SYSCALL_INFO, th->tid, sizeof(info), &info) < 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		on_entry(t, th);
	else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		on_exit_of_call(th);
}

/* The place of @tid, a new one if it was never seen. */
static struct thread *thread_of(struct trap *t, pid_t tid)
{
	struct thread *free_place = NULL;

	for (int i = 0; i < MAX_THREADS; i++) {
		if (t->thread[i].tid == tid)
			return &t->thread[i];
		if (!t->thread[i].tid && !free_place)
			free_place = &t->thread[i];
	}
	if (!free_place) {
		fprintf(stderr, "trap: more than %d threads\n", MAX_THREADS);
		exit(125);
	}
	*free_place = (struct thread) { .tid = tid };
	return free_place;
}

/* A signal of the tool's own is given on; stops of ours are not. */
static int signal_of_stop(struct trap *t, struct thread *th, int status)
{
	int sig = WSTOPSIG(status);

	if (sig == (SIGTRAP | 0x80)) {
		on_call_stop(t, th);
		return 0;
	}
	return status >> 16 || sig == SIGTRAP || (sig == SIGSTOP && th->tid != t->pid) ? 0 : sig;
}

static int run(struct trap *t)
{
	int status, sig = 0;
	pid_t tid = t->pid;

	for (;;) {
		struct thread *th;

		if (tid && ptrace(PTRACE_SYSCALL, tid, NULL, sig) < 0 && errno != ESRCH)
			die("PTRACE_SYSCALL");
		tid = waitpid(-1, &status, __WALL);
		if (tid < 0 && errno == EINTR)
			tid = 0;
		else if (tid < 0)
			die("waitpid");
		if (!tid)
			continue;
		if (!WIFSTOPPED(status) && tid == t->pid)
			return status;
		th = thread_of(t, tid);
		if (WIFSTOPPED(status))
			sig = signal_of_stop(t, th, status);
		else
			tid = th->tid = 0;
	}
}

static void start(struct trap *t, char **argv)
{
	int status;

	signal(SIGALRM, kill_late);
	t->pid = fork();
	if (t->pid < 0)
		die("fork");
	if (t->pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execvp(argv[0], argv);
		die(argv[0]);
	}
	if (waitpid(t->pid, &status, 0) < 0 || !WIFSTOPPED(status))
		die("start");
	if (ptrace(PTRACE_SETOPTIONS, t->pid, NULL,
		   PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC |
			   PTRACE_O_TRACECLONE) < 0)
		die("PTRACE_SETOPTIONS");
}

static void tell(const struct trap *t)
{
	FILE *f = t->out ? fopen(t->out, "we") : stderr;

	if (!f)
		die(t->out);
	fprintf(f, "calls %ld hit %s %ld\n", t->calls,
		t->hit_call < 0 ? "none" : phase_names[t->hit_phase], t->hit_call);
	for (int i = 0; i < N_PHASES; i++)
		fprintf(f, "%s %ld\n", phase_names[i], t->in_phase[i]);
	if (f != stderr)
		fclose(f);
}

static bool take_option(struct trap *t, int o)
{
	switch (o) {
	case 'D':
		t->dir = optarg;
		break;
	case 'w':
		t->writes_only = true;
		break;
	case 'b':
		t->busy_only = true;
		break;
	case 'c':
		t->only_call = atol(optarg);
		break;
	case 'o':
		t->out = optarg;
		break;
	case 'k':
		t->kill_at = atol(optarg);
		break;
	case 'u':
		t->delay_us = atol(optarg);
		break;
	case 'f':
		t->fail_at = atol(optarg);
		break;
	case 'e':
		t->with = atoi(optarg);
		break;
	case 'x':
		t->command = optarg;
		break;
	case 'n':
		t->run_at = atol(optarg);
		break;
	case 'S':
		t->room_stays = true;
		t->short_at = atol(optarg);
		break;
	case 's':
		t->short_at = atol(optarg);
		break;
	default:
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct trap t = { .dir = "", .hit_call = -1, .only_call = -1 };
	int o, status;

	while ((o = getopt(argc, argv, "+D:wbc:o:k:u:f:e:s:S:x:n:")) != -1)
		if (!take_option(&t, o))
			return 125;
	if (optind == argc)
		return 125;
	start(&t, argv + optind);
	status = run(&t);
	tell(&t);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
