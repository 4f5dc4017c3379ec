/* task.c - stat, status, limits, timers, children, namespaces and the one-value files. */
#include "test/unit/proc/unit.h"

#include <elf.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "criu-lite/proc/auxv.h"
#include "criu-lite/proc/children.h"
#include "criu-lite/proc/limits.h"
#include "criu-lite/proc/ns.h"
#include "criu-lite/proc/stat.h"
#include "criu-lite/proc/status.h"
#include "criu-lite/proc/timens.h"
#include "criu-lite/proc/timers.h"
#include "criu-lite/proc/values.h"

static void stat_of_odd_name(void **state)
{
	scoped_proc dir = recorded(ODD);
	struct proc_stat s;

	assert_int_equal(proc_stat_read(dir, &s, NULL), 0);
	assert_string_equal(s.comm, "a) R 1 (b\n c");
	assert_int_equal(s.state, 'S');
	assert_int_equal(s.pid, 10841);
	assert_int_equal(s.ppid, 10837);
	assert_int_equal(s.pgrp, 10841);
	assert_int_equal(s.session, 10841);
	assert_int_equal(s.tty_nr, 0);
	assert_int_equal(s.tpgid, -1);
	assert_int_equal(s.num_threads, 1);
	assert_int_equal(s.starttime, 168607);
	assert_int_equal(s.rsslim, UINT64_MAX);
	assert_int_equal(s.start_code, 94177458016256);
	assert_int_equal(s.exit_signal, SIGCHLD);
	assert_int_equal(s.start_brk, 94177908830208);
	assert_int_equal(s.arg_start, 140723084728981);
	assert_int_equal(s.arg_end, 140723084729001);
	assert_int_equal(s.env_start, 140723084729001);
	assert_int_equal(s.env_end, 140723084730340);
	assert_int_equal(s.exit_code, 0);
}

static void stat_of_bash(void **state)
{
	scoped_proc dir = recorded(BASH);
	struct proc_stat s;

	assert_int_equal(proc_stat_read(dir, &s, NULL), 0);
	assert_string_equal(s.comm, "a) (b [c] d");
	assert_int_equal(s.pid, 10850);
}

static void stat_of_zombies(void **state)
{
	scoped_proc dead = recorded(ZOMBIE);
	scoped_proc leader = recorded(LEAD_GONE);
	scoped_proc thread = NULL;
	struct proc_stat s;

	assert_int_equal(proc_stat_read(dead, &s, NULL), 0);
	assert_int_equal(s.state, 'Z');
	assert_int_equal(WEXITSTATUS(s.exit_code), 3);
	assert_int_equal(s.start_brk, 0);
	assert_int_equal(proc_stat_read(leader, &s, NULL), 0);
	assert_int_equal(s.state, 'Z');
	assert_int_equal(s.num_threads, 3);
	assert_int_equal(proc_open_thread(&thread, leader, 10852, NULL), 0);
	assert_int_equal(proc_id(thread), 10852);
	assert_int_equal(proc_stat_read(thread, &s, NULL), 0);
	assert_int_equal(s.pid, 10852);
	assert_int_equal(s.state, 'S');
	assert_int_equal(s.exit_signal, -1);
}

#define STAT_REST                                                                                  \
	" S 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 " \
	"0 0 0 0 0 0 0 0 0 0"

static void stat_bad(void **state)
{
	static const char *const bad[] = {
		"",
		"1",
		"1 (a",
		"1 )a(" STAT_REST " 0",
		"x (a)" STAT_REST " 0",
		"1 (a)",
		"1 (a) ",
		"1 (a)" STAT_REST,
		"1 (a)" STAT_REST " 99999999999",
		"1 (a)" STAT_REST " 0x",
		"99999999999 (a)" STAT_REST " 0",
		"1 (0123456789012345678901234567890123456789012345678901234567890123)" STAT_REST
		" 0",
	};
	struct proc_stat s = { .pid = 7 };
	struct err err = {};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(PARSE(proc_stat_parse, bad[i], &s, &err), -EINVAL);
	assert_int_equal(s.pid, 7);
	assert_int_equal(PARSE(proc_stat_parse, "1 (a)" STAT_REST, &s, &err), -EINVAL);
	assert_string_equal(err.text, "stat: no exit_code");
	assert_int_equal(PARSE(proc_stat_parse, "1 ()" STAT_REST " 9 1 2\n", &s, &err), 0);
	assert_int_equal(s.exit_code, 9);
	assert_string_equal(s.comm, "");
}

