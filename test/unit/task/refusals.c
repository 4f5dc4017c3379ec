/*
 * refusals.c - what cannot be saved or restored is refused by name, and damaged
 * messages are errors, not rows.
 */
#include "test/unit/task/double.h"

#include "criu-lite/task/seccomp.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <time.h>

/* --- saving --------------------------------------------------------------------------- */

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return NULL;
}

static void second_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, sleeper, NULL))
		_exit(1);
}

static void add_threads(struct world *w)
{
	struct task *task = w->tree.task[0];
	scoped int *tids = NULL;
	size_t n;

	assert_int_equal(proc_list(task->proc, "task", &tids, &n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		if (tids[i] != task->pid)
			task_add_thread(task, tids[i]);
}

/* Hold all threads and let one kind look at each; what it refused is in @text. */
static void look_at(void (*state)(void *), const struct task_kind *kind, struct world *w,
		    struct double_task **d, struct err *refused)
{
	struct err err = {};
	struct thread *t;

	*d = double_start(state, NULL);
	double_wait(*d);
	world_init(w, (*d)->pid);
	add_threads(w);
	for_each_thread (t, w->tree.task[0]) {
		hold(t->tid);
		assert_int_equal(kind_core.look(&w->saver, t, &err), 0);
		if ((kind->every_thread || t->core->tc) && kind->look(&w->saver, t, &err) < 0)
			fail_msg("%s: %s", kind->name, err.text);
		let_go(t->tid);
	}
	*refused = (struct err) {};
	refusals_result(&w->refusals, refused);
}

static void look_end(struct world *w, struct double_task *d)
{
	double_end(d);
	world_release(w);
}

static void expect_refusal(void (*state)(void *), const struct task_kind *kind, const char *text)
{
	struct double_task *d;
	struct err refused;
	char want[128];
	struct world w;

	look_at(state, kind, &w, &d, &refused);
	snprintf(want, sizeof(want), "task %d: %s", d->pid, text);
	if (!strstr(refused.text, want))
		fail_msg("\"%s\" says nothing of \"%s\"", refused.text, want);
	look_end(&w, d);
}

static void expect_nothing(void (*state)(void *), const struct task_kind *kind)
{
	struct double_task *d;
	struct err refused;
	struct world w;

	look_at(state, kind, &w, &d, &refused);
	assert_string_equal(refused.text, "");
	look_end(&w, d);
}

static void plain_state(void *arg)
{
}

static void uts_state(void *arg)
{
	if (unshare(CLONE_NEWUTS))
		_exit(1);
}

static void pid_children_state(void *arg)
{
	if (unshare(CLONE_NEWPID))
		_exit(1);
}

static void namespaces(void **unused)
{
	expect_nothing(plain_state, &kind_namespaces);
	if (geteuid())
		skip();
	expect_refusal(uts_state, &kind_namespaces, "another uts namespace");
	expect_refusal(pid_children_state, &kind_namespaces, "another pid_for_children namespace");
}

static void install(uint32_t action, unsigned flags)
{
	struct sock_filter insn[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 100000, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(insn), insn };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog) < 0)
		_exit(1);
}

static void notify_state(void *arg)
{
	install(SECCOMP_RET_USER_NOTIF, 0);
}

static void errno_state(void *arg)
{
	install(SECCOMP_RET_ERRNO, 0);
}

static void notifying_filter(void **unused)
{
	if (geteuid())
		skip();
	expect_nothing(errno_state, &kind_seccomp);
	expect_refusal(notify_state, &kind_seccomp,
		       "a seccomp filter that notifies another process");
}

static void create_timer(clockid_t clock)
{
	struct sigevent none = { .sigev_notify = SIGEV_NONE };
	int id;

	if (syscall(SYS_timer_create, clock, &none, &id))
		_exit(1);
}

static void own_clock_state(void *arg)
{
	create_timer(CLOCK_THREAD_CPUTIME_ID);
	create_timer(CLOCK_PROCESS_CPUTIME_ID);
}

static void thread_clock_state(void *arg)
{
	second_thread();
	own_clock_state(NULL);
}

static void stranger_clock_state(void *arg)
{
	clockid_t clock;

	if (clock_getcpuclockid(getppid(), &clock))
		_exit(1);
	create_timer(clock);
}

static void timer_clocks(void **unused)
{
	expect_nothing(own_clock_state, &kind_posix_timers);
	expect_refusal(thread_clock_state, &kind_posix_timers,
		       "timer 0 on the CPU time of one of several threads");
	expect_refusal(stranger_clock_state, &kind_posix_timers, "timer 0 on the CPU time of");
}

