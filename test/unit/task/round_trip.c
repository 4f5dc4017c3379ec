/*
 * round_trip.c - a task put into a rich state, saved, rebuilt in another and
 * saved there: both descriptions must be the same, byte for byte.
 */
#include "test/unit/task/double.h"

#include "criu-lite/remote/remote.h"
#include "criu-lite/task/seccomp.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/ioprio.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <grp.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <time.h>

enum { UID = 4242, GID = 4343, LONG = 1000, N_TIMERS = 40, QUEUED = 40 };

/* More timers than one plan asks for: the kind runs further plans by these. */
static struct double_task *remote_double;

void remote_plan_init(struct task *task, struct plan *p)
{
	plan_init(p, remote_double->batch.plan.addr, PLAN_ROWS, PLAN_DATA);
}

int remote_run(struct task *task, struct plan *p, struct err *err)
{
	return double_walk(remote_double, p);
}

#define MUST(call)                                                                                 \
	do {                                                                                       \
		if ((call) < 0) {                                                                  \
			perror(#call);                                                             \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* --- states ---------------------------------------------------------------------- */

static void no_rseq(void)
{
	void *area = (char *)__builtin_thread_pointer() + __rseq_offset;

	if (__rseq_size)
		MUST(syscall(SYS_rseq, area, 32, 1, 0x53053053));
}

/* What a newborn is. */
static void newborn(void *arg)
{
	no_rseq();
}

static void handler(int sig)
{
}

static void timers(void)
{
	struct itimerval itv = { { LONG, 7 }, { 3 * LONG, 0 } };

	MUST(setitimer(ITIMER_REAL, &itv, NULL));
	MUST(setitimer(ITIMER_PROF, &itv, NULL));
	for (int i = 0; i < N_TIMERS; i++) {
		struct sigevent ev = { .sigev_notify = i % 2 ? SIGEV_SIGNAL : SIGEV_NONE,
				       .sigev_signo = SIGRTMIN + i % 5,
				       .sigev_value.sival_ptr = (void *)(0x7fff00000000 + i) };
		struct itimerspec its = { { LONG + i, i }, { 2 * LONG + i, 0 } };
		int id;

		MUST(syscall(SYS_timer_create, i % 3 ? CLOCK_MONOTONIC : CLOCK_REALTIME, &ev, &id));
		if (i % 4 == 1)
			MUST(syscall(SYS_timer_delete, id));
		else if (i % 4 != 2)
			MUST(syscall(SYS_timer_settime, id, 0, &its, NULL));
	}
}

static void signals(void)
{
	for (int sig = 1; sig <= 64; sig++) {
		/* handler, flags, restorer, mask */
		uint64_t sa[4] = { sig % 3 == 0	  ? 1
				   : sig % 3 == 1 ? (uint64_t)handler
						  : 0,
				   0x04000000 | (sig % 2 ? 0x10000000 : 4), 0x1234000,
				   1ull << sig % 64 };

		if (sig != SIGKILL && sig != SIGSTOP)
			MUST(syscall(SYS_rt_sigaction, sig, sa, NULL, 8));
	}
	for (int i = 0; i < QUEUED; i++)
		MUST(sigqueue(getpid(), SIGRTMIN + 3 + i % 2, (union sigval) { .sival_int = i }));
	MUST(kill(getpid(), SIGUSR2));
	MUST(syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1));
	MUST(syscall(SYS_tgkill, getpid(), getpid(), SIGRTMIN + 1));
}

static void marks(void)
{
	static char stack[64 * 1024];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	static void *robust[3];

	MUST(sigaltstack(&ss, NULL));
	MUST(syscall(SYS_set_robust_list, robust, 24));
	MUST(syscall(SYS_set_tid_address, robust));
	MUST(prctl(PR_SET_NAME, "odd \\ (na\n) me"));
	MUST(prctl(PR_SET_TIMERSLACK, 77777));
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	MUST(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
	MUST(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	MUST(personality(ADDR_NO_RANDOMIZE | PER_LINUX32));
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0);
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0);
	MUST(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6)));
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f))
		_exit(1);
}

static void scheduling(void)
{
	struct sched_param none = {};
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	MUST(sched_setaffinity(0, sizeof(one), &one));
	MUST(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &none));
	MUST(setpriority(PRIO_PROCESS, 0, 7));
	write_file("/proc/self/oom_score_adj", "345");
	write_file("/proc/self/coredump_filter", "0x7f");
}