static void status_recorded(void **state)
{
	scoped_proc dir = recorded(ODD);
	struct proc_status s;

	assert_int_equal(proc_status_read(dir, &s, NULL), 0);
	assert_string_equal(s.name, "a) R 1 (b\n c");
	assert_int_equal(s.umask, 027);
	assert_int_equal(s.state, 'S');
	assert_int_equal(s.tgid, 10841);
	assert_int_equal(s.ppid, 10837);
	assert_int_equal(s.tracer, 0);
	assert_int_equal(s.ns_pid, 10841);
	assert_false(s.nested);
	assert_int_equal(s.threads, 1);
	assert_int_equal(s.sigq, 6);
	assert_int_equal(s.sigq_limit, 96365);
	assert_int_equal(s.sig_pending, 1ull << (SIGUSR1 - 1));
	assert_int_equal(s.sig_blocked, 1ull << (SIGUSR1 - 1) | 1ull << 63);
	assert_true(s.sig_ignored & 1ull << (SIGPIPE - 1));
	assert_int_equal(s.cap_prm, 0x1fffeffffffull);
	assert_int_equal(s.cap_inh, 0);
	assert_int_equal(s.vm_size_kb, 2480);
	assert_int_equal(s.vm_rss_kb, 1304);
	assert_int_equal(s.n_groups, 0);
	assert_int_equal(s.n_cpus_bytes, 8);
	assert_int_equal(s.cpus_allowed[0], 3);
	assert_true(s.thp_enabled);
	assert_int_equal(s.untag_mask, UINT64_MAX);
	proc_status_release(&s);
}

static void status_of_zombie(void **state)
{
	scoped_proc dir = recorded(ZOMBIE);
	struct proc_status s;

	assert_int_equal(proc_status_read(dir, &s, NULL), 0);
	assert_int_equal(s.umask, ~0u);
	assert_int_equal(s.state, 'Z');
	assert_int_equal(s.vm_size_kb, 0);
	proc_status_release(&s);
}

#define STATUS(groups, sigblk, more)                                                               \
	"Name:\ta\\n\\\\ b \nState:\tT (stopped)\nTgid:\t5\nPid:\t6\nPPid:\t1\nTracerPid:\t9\n"    \
	"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t4294967294\nGroups:\t" groups "\nThreads:\t1\n"          \
	"SigQ:\t0/1\nSigPnd:\t0\nShdPnd:\t0\n" sigblk "SigIgn:\t0\nSigCgt:\t0\nCapInh:\t0\n"       \
	"CapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\nNoNewPrivs:\t1\n" more

#define BLK  "SigBlk:\tffffffffffffffff\n"
#define CPUS "Cpus_allowed:\t3\n"

static void status_text(void **state)
{
	struct proc_status s;

	assert_int_equal(PARSE(proc_status_parse,
			       STATUS("4 24 100 ", BLK,
				      "NSpid:\t600\t60\t6\nSeccomp:\t2\nSeccomp_filters:\t3\n"
				      "THP_enabled:\t0\nuntag_mask:\t0x80ff\n"
				      "x86_Thread_features:\tshstk wrss \n"
				      "x86_Thread_features_locked:\tshstk new\n"
				      "Cpus_allowed:\t1,80000000,00000102\n"),
			       &s, NULL),
			 0);
	assert_string_equal(s.name, "a\n\\ b ");
	assert_int_equal(s.tracer, 9);
	assert_int_equal(s.uid[3], 4);
	assert_int_equal(s.gid[3], 4294967294u);
	assert_int_equal(s.n_groups, 3);
	assert_int_equal(s.groups[1], 24);
	assert_int_equal(s.sig_blocked, UINT64_MAX);
	assert_true(s.no_new_privs);
	assert_int_equal(s.ns_pid, 6);
	assert_true(s.nested);
	assert_int_equal(s.seccomp, 2);
	assert_int_equal(s.seccomp_filters, 3);
	assert_false(s.thp_enabled);
	assert_int_equal(s.untag_mask, 0x80ff);
	assert_int_equal(s.x86_features, PROC_X86_SHSTK | PROC_X86_WRSS);
	assert_int_equal(s.x86_locked, PROC_X86_SHSTK | PROC_X86_OTHER);
	assert_int_equal(s.n_cpus_bytes, 16);
	assert_int_equal(s.cpus_allowed[0], 2);
	assert_int_equal(s.cpus_allowed[1], 1);
	assert_int_equal(s.cpus_allowed[7], 0x80);
	assert_int_equal(s.cpus_allowed[8], 1);
	proc_status_release(&s);
}