static void io_ports_state(void *arg)
{
	if (syscall(SYS_ioperm, 0x80, 1, 1))
		_exit(1);
}

static void io_ports(void **unused)
{
	expect_nothing(plain_state, &kind_unsupported);
	if (syscall(SYS_ioperm, 0x80, 1, 1))
		skip();
	syscall(SYS_ioperm, 0x80, 1, 0);
	expect_refusal(io_ports_state, &kind_unsupported, "access to I/O ports");
}

static int sem_set;

static void sem_op(int flags)
{
	struct sembuf up = { 0, 1, (short)flags };

	if (semop(sem_set, &up, 1))
		_exit(1);
}

static void sem_undo_state(void *arg)
{
	sem_op(SEM_UNDO);
}

static void sem_state(void *arg)
{
	sem_op(0);
}

static void sem_threads_state(void *arg)
{
	second_thread();
}

static void undo(void **unused)
{
	sem_set = semget(IPC_PRIVATE, 1, 0600);
	if (sem_set < 0)
		skip();
	/* While nobody has operated on it. */
	expect_nothing(sem_threads_state, &kind_sem_undo);
	expect_nothing(sem_state, &kind_sem_undo);
	expect_refusal(sem_threads_state, &kind_sem_undo, "System V semaphores");
	expect_refusal(sem_undo_state, &kind_sem_undo, "System V semaphores");
	semctl(sem_set, 0, IPC_RMID);
}

/* --- seccomp of several threads ------------------------------------------------------------ */

static void same_filters_state(void *arg)
{
	second_thread();
	install(SECCOMP_RET_ERRNO, SECCOMP_FILTER_FLAG_TSYNC);
}

static void other_filters_state(void *arg)
{
	install(SECCOMP_RET_ERRNO, 0);
	second_thread();
	install(SECCOMP_RET_ALLOW, 0);
}

/* The same filters in all threads: the leader carries them for all. */
static void shared_filters(void **unused)
{
	struct double_task *d;
	const SeccompEntry *pool;
	struct err err;
	struct world w;
	struct thread **t;

	if (geteuid())
		skip();
	look_at(same_filters_state, &kind_seccomp, &w, &d, &err);
	t = w.tree.task[0]->thread;
	assert_int_equal(w.tree.task[0]->n_threads, 2);
	assert_int_equal(kind_seccomp.save(&w.saver, t[0], NULL, 0, &err), 0);
	assert_int_equal(kind_seccomp.save(&w.saver, t[1], NULL, 0, &err), 0);
	pool = seccomp_pool(&w.saver);
	assert_int_equal(pool->n_seccomp_filters, 1);
	assert_int_equal(pool->seccomp_filters[0]->flags, SECCOMP_FILTER_FLAG_TSYNC);
	assert_int_equal(t[0]->core->thread_core->seccomp_mode, SECCOMP_MODE__filter);
	assert_int_equal(t[1]->core->thread_core->seccomp_mode, SECCOMP_MODE__disabled);
	assert_false(t[1]->core->thread_core->has_seccomp_filter);
	look_end(&w, d);
}

static void own_filters(void **unused)
{
	struct double_task *d;
	const SeccompEntry *pool;
	struct thread **t;
	struct err err;
	struct world w;

	if (geteuid())
		skip();
	look_at(other_filters_state, &kind_seccomp, &w, &d, &err);
	t = w.tree.task[0]->thread;
	assert_int_equal(kind_seccomp.save(&w.saver, t[0], NULL, 0, &err), 0);
	assert_int_equal(kind_seccomp.save(&w.saver, t[1], NULL, 0, &err), 0);
	pool = seccomp_pool(&w.saver);
	assert_int_equal(pool->n_seccomp_filters, 3);
	assert_int_equal(t[0]->core->thread_core->seccomp_filter, 1);
	assert_int_equal(pool->seccomp_filters[1]->prev, 0);
	assert_int_equal(t[1]->core->thread_core->seccomp_filter, 2);
	assert_false(pool->seccomp_filters[2]->has_prev);
	assert_int_equal(pool->seccomp_filters[0]->flags, 0);
	look_end(&w, d);
}

/* --- rebuilding: nothing is run, every call succeeds ------------------------------------------ */

struct dry {
	struct tree tree;
	struct thread *thread;
	struct batch batch;
	struct builder builder;
	size_t rows;
};

static int dry_run(struct batch *b, struct err *err)
{
	struct dry *d = b->arg;

	d->rows += b->plan.n;
	for (size_t i = 0; i < b->plan.n; i++)
		b->plan.row[i].ret = b->plan.note[i].judge == PLAN_IS ? b->plan.note[i].expect : 0;
	return 0;
}