static void limits(void)
{
	struct rlimit stack = { 1 << 20, 2 << 20 }, files = { 5, 100 }, core = { 0, 0 };

	MUST(setrlimit(RLIMIT_STACK, &stack));
	MUST(setrlimit(RLIMIT_NOFILE, &files));
	MUST(setrlimit(RLIMIT_CORE, &core));
	MUST(setrlimit(RLIMIT_SIGPENDING, &files));
}

static void plain_state(void *arg)
{
	no_rseq();
	timers();
	signals();
	marks();
	scheduling();
	limits();
	MUST(prctl(PR_SET_PDEATHSIG, SIGUSR1));
	MUST(prctl(PR_SET_DUMPABLE, 0));
	/* Last: a sanitizer's malloc reads it. */
	MUST(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
}

/* --- comparing ----------------------------------------------------------------------- */

/* A timer has run for a while in between: not before it was saved, nor for very long. */
static void same_time(uint64_t *was, uint64_t *wasn, uint64_t *is, uint64_t *isn)
{
	assert_true(*is <= *was);
	assert_true(*was - *is < LONG / 2);
	*was = *wasn = *is = *isn = 0;
}

static void same_times(TaskTimersEntry *a, TaskTimersEntry *b)
{
	same_time(&a->real->vsec, &a->real->vusec, &b->real->vsec, &b->real->vusec);
	same_time(&a->virt->vsec, &a->virt->vusec, &b->virt->vsec, &b->virt->vusec);
	same_time(&a->prof->vsec, &a->prof->vusec, &b->prof->vsec, &b->prof->vusec);
	assert_int_equal(a->n_posix, b->n_posix);
	for (size_t i = 0; i < a->n_posix; i++)
		same_time(&a->posix[i]->vsec, &a->posix[i]->vnsec, &b->posix[i]->vsec,
			  &b->posix[i]->vnsec);
}

static void same_message(const char *what, const void *a, const void *b)
{
	size_t na = protobuf_c_message_get_packed_size(a);
	size_t nb = protobuf_c_message_get_packed_size(b);
	scoped uint8_t *pa = xmalloc(na + 1), *pb = xmalloc(nb + 1);

	protobuf_c_message_pack(a, pa);
	protobuf_c_message_pack(b, pb);
	if (na != nb || memcmp(pa, pb, na))
		fail_msg("%s differs after the rebuild (%zu and %zu bytes)", what, na, nb);
}

/* Registers are the engine's: what both doubles have there is what they are doing. */
static void same_core(CoreEntry *a, CoreEntry *b)
{
	assert_int_equal(a->thread_info->clear_tid_addr, b->thread_info->clear_tid_addr);
	if (a->tc) {
		same_times(a->tc->timers, b->tc->timers);
		same_message("timers", a->tc->timers, b->tc->timers);
		same_message("limits", a->tc->rlimits, b->tc->rlimits);
		same_message("signals of the task", a->tc->signals_s, b->tc->signals_s);
		a->tc->flags = b->tc->flags = 0; /* informational */
		same_message("task core", a->tc, b->tc);
	}
	same_message("credentials", a->thread_core->creds, b->thread_core->creds);
	same_message("signals of the thread", a->thread_core->signals_p, b->thread_core->signals_p);
	same_message("thread core", a->thread_core, b->thread_core);
}

static void same_extra(SdTaskExtra *a, SdTaskExtra *b)
{
	b->pid = a->pid;
	b->tid = a->tid;
	same_message("extra", a, b);
}

/* What rebuild is given: a's messages under the new task's number. */
static void lend(struct world *from, struct world *to)
{
	to->thread->core = from->thread->core;
	to->thread->extra = from->thread->extra;
}

static void take_back(struct world *to)
{
	to->thread->core = NULL;
	to->thread->extra = NULL;
}

/* The alternate stack comes back with the frame, which a double has none of. */
static void set_altstack(struct double_task *d, const ThreadSasEntry *e)
{
	stack_t ss = { (void *)e->ss_sp, (int)e->ss_flags, e->ss_size };
	struct plan *p = &d->batch.plan;

	plan_add(p, PLAN_MUST, "altstack", SYS_sigaltstack, plan_put(p, &ss, sizeof(ss)), 0);
	assert_int_equal(batch_flush(&d->batch, NULL), 0);
}

static void round_trip_without(void (*state)(void *), uint64_t deny)
{
	struct double_task *a = double_start(state, NULL), *b;
	struct world wa, wb;
	struct builder builder = {};
	struct err err = {};

	double_wait(a);
	remote_double = a;
	world_init(&wa, a->pid);
	save_all(&wa, a, small_kinds());
	assert_int_equal(refusals_result(&wa.refusals, &err), 0);
	builder.seccomp = (SeccompEntry *)seccomp_pool(&wa.saver);

	b = double_start(newborn, NULL);
	b->area->deny = deny;
	double_wait(b);
	world_init(&wb, b->pid);
	lend(&wa, &wb);
	if (rebuild_all(&builder, wb.thread, b, small_kinds(), &err) < 0)
		fail_msg("rebuild: %s", err.text);
	set_altstack(b, wa.thread->core->thread_core->sas);
	take_back(&wb);

	remote_double = b;
	save_all(&wb, b, small_kinds());
	same_core(wa.thread->core, wb.thread->core);
	same_extra(wa.thread->extra, wb.thread->extra);
	if (builder.seccomp)
		same_message("filters", builder.seccomp, seccomp_pool(&wb.saver));
	double_end(a);
	double_end(b);
	kinds_build_release(&builder);
	world_release(&wa);
	world_release(&wb);
}

static void round_trip(void (*state)(void *))
{
	round_trip_without(state, 0);
}

static void plain(void **unused)
{
	round_trip(plain_state);
}

/* Before 6.15 a task could not choose its timers' numbers. */
static void counted_timers(void **unused)
{
	round_trip_without(plain_state, 77 /* PR_TIMER_CREATE_RESTORE_IDS */);
}

/* The state is there at all: a round trip of nothing would be the same too. */
static void saved_values(void **unused)
{
	struct double_task *a = double_start(plain_state, NULL);
	struct world w;
	TaskCoreEntry *tc;
	ThreadCoreEntry *th;
	siginfo_t si;

	double_wait(a);
	remote_double = a;
	world_init(&w, a->pid);
	save_all(&w, a, small_kinds());
	tc = w.thread->core->tc;
	th = w.thread->core->thread_core;
	assert_int_equal(tc->blk_sigset,
			 ~0ull & ~(1ull << (SIGKILL - 1)) & ~(1ull << (SIGSTOP - 1)));
	assert_int_equal(tc->n_sigactions, 62);
	assert_int_equal(tc->sigactions[0]->sigaction, (uint64_t)handler);
	assert_int_equal(tc->sigactions[8]->mask, 1ull << 10); /* signal 10 follows 8 */
	assert_int_equal(tc->sigactions[61]->restorer, 0x1234000);
	assert_int_equal(tc->signals_s->n_signals, QUEUED + 1);
	assert_int_equal(th->signals_p->n_signals, 2);
	memcpy(&si, tc->signals_s->signals[5]->siginfo.data, sizeof(si));
	assert_int_equal(si.si_signo, SIGRTMIN + 4);
	assert_int_equal(si.si_value.sival_int, 5);
	assert_string_equal(tc->comm, "odd \\ (na\n) me");
	assert_string_equal(th->comm, tc->comm);
	assert_int_equal(tc->timers->n_posix, N_TIMERS - N_TIMERS / 4);
	assert_int_equal(tc->timers->real->isec, LONG);
	assert_int_equal(tc->timers->virt->isec, 0);
	assert_int_equal(tc->rlimits->n_rlimits, 16);
	assert_int_equal(tc->rlimits->rlimits[RLIMIT_NOFILE]->cur, 5);
	assert_int_equal(tc->rlimits->rlimits[RLIMIT_NOFILE]->max, 100);
	assert_int_equal(tc->oom_score_adj, 345);
	assert_true(tc->child_subreaper);
	assert_int_equal(tc->personality, ADDR_NO_RANDOMIZE | PER_LINUX32);
	assert_int_equal(th->sched_policy, SCHED_BATCH);
	assert_int_equal(th->sched_nice, 7);
	assert_int_equal(th->pdeath_sig, SIGUSR1);
	assert_int_equal(th->futex_rla_len, 24);
	assert_int_equal(th->sas->ss_size, 64 * 1024);
	assert_null(th->rseq_entry);
	assert_int_equal(w.thread->extra->timer_slack_ns, 77777);
	assert_int_equal(w.thread->extra->thp_disabled, 1);
	assert_int_equal(w.thread->extra->tsc_mode, PR_TSC_SIGSEGV);
	assert_int_equal(w.thread->extra->mce_kill, PR_MCE_KILL_EARLY);
	assert_int_equal(w.thread->extra->dumpable, 0);
	assert_int_equal(w.thread->extra->cpu_affinity.data[0], 1);
	assert_int_equal(w.thread->extra->coredump_filter, 0x7f);
	assert_int_equal(w.thread->core->thread_info->n_tls, 3);
	assert_int_equal(w.thread->core->thread_info->tls[2]->entry_number, 14);
	assert_true(w.thread->core->thread_info->tls[2]->seg_not_present);
	assert_int_equal(w.tree.task[0]->ids->files_id, 2);
	double_end(a);
	world_release(&w);
}

static void realtime_state(void *arg)
{
	struct sched_param prio = { .sched_priority = 5 };

	no_rseq();
	MUST(setpriority(PRIO_PROCESS, 0, -3));
	MUST(sched_setscheduler(0, SCHED_FIFO, &prio));
	MUST(prctl(PR_SET_PDEATHSIG, SIGTERM));
	MUST(setresuid(-1, -1, UID));
}

static bool may_be_realtime(void)
{
	struct sched_param prio = { .sched_priority = 5 }, none = {};
	bool may = sched_setscheduler(0, SCHED_FIFO, &prio) == 0;

	sched_setscheduler(0, SCHED_OTHER, &none);
	return may;
}

static void realtime(void **unused)
{
	if (!may_be_realtime())
		skip();
	round_trip(realtime_state);
}

/* Possible once for a task that has none, where the kernel keeps an audit log. */
static void set_login_uid(const char *uid)
{
	FILE *f = fopen("/proc/self/loginuid", "w");

	if (!f)
		return;
	fputs(uid, f);
	fclose(f);
}

/* What not every kernel or machine has, each tried for itself. */
static void memory_state(void *arg)
{
	no_rseq();
	prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0);
	prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0);
	prctl(PR_SET_THP_DISABLE, 1, 2 /* but where advised */, 0, 0);
	prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_FORCE_DISABLE, 0, 0);
	prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_DISABLE, 0, 0);
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	set_login_uid("4242");
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0);
}