static void status_bad(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "", "status: no Name line" },
		{ STATUS("", "", CPUS), "status: no SigBlk line" },
		{ STATUS("", BLK, ""), "status: no Cpus_allowed line" },
		{ STATUS("", BLK BLK, CPUS),
		  "status: cannot understand \"SigBlk:?ffffffffffffffff\"" },
		{ STATUS("", "SigBlk:\t10000000000000000\n", CPUS),
		  "status: cannot understand \"SigBlk:?10000000000000000\"" },
		{ STATUS("", "SigBlk:\t\n", CPUS), "status: cannot understand \"SigBlk:?\"" },
		{ STATUS("4 x", BLK, CPUS), "status: cannot understand \"Groups:?4 x\"" },
		{ STATUS("4294967296", BLK, CPUS),
		  "status: cannot understand \"Groups:?4294967296\"" },
		{ STATUS("", BLK, "Cpus_allowed:\t3,\n"),
		  "status: cannot understand \"Cpus_allowed:?3,\"" },
		{ STATUS("", BLK, CPUS CPUS), "status: cannot understand \"Cpus_allowed:?3\"" },
		{ STATUS("", BLK, "Kthread:\t2\n"), "status: cannot understand \"Kthread:?2\"" },
	};
	struct proc_status s = { .pid = 7 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {};

		assert_int_equal(PARSE(proc_status_parse, bad[i].text, &s, &err), -EINVAL);
		assert_string_equal(err.text, bad[i].says);
	}
	assert_int_equal(s.pid, 7);
}

static void limits(void **state)
{
	scoped_proc dir = recorded(GO);
	struct proc_limit v[PROC_N_LIMITS];

	assert_int_equal(proc_limits_read(dir, v, NULL), 0);
	assert_int_equal(v[RLIMIT_CPU].cur, PROC_LIMIT_NONE);
	assert_int_equal(v[RLIMIT_STACK].cur, 8388608);
	assert_int_equal(v[RLIMIT_STACK].max, PROC_LIMIT_NONE);
	assert_int_equal(v[RLIMIT_CORE].cur, 0);
	assert_int_equal(v[RLIMIT_NPROC].max, 96365);
	assert_int_equal(v[RLIMIT_NOFILE].max, 20000);
	assert_int_equal(v[RLIMIT_MSGQUEUE].cur, 819200);
	assert_int_equal(v[RLIMIT_NICE].max, 0);
	assert_int_equal(v[RLIMIT_RTTIME].max, PROC_LIMIT_NONE);
}

static void limits_bad(void **state)
{
	struct proc_limit v[PROC_N_LIMITS];
	struct err err = {};

	assert_int_equal(PARSE(proc_limits_parse, "", v, &err), -EINVAL);
	assert_string_equal(err.text, "limits: no \"Max cpu time\" line");
	assert_int_equal(PARSE(proc_limits_parse, "Max cpu time 1 2x s\n", v, &err), -EINVAL);
	assert_int_equal(PARSE(proc_limits_parse, "Max cpu time 1\n", v, &err), -EINVAL);
	assert_int_equal(PARSE(proc_limits_parse, "Max cpu time -1 1 s\n", v, &err), -EINVAL);
	assert_int_equal(
		PARSE(proc_limits_parse, "Max cpu time 1 1 s\nMax cpu time 1 1 s\n", v, &err),
		-EINVAL);
}

static void timens(void **state)
{
	struct proc_timens v;

	assert_int_equal(PARSE(proc_timens_parse,
			       "monotonic      100000         5\nboottime           -3 999999999\n",
			       &v, NULL),
			 0);
	assert_int_equal(v.monotonic.tv_sec, 100000);
	assert_int_equal(v.monotonic.tv_nsec, 5);
	assert_int_equal(v.boottime.tv_sec, -3);
	assert_int_equal(v.boottime.tv_nsec, 999999999);
}