static void dry_init(struct dry *d)
{
	struct task *task;

	*d = (struct dry) {};
	task = tree_add_task(&d->tree, 4000);
	d->thread = task_add_thread(task, 4000);
	d->thread->core = core_new(true);
	d->thread->extra = extra_new(d->thread);
	plan_init(&d->batch.plan, 0x100000, PLAN_ROWS, PLAN_DATA);
	d->batch.thread = d->thread;
	d->batch.run = dry_run;
	d->batch.arg = d;
	d->builder.tree = &d->tree;
}

static void dry_release(struct dry *d)
{
	plan_release(&d->batch.plan);
	kinds_build_release(&d->builder);
	tree_release(&d->tree);
}

static void expect_error(struct dry *d, const struct task_kind *kind, int rc, const char *text)
{
	struct err err = {};

	assert_int_equal(kind->rebuild(&d->builder, d->thread, &d->batch, &err), rc);
	if (!strstr(err.text, text))
		fail_msg("\"%s\" says nothing of \"%s\"", err.text, text);
	assert_int_equal(d->batch.plan.n + d->rows, 0);
	dry_release(d);
}

static SiginfoEntry *pending_signal(struct dry *d, size_t len, int sig)
{
	SignalQueueEntry *q = d->thread->core->tc->signals_s;
	SiginfoEntry *e = xmalloc(sizeof(*e));

	siginfo_entry__init(e);
	e->siginfo.len = len;
	e->siginfo.data = xcalloc(1, 128);
	memcpy(e->siginfo.data, &sig, sizeof(sig));
	q->signals = xcalloc(1, sizeof(*q->signals));
	q->signals[q->n_signals++] = e;
	return e;
}

static void broken_signals(void **unused)
{
	struct dry d;

	dry_init(&d);
	expect_error(&d, &kind_sigaction, -EBADMSG, "0 signal handlers, not 62");
	dry_init(&d);
	pending_signal(&d, 100, SIGUSR1);
	expect_error(&d, &kind_pending, -EBADMSG, "a pending signal of 100 bytes");
	dry_init(&d);
	pending_signal(&d, 128, SIGKILL);
	expect_error(&d, &kind_pending, -EBADMSG, "signal 9 pending");
	dry_init(&d);
	pending_signal(&d, 128, -3);
	expect_error(&d, &kind_pending, -EBADMSG, "signal -3 pending");
	dry_init(&d);
	d.thread->core->thread_core->has_pdeath_sig = true;
	d.thread->core->thread_core->pdeath_sig = 65;
	expect_error(&d, &kind_pdeathsig, -EBADMSG, "parent-death signal 65");
}

static void broken_timers(void **unused)
{
	struct dry d;

	dry_init(&d);
	d.thread->core->tc->timers->virt->iusec = 1000000;
	expect_error(&d, &kind_itimers, -EBADMSG, "interval timer 1: no time");
}

static void broken_names(void **unused)
{
	struct dry d;

	dry_init(&d);
	free(d.thread->core->thread_core->comm);
	d.thread->core->thread_core->comm = xstrdup("sixteen letters!");
	expect_error(&d, &kind_comm, -EBADMSG, "a name of 16 bytes");
	dry_init(&d);
	d.thread->core->tc->has_membarrier_registration_mask = true;
	d.thread->core->tc->membarrier_registration_mask = 1u << 30;
	expect_error(&d, &kind_membarrier, -EBADMSG, "membarrier registrations 0x40000000");
}

static void add_filter(struct dry *d, uint32_t prev, size_t len, uint32_t flags)
{
	SeccompEntry *pool = d->builder.seccomp;
	SeccompFilter *f = xmalloc(sizeof(*f));

	seccomp_filter__init(f);
	f->has_prev = prev != UINT32_MAX;
	f->prev = prev;
	f->has_flags = true;
	f->flags = flags;
	f->filter.len = len;
	f->filter.data = xcalloc(1, len);
	pool->seccomp_filters[pool->n_seccomp_filters++] = f;
}

static void filtered(struct dry *d, SeccompEntry *pool, uint32_t at)
{
	seccomp_entry__init(pool);
	dry_init(d);
	pool->seccomp_filters = xcalloc(4, sizeof(*pool->seccomp_filters));
	d->builder.seccomp = pool;
	d->thread->core->thread_core->has_seccomp_mode = true;
	d->thread->core->thread_core->seccomp_mode = SECCOMP_MODE__filter;
	d->thread->core->thread_core->seccomp_filter = at;
}