static void marks_of_memory(void **unused)
{
	round_trip(memory_state);
}

/* --- credentials: as root ------------------------------------------------------------ */

static void cap_sets(uint64_t eff, uint64_t prm, uint64_t inh)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { (uint32_t)eff, (uint32_t)prm, (uint32_t)inh },
						  { (uint32_t)(eff >> 32), (uint32_t)(prm >> 32),
						    (uint32_t)(inh >> 32) } };

	MUST(syscall(SYS_capset, &head, data));
}

#define BIT(cap) (1ull << (cap))

static void user_state(void *arg)
{
	static const gid_t groups[] = { 7, 5, 70000 };

	no_rseq();
	MUST(setgroups(3, groups));
	MUST(setresgid(GID, GID + 1, GID + 2));
	MUST(setresuid(UID, UID, UID));
}

/* Ambient capabilities, a smaller bounding set, locked securebits, fsuid of its own. */
static void capable_state(void *arg)
{
	uint64_t some = BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_NICE);

	no_rseq();
	MUST(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP));
	MUST(setresuid(UID, UID + 1, UID + 2));
	MUST(syscall(SYS_setfsuid, UID + 2));
	MUST(prctl(PR_CAPBSET_DROP, CAP_SYS_MODULE));
	MUST(prctl(PR_CAPBSET_DROP, CAP_WAKE_ALARM));
	cap_sets(some | BIT(CAP_SETPCAP), some | BIT(CAP_SETPCAP), some | BIT(CAP_CHOWN));
	MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0));
	MUST(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
					      SECBIT_NOROOT | SECBIT_NO_CAP_AMBIENT_RAISE));
	cap_sets(BIT(CAP_SYS_NICE), some, some | BIT(CAP_CHOWN));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void many_groups_state(void *arg)
{
	static gid_t groups[20000];

	no_rseq();
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		groups[i] = (gid_t)(3 * i + 1);
	MUST(setgroups(ARRAY_SIZE(groups), groups));
	MUST(setgid(GID));
	MUST(setuid(UID));
}