static void timens_bad(void **state)
{
	struct proc_timens v = { .monotonic.tv_sec = 7 };
	struct err err = {};

	assert_int_equal(PARSE(proc_timens_parse, "", &v, &err), -EINVAL);
	assert_string_equal(err.text, "timens_offsets: no \"monotonic\" line");
	assert_int_equal(PARSE(proc_timens_parse, "monotonic 1 2\n", &v, &err), -EINVAL);
	assert_string_equal(err.text, "timens_offsets: no \"boottime\" line");
	assert_int_equal(
		PARSE(proc_timens_parse, "monotonic 1 1000000000\nboottime 1 1\n", &v, &err),
		-EINVAL);
	assert_int_equal(PARSE(proc_timens_parse, "monotonic 1 -1\nboottime 1 1\n", &v, &err),
			 -EINVAL);
	assert_int_equal(PARSE(proc_timens_parse, "monotonic 1 1 1\nboottime 1 1\n", &v, &err),
			 -EINVAL);
	assert_int_equal(v.monotonic.tv_sec, 7);
}

static void timers(void **state)
{
	scoped_proc dir = recorded(ODD);
	scoped struct proc_timer *v = NULL;
	size_t n;

	assert_int_equal(proc_timers_read(dir, &v, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_int_equal(v[0].id, 2);
	assert_int_equal(v[0].notify, SIGEV_NONE);
	assert_int_equal(v[0].clockid, -6); /* the task's own CPU clock */
	assert_int_equal(v[1].id, 1);
	assert_int_equal(v[1].signo, SIGALRM);
	assert_int_equal(v[1].sival_ptr, 5);
	assert_int_equal(v[1].notify, SIGEV_THREAD_ID);
	assert_int_equal(v[1].target, 10841);
	assert_int_equal(v[1].clockid, CLOCK_MONOTONIC);
	assert_int_equal(v[2].id, 0);
	assert_int_equal(v[2].signo, 37);
	assert_int_equal(v[2].sival_ptr, 0x1234abcd);
	assert_int_equal(v[2].notify, SIGEV_SIGNAL);
}

static void timers_bad(void **state)
{
	struct proc_timer *v = NULL;
	struct err err = {};
	size_t n;

	assert_int_equal(PARSE(proc_timers_parse, "ID: 1\nsignal: 1/0\n", &v, &n, &err), -EINVAL);
	assert_string_equal(err.text, "timers: ends in the middle of timer 1");
	assert_int_equal(PARSE(proc_timers_parse,
			       "ID: 1\nsignal: 1/0\nnotify: smoke/pid.1\nClockID: 0\n", &v, &n,
			       &err),
			 -EINVAL);
	assert_string_equal(err.text, "timers: cannot understand \"notify: smoke/pid.1\"");
	assert_int_equal(PARSE(proc_timers_parse, "signal: 1/0\nID: 1\n", &v, &n, &err), -EINVAL);
}

static void children(void **state)
{
	scoped_proc dir = recorded(PYTHON);
	scoped int *pids = NULL, *some = NULL;
	size_t n;

	assert_int_equal(proc_children_read(dir, &pids, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(pids[0], 10859);
	assert_int_equal(pids[1], 10860);
	assert_int_equal(PARSE(proc_children_parse, "7 5 7 \n", &some, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_int_equal(some[1], 5);
	assert_int_equal(PARSE(proc_children_parse, "1 2,3", &pids, &n, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_children_parse, "0", &pids, &n, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_children_parse, "-4", &pids, &n, NULL), -EINVAL);
}

/* What the kernel says of bash, with other numbers. */
static void put_stat(int at, const char *name, int pid, int ppid)
{
	scoped_proc from = recorded(BASH);
	scoped char *buf = NULL;
	size_t len;
	FILE *f;
	int fd = openat(at, name, O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	assert_int_equal(proc_read(from, "stat", &buf, &len, NULL), 0);
	fprintf(f, "%d (a) S %d %s", pid, ppid, strstr(buf, "S 10837 ") + strlen("S 10837 "));
	fclose(f);
}

static void put_process(int root, int pid, int ppid)
{
	scoped char *name = xasprintf("%d", pid), *stat = xasprintf("%d/stat", pid);

	assert_int_equal(mkdirat(root, name, 0700), 0);
	put_stat(root, stat, pid, ppid);
}

static void put_mountinfo(int root, const char *line)
{
	FILE *f;

	assert_int_equal(mkdirat(root, "self", 0700), 0);
	f = fdopen(openat(root, "self/mountinfo", O_CREAT | O_WRONLY, 0600), "w");
	assert_non_null(f);
	fputs(line, f);
	fclose(f);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

/* A kernel without such lists: a child, one of that child's own, and one of somebody else's. */
static void children_without_lists(void **state)
{
	char path[] = "/tmp/proc-children.XXXXXX";
	scoped_proc dir = NULL;
	scoped int *pids = NULL;
	struct err err = {};
	size_t n;
	int root;

	assert_non_null(mkdtemp(path));
	root = open(path, O_RDONLY | O_DIRECTORY);
	put_process(root, 70, 1);
	mkdirat(root, "70/task", 0700);
	mkdirat(root, "70/task/70", 0700);
	put_stat(root, "70/task/70/stat", 70, 1);
	put_process(root, 71, 70);
	put_process(root, 72, 71);
	put_process(root, 73, 1);
	assert_int_equal(proc_open(&dir, path, 70, NULL), 0);
	assert_int_equal(proc_children_read(dir, &pids, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(pids[0], 71);
	put_mountinfo(root, "26 1 0:22 / /proc rw shared:11 - proc proc rw,hidepid=invisible\n");
	assert_int_equal(proc_children_read(dir, &pids, &n, &err), -E2BIG);
	assert_string_equal(err.text, "children: this kernel lists none, and /proc may hide some "
				      "(hidepid, see proc(5))");
	close(root);
	assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void threads(void **state)
{
	scoped_proc dir = recorded(PYTHON);
	scoped int *tids = NULL;
	size_t n;

	assert_int_equal(proc_list(dir, "task", &tids, &n, NULL), 0);
	assert_int_equal(n, 4);
	assert_int_equal(tids[0], 10843);
	assert_true(tids[1] < tids[2] && tids[2] < tids[3]);
}

static void namespaces(void **state)
{
	scoped_proc dir = recorded(ODD);
	scoped_proc dead = recorded(ZOMBIE);
	uint64_t ns[PROC_N_NS];

	assert_int_equal(proc_ns_read(dir, ns, NULL), 0);
	for (int i = 0; i < PROC_N_NS; i++)
		assert_true(ns[i] > 4026531830);
	assert_int_equal(ns[PROC_NS_PID], ns[PROC_NS_PID_CHILDREN]);
	assert_int_not_equal(ns[PROC_NS_PID], ns[PROC_NS_USER]);
	assert_int_equal(proc_ns_read(dead, ns, NULL), 0);
	assert_int_equal(ns[PROC_NS_MNT], 0);
	assert_string_equal(proc_ns_name(PROC_NS_PID_CHILDREN), "pid_for_children");
}

static void auxv(void **state)
{
	scoped_proc dir = recorded(ODD);
	scoped struct proc_auxv *v = NULL;
	static const uint64_t endless[] = { AT_PAGESZ, 4096 };
	static const uint64_t two[] = { AT_PAGESZ, 4096, AT_NULL, 0, 5, 5 };
	size_t n;

	assert_int_equal(proc_auxv_read(dir, &v, &n, NULL), 0);
	assert_int_equal(proc_auxv_get(v, n, AT_PAGESZ, 0), 4096);
	assert_int_equal(proc_auxv_get(v, n, AT_SYSINFO_EHDR, 0), 0x7f99b082c000);
	assert_int_equal(proc_auxv_get(v, n, 999, 7), 7);
	free(v);
	assert_int_equal(proc_auxv_parse((const char *)two, sizeof(two), &v, &n, NULL), 0);
	assert_int_equal(n, 1);
	free(v);
	v = NULL;
	assert_int_equal(proc_auxv_parse((const char *)endless, 16, &v, &n, NULL), -EINVAL);
	assert_int_equal(proc_auxv_parse((const char *)endless, 15, &v, &n, NULL), -EINVAL);
	assert_int_equal(proc_auxv_parse("", 0, &v, &n, NULL), 0);
	assert_int_equal(n, 0);
}

static void values(void **state)
{
	scoped_proc dir = recorded(ODD);
	scoped_proc dead = recorded(ZOMBIE);
	scoped char *wchan = NULL;
	uint32_t u = 1;
	int32_t i = 1;
	uint64_t v;

	assert_int_equal(proc_personality_read(dir, &u, NULL), 0);
	assert_int_equal(u, 0);
	assert_int_equal(proc_coredump_filter_read(dir, &u, NULL), 0);
	assert_int_equal(u, 0x33);
	assert_int_equal(proc_coredump_filter_read(dead, &u, NULL), -ENODATA);
	assert_int_equal(proc_oom_score_adj_read(dir, &i, NULL), 0);
	assert_int_equal(i, 0);
	assert_int_equal(proc_loginuid_read(dir, &u, NULL), 0);
	assert_int_equal(u, ~0u);
	assert_int_equal(proc_timerslack_read(dir, &v, NULL), 0);
	assert_int_equal(v, 50000);
	assert_int_equal(proc_exec_start_read(dir, &v, NULL), 0);
	assert_int_equal(v, 1685659780870);
	assert_int_equal(proc_wchan_read(dir, &wchan, NULL), 0);
	assert_string_equal(wchan, "__do_sys_pause");
}

static void values_bad(void **state)
{
	int64_t i;
	uint64_t v;

	assert_int_equal(PARSE(proc_number_parse, "-9223372036854775808\n", &i, NULL), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(PARSE(proc_number_parse, "-9223372036854775809\n", &i, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_number_parse, "9223372036854775808", &i, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_number_parse, "1\n\n", &i, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_number_parse, " 1", &i, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_number_parse, "-", &i, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_hex_parse, "ffffffffffffffff", &v, NULL), 0);
	assert_int_equal(PARSE(proc_hex_parse, "0x1", &v, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_exec_start_parse, "a\nse.exec_start : 12.5\n", &v, NULL),
			 -EINVAL);
	assert_int_equal(PARSE(proc_exec_start_parse,
			       "a\nse.exec_start : 99999999999999999.000000\n", &v, NULL),
			 -EINVAL);
	assert_int_equal(PARSE(proc_exec_start_parse, "se.exec_start : 1.000000\n", &v, NULL),
			 -ENOENT);
}

static void autogroups(void **state)
{
	int32_t nice = 0;

	assert_int_equal(PARSE(proc_autogroup_parse, "/autogroup-12 nice -20\n", &nice, NULL), 0);
	assert_int_equal(nice, -20);
	assert_int_equal(PARSE(proc_autogroup_parse, "/autogroup-12 nice 20\n", &nice, NULL),
			 -EINVAL);
	assert_int_equal(PARSE(proc_autogroup_parse, "/autogroup- nice 2\n", &nice, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_autogroup_parse, "/autogroup-12 nice", &nice, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_autogroup_parse, "", &nice, NULL), -EINVAL);
}

static void syscalls(void **state)
{
	scoped_proc dir = recorded(PYTHON);
	scoped_proc dead = recorded(ZOMBIE);
	struct proc_syscall s;

	assert_int_equal(proc_syscall_read(dir, &s, NULL), 0);
	assert_false(s.running);
	assert_int_equal(s.nr, 230);
	assert_int_equal(s.args[1], 1);
	assert_int_equal(s.args[2], 0x7ffee62ff940);
	assert_int_equal(s.pc, 0x7f507ab67545);
	assert_int_equal(proc_syscall_read(dead, &s, NULL), 0);
	assert_int_equal(s.nr, -1);
	assert_int_equal(PARSE(proc_syscall_parse, "running\n", &s, NULL), 0);
	assert_true(s.running);
	assert_int_equal(PARSE(proc_syscall_parse, "5 0x1 0x2\n", &s, NULL), -EINVAL);
	assert_int_equal(PARSE(proc_syscall_parse, "-1 0x1 0x2 0x3\n", &s, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_of_odd_name),
		cmocka_unit_test(stat_of_bash),
		cmocka_unit_test(stat_of_zombies),
		cmocka_unit_test(stat_bad),
		cmocka_unit_test(status_recorded),
		cmocka_unit_test(status_of_zombie),
		cmocka_unit_test(status_text),
		cmocka_unit_test(status_bad),
		cmocka_unit_test(limits),
		cmocka_unit_test(limits_bad),
		cmocka_unit_test(timens),
		cmocka_unit_test(timens_bad),
		cmocka_unit_test(timers),
		cmocka_unit_test(timers_bad),
		cmocka_unit_test(children),
		cmocka_unit_test(children_without_lists),
		cmocka_unit_test(threads),
		cmocka_unit_test(namespaces),
		cmocka_unit_test(auxv),
		cmocka_unit_test(values),
		cmocka_unit_test(values_bad),
		cmocka_unit_test(autogroups),
		cmocka_unit_test(syscalls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