static void pool_release(SeccompEntry *pool)
{
	for (size_t i = 0; i < pool->n_seccomp_filters; i++)
		seccomp_filter__free_unpacked(pool->seccomp_filters[i], NULL);
	free(pool->seccomp_filters);
}

static void broken_filters(void **unused)
{
	struct err err = {};
	SeccompEntry pool;
	struct dry d;

	filtered(&d, &pool, 3);
	add_filter(&d, UINT32_MAX, 8, 0);
	expect_error(&d, &kind_seccomp, -EBADMSG, "seccomp filter 3 of 1");
	pool_release(&pool);
	filtered(&d, &pool, 0);
	add_filter(&d, UINT32_MAX, 12, 0);
	expect_error(&d, &kind_seccomp, -EBADMSG, "a seccomp filter of 12 bytes");
	pool_release(&pool);
	filtered(&d, &pool, 0);
	add_filter(&d, UINT32_MAX, 8, 1u << 20);
	expect_error(&d, &kind_seccomp, ERR_REFUSED, "seccomp filter flags 0x100000");
	pool_release(&pool);
	/* In a circle: ends all the same. */
	filtered(&d, &pool, 0);
	add_filter(&d, 1, 8, 0);
	add_filter(&d, 0, 8, 0);
	assert_int_equal(kind_seccomp.rebuild(&d.builder, d.thread, &d.batch, &err), -EBADMSG);
	dry_release(&d);
	pool_release(&pool);
}

static void words(uint32_t **to, size_t *n, uint64_t set)
{
	*to = xcalloc(2, sizeof(**to));
	(*to)[0] = (uint32_t)set;
	(*to)[1] = (uint32_t)(set >> 32);
	*n = 2;
}

static void capability_not_held(void **unused)
{
	CredsEntry *e;
	struct dry d;

	/* No kernel has the last one; every kernel has the first. */
	dry_init(&d);
	e = d.thread->core->thread_core->creds;
	words(&e->cap_prm, &e->n_cap_prm, 1ull << 63);
	expect_error(&d, &kind_creds, ERR_REFUSED, "capability 63 in its permitted set");
	dry_init(&d);
	e = d.thread->core->thread_core->creds;
	words(&e->cap_bnd, &e->n_cap_bnd, 1ull << 62);
	expect_error(&d, &kind_creds, ERR_REFUSED, "capability 62 in its bounding set");
	dry_init(&d);
	e = d.thread->core->thread_core->creds;
	words(&e->cap_eff, &e->n_cap_eff, 1);
	expect_error(&d, &kind_creds, -EBADMSG, "effective capabilities not permitted");
	dry_init(&d);
	e = d.thread->core->thread_core->creds;
	e->euid = UINT32_MAX;
	expect_error(&d, &kind_creds, -EBADMSG, "an id of -1");
}

static void too_many_limits(const struct task_kind *kind)
{
	TaskRlimitsEntry *list;
	struct dry d;

	dry_init(&d);
	list = d.thread->core->tc->rlimits;
	list->rlimits = xcalloc(17, sizeof(*list->rlimits));
	for (; list->n_rlimits < 17; list->n_rlimits++) {
		list->rlimits[list->n_rlimits] = xmalloc(sizeof(RlimitEntry));
		rlimit_entry__init(list->rlimits[list->n_rlimits]);
	}
	expect_error(&d, kind, -EBADMSG, "17 resource limits");
}

static void auxv_of(size_t words, const char *text)
{
	struct dry d;

	dry_init(&d);
	d.thread->task->mm = xmalloc(sizeof(MmEntry));
	mm_entry__init(d.thread->task->mm);
	d.thread->extra->n_auxv = words;
	d.thread->extra->auxv = xcalloc(words, sizeof(uint64_t));
	expect_error(&d, &kind_mm, -EBADMSG, text);
}

/* More than there can be: said before a row is made. */
static void broken_counts(void **unused)
{
	SdTaskExtra *x;
	CredsEntry *e;
	struct dry d;

	too_many_limits(&kind_limits_room);
	too_many_limits(&kind_rlimits);
	auxv_of(130, "auxv of 130 words");
	auxv_of(7, "auxv of 7 words");
	dry_init(&d);
	x = d.thread->extra;
	x->has_mem_policy = x->has_mem_nodes = true;
	x->mem_nodes.len = 4096;
	x->mem_nodes.data = xcalloc(1, 4096);
	expect_error(&d, &kind_mempolicy, -EBADMSG, "4096 bytes of nodes");
	dry_init(&d);
	e = d.thread->core->thread_core->creds;
	e->n_groups = 65537;
	e->groups = xcalloc(e->n_groups, sizeof(*e->groups));
	expect_error(&d, &kind_creds, -EBADMSG, "65537 groups");
}