static void need_root(void)
{
	if (geteuid())
		skip();
}

static void user(void **unused)
{
	need_root();
	round_trip(user_state);
}

static void capable(void **unused)
{
	need_root();
	round_trip(capable_state);
}

static void many_groups(void **unused)
{
	need_root();
	round_trip(many_groups_state);
}

/* --- seccomp --------------------------------------------------------------------------- */

static void install(struct sock_filter *insn, size_t n)
{
	struct sock_fprog prog = { .len = (unsigned short)n, .filter = insn };

	MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &prog));
}

/* Three that allow everything, told apart by length; one is too large for a plan. */
static void filter_state(void *arg)
{
	static struct sock_filter insn[BPF_MAXINSNS];

	for (size_t i = 0; i < BPF_MAXINSNS; i++)
		insn[i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	user_state(NULL);
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	install(insn, 1);
	install(insn, BPF_MAXINSNS);
	install(insn, 3);
}

static void filters(void **unused)
{
	need_root();
	round_trip(filter_state);
}

/* The oldest is named by the thread, and prev leads to newer ones. */
static void filter_order(void **unused)
{
	struct double_task *a;
	const SeccompEntry *pool;
	struct world w;
	uint32_t at;

	need_root();
	a = double_start(filter_state, NULL);
	double_wait(a);
	remote_double = a;
	world_init(&w, a->pid);
	save_all(&w, a, small_kinds());
	pool = seccomp_pool(&w.saver);
	assert_non_null(pool);
	assert_int_equal(pool->n_seccomp_filters, 3);
	assert_int_equal(w.thread->core->thread_core->seccomp_mode, SECCOMP_MODE__filter);
	at = w.thread->core->thread_core->seccomp_filter;
	assert_int_equal(at, 2);
	assert_int_equal(pool->seccomp_filters[at]->filter.len, 8);
	at = pool->seccomp_filters[at]->prev;
	assert_int_equal(at, 1);
	assert_int_equal(pool->seccomp_filters[at]->filter.len, 8 * BPF_MAXINSNS);
	assert_int_equal(pool->seccomp_filters[at]->flags, SECCOMP_FILTER_FLAG_LOG);
	at = pool->seccomp_filters[at]->prev;
	assert_int_equal(pool->seccomp_filters[at]->filter.len, 24);
	assert_false(pool->seccomp_filters[at]->has_prev);
	double_end(a);
	world_release(&w);
}

/*
 * Strict mode comes before credentials: it must not get in their way while it
 * is suspended, and be there afterwards.
 */
static void strict(void **unused)
{
	static const struct task_kind *const kinds[] = { &kind_core, &kind_creds, &kind_seccomp,
							 NULL };
	struct double_task *b;
	struct builder builder = {};
	struct err err = {};
	struct world w;

	need_root();
	b = double_start(user_state, NULL);
	double_wait(b);
	world_init(&w, b->pid);
	save_all(&w, b, kinds);
	double_end(b);
	w.thread->core->thread_core->seccomp_mode = SECCOMP_MODE__strict;

	b = double_start(newborn, NULL);
	double_wait(b);
	assert_return_code(ptrace(PTRACE_SEIZE, b->pid, 0, PTRACE_O_SUSPEND_SECCOMP), errno);
	if (rebuild_all(&builder, w.thread, b, kinds, &err) < 0)
		fail_msg("rebuild: %s", err.text);
	world_release(&w);
	world_init(&w, b->pid);
	w.thread->core = core_new(true);
	assert_int_equal(kind_seccomp.look(&w.saver, w.thread, &err), 0);
	assert_int_equal(kind_creds.look(&w.saver, w.thread, &err), 0);
	assert_int_equal(w.thread->core->thread_core->seccomp_mode, SECCOMP_MODE__strict);
	assert_int_equal(w.thread->core->thread_core->creds->uid, UID);
	double_end(b);
	kinds_build_release(&builder);
	world_release(&w);
}

/* --- rseq: the area of the test's own libc -------------------------------------------------- */

static void rseq_state(void *arg)
{
}

static void rseq(void **unused)
{
	if (!__rseq_size)
		skip();
	round_trip(rseq_state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),
		cmocka_unit_test(counted_timers),
		cmocka_unit_test(strict),
		cmocka_unit_test(realtime),
		cmocka_unit_test(marks_of_memory),
		cmocka_unit_test(saved_values),
		cmocka_unit_test(user),
		cmocka_unit_test(capable),
		cmocka_unit_test(many_groups),
		cmocka_unit_test(filters),
		cmocka_unit_test(filter_order),
		cmocka_unit_test(rseq),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