static void limit_too_high(void **unused)
{
	TaskRlimitsEntry *list;
	struct rlimit own;
	struct dry d;

	/* Whoever may raise limits, and has none to raise, is not refused anything. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &own), 0);
	if (own.rlim_max == RLIM_INFINITY)
		skip();
	own.rlim_max--;
	own.rlim_cur = own.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &own), 0);
	if (setrlimit(RLIMIT_NOFILE, &(struct rlimit) { own.rlim_cur, own.rlim_max + 1 }) == 0)
		skip();
	dry_init(&d);
	list = d.thread->core->tc->rlimits;
	list->rlimits = xcalloc(16, sizeof(*list->rlimits));
	for (; list->n_rlimits < 16; list->n_rlimits++) {
		RlimitEntry *e = xmalloc(sizeof(*e));

		rlimit_entry__init(e);
		list->rlimits[list->n_rlimits] = e;
	}
	list->rlimits[RLIMIT_NOFILE]->max = own.rlim_max + 1;
	d.rows = 0;
	{
		struct err err = {};

		assert_int_equal(kind_limits_room.rebuild(&d.builder, d.thread, &d.batch, &err),
				 ERR_REFUSED);
		assert_non_null(strstr(err.text, "RLIMIT_NOFILE"));
	}
	dry_release(&d);
}

static void dumpable_for_root_only(void **unused)
{
	scoped_fd fd = open("/proc/sys/fs/suid_dumpable", O_RDONLY);
	struct dry d;
	char c;

	if (fd < 0 || read(fd, &c, 1) != 1 || c == '2')
		skip();
	dry_init(&d);
	d.thread->extra->has_dumpable = true;
	d.thread->extra->dumpable = 2;
	expect_error(&d, &kind_dumpable, ERR_REFUSED, "fs.suid_dumpable");
}

static void timer_number_too_high(void **unused)
{
	TaskTimersEntry *timers;
	PosixTimerEntry *e = xmalloc(sizeof(*e));
	struct err err = {};
	struct dry d;

	posix_timer_entry__init(e);
	e->it_id = 123456789;
	dry_init(&d);
	timers = d.thread->core->tc->timers;
	timers->posix = xcalloc(1, sizeof(*timers->posix));
	timers->posix[timers->n_posix++] = e;
	/* Where all calls succeed, the task may choose; the number is then checked. */
	assert_int_equal(kind_posix_timers.rebuild(&d.builder, d.thread, &d.batch, &err), 0);
	assert_int_equal(d.rows, 2);
	e->vnsec = 1000000000;
	assert_int_equal(kind_posix_timers.rebuild(&d.builder, d.thread, &d.batch, &err), -EBADMSG);
	dry_release(&d);
}

/* A kernel that does not tell registrations is asked by trying barriers. */
static void membarrier_tried(void **unused)
{
	struct err err = {};
	struct plan p;
	uint64_t asked;
	struct dry d;

	dry_init(&d);
	plan_init(&p, 0x1000, PLAN_ROWS, PLAN_DATA);
	plan_add(&p, PLAN_MAY, "of another kind", SYS_getpid);
	asked = kind_membarrier.ask(d.thread, &p);
	assert_int_equal(asked, 1);
	p.row[1].ret = -EINVAL;
	p.row[2].ret = 0;      /* private */
	p.row[3].ret = -EPERM; /* core */
	p.row[4].ret = 0;      /* rseq */
	assert_int_equal(kind_membarrier.save(NULL, d.thread, &p, asked, &err), 0);
	assert_int_equal(d.thread->core->tc->membarrier_registration_mask, 16 | 256);
	plan_release(&p);
	dry_release(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(namespaces),
		cmocka_unit_test(notifying_filter),
		cmocka_unit_test(timer_clocks),
		cmocka_unit_test(io_ports),
		cmocka_unit_test(undo),
		cmocka_unit_test(shared_filters),
		cmocka_unit_test(own_filters),
		cmocka_unit_test(broken_signals),
		cmocka_unit_test(broken_timers),
		cmocka_unit_test(broken_names),
		cmocka_unit_test(broken_filters),
		cmocka_unit_test(capability_not_held),
		cmocka_unit_test(broken_counts),
		cmocka_unit_test(limit_too_high),
		cmocka_unit_test(dumpable_for_root_only),
		cmocka_unit_test(timer_number_too_high),
		cmocka_unit_test(membarrier_tried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
