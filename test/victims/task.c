/* task.c - victims: the settings of a task. */
#include "victim.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <time.h>
#include <sys/syscall.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/stat.h>

static const char *const limit_names[RLIM_NLIMITS] = {
	"CPU",	   "FSIZE", "DATA",  "STACK",	   "CORE",     "RSS",  "NPROC",	 "NOFILE",
	"MEMLOCK", "AS",    "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
};

/* Every limit lowered, hard and soft to different values; also for a task of another user. */
VICTIM(limits)
{
	struct rlimit before[RLIM_NLIMITS], now;
	long uid = param("uid", 0);

	for (int i = 0; i < RLIM_NLIMITS; i++) {
		SYS(getrlimit(i, &now));
		if (now.rlim_max > 1ULL << 40)
			now.rlim_max = (1ULL << 40) + 4096 * i;
		if (i == RLIMIT_NICE || i == RLIMIT_RTPRIO)
			now.rlim_max = 0;
		now.rlim_cur = now.rlim_max - now.rlim_max / 8;
		if (i == RLIMIT_CORE)
			now.rlim_cur = 0;
		before[i] = now;
		SYS(setrlimit(i, &now));
	}
	if (uid)
		SYS(setresuid(uid, uid, uid));
	ready();
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		SYS(getrlimit(i, &now));
		CHECK(now.rlim_cur == before[i].rlim_cur && now.rlim_max == before[i].rlim_max,
		      "RLIMIT_%s is %lu of %lu, was %lu of %lu", limit_names[i], now.rlim_cur,
		      now.rlim_max, before[i].rlim_cur, before[i].rlim_max);
	}
}

/* --- settings that prctl and /proc tell ----------------------------------------- */
VICTIM(dumpable)
{
	int value = param("value", 0);

	SYS(prctl(PR_SET_DUMPABLE, value));
	ready();
	CHECK(prctl(PR_GET_DUMPABLE) == value, "dumpable is %d", prctl(PR_GET_DUMPABLE));
}

static void with_pdeathsig(void *sig)
{
	int now;

	SYS(prctl(PR_SET_PDEATHSIG, (long)sig));
	child_ready();
	wait_go();
	SYS(prctl(PR_GET_PDEATHSIG, &now));
	CHECK(now == (long)sig, "pdeathsig is %d", now);
}

VICTIM(pdeathsig)
{
	pid_t kid = child(with_pdeathsig, (void *)(long)SIGUSR2);

	ready();
	join(kid);
}

VICTIM(subreaper)
{
	int now;

	SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
	ready();
	SYS(prctl(PR_GET_CHILD_SUBREAPER, &now));
	CHECK(now == 1, "no longer a subreaper");
}

VICTIM(umask)
{
	umask(0137);
	ready();
	CHECK(umask(0) == 0137, "umask changed");
}

static void same_link(const char *link, const char *want)
{
	char now[PATH_MAX];
	ssize_t n = SYS(readlink(link, now, sizeof(now) - 1));

	now[n] = 0;
	CHECK(!strcmp(now, want), "%s is %s, was %s", link, now, want);
}

VICTIM(cwd)
{
	char *path = in_dir("a folder with spaces");

	SYS(mkdir(path, 0755));
	SYS(chdir(path));
	ready();
	same_link("/proc/self/cwd", path);
	SYS(close(SYS(open("../go", O_RDONLY))));
}

VICTIM(chroot)
{
	char *inner = in_dir("inner");

	SYS(mkdir(inner, 0755));
	SYS(chdir(inner));
	maps_may_change(); /* no /proc in there to look at */
	SYS(chroot(in_dir("%s", "")));
	dir_moved("");
	ready();
	CHECK(!access("/go", F_OK) && !access("/inner", F_OK), "the root is another one");
	CHECK(!access("../inner", F_OK), "the working directory is another one");
	CHECK(access("/proc/self", F_OK), "the root is the old one");
}

VICTIM(exe)
{
	char before[PATH_MAX];
	ssize_t n = SYS(readlink("/proc/self/exe", before, sizeof(before) - 1));

	before[n] = 0;
	ready();
	same_link("/proc/self/exe", before);
}

static void same_file(const char *path, const char *before)
{
	char *now = file_text(TEXT_C, path);

	CHECK(!strcmp(now, before), "%s is \"%s\", was \"%s\"", path, now, before);
}

VICTIM(comm)
{
	SYS(prctl(PR_SET_NAME, "a) S (1 2 3"));
	ready();
	same_file("/proc/self/comm", "a) S (1 2 3\n");
}

/* The areas that ps shows, overwritten as daemons do; and the auxiliary vector. */
VICTIM(areas)
{
	char *args, *env, *aux;
	extern char **environ;

	if (environ[0] && strlen(environ[0]) > 4)
		memset(environ[0], 'e', 3);
	if (program_invocation_name[0])
		memset(program_invocation_name, 'v', strlen(program_invocation_name));
	args = strdup(file_text(TEXT_A, "/proc/self/cmdline"));
	env = strdup(file_text(TEXT_A, "/proc/self/environ"));
	aux = malloc(4096);
	memcpy(aux, file_text(TEXT_A, "/proc/self/auxv"), 4096);
	ready();
	same_file("/proc/self/cmdline", args);
	same_file("/proc/self/environ", env);
	CHECK(!memcmp(aux, file_text(TEXT_A, "/proc/self/auxv"), 21 * 16), "auxv changed");
	CHECK(getauxval(AT_PAGESZ) == PAGE, "getauxval finds nothing");
}

static void write_file(const char *path, const char *text)
{
	int fd = SYS(open(path, O_WRONLY));

	if (write(fd, text, strlen(text)) < 0)
		fail_errno("write %s", path);
	close(fd);
}

VICTIM(oom_score_adj)
{
	write_file("/proc/self/oom_score_adj", "321");
	ready();
	same_file("/proc/self/oom_score_adj", "321\n");
}

VICTIM(timer_slack)
{
	SYS(prctl(PR_SET_TIMERSLACK, 123456UL));
	ready();
	CHECK(prctl(PR_GET_TIMERSLACK) == 123456, "timer slack is %d", prctl(PR_GET_TIMERSLACK));
}

VICTIM(thp_setting)
{
	SYS(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	ready();
	CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1, "huge pages are no longer disabled");
}

VICTIM(personality)
{
	unsigned long want = ADDR_NO_RANDOMIZE | UNAME26;

	SYS(personality(want));
	ready();
	CHECK((unsigned long)personality(0xffffffff) == want, "personality is %x",
	      personality(0xffffffff));
}

/* --- the clocks that begin with the machine -------------------------------------------- */

static double seconds(clockid_t id)
{
	struct timespec t;

	SYS(clock_gettime(id, &t));
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* The vdso and the kernel tell the same time. */
static void agree(clockid_t id)
{
	struct timespec asked;
	double before = seconds(id), after;

	SYS(syscall(SYS_clock_gettime, id, &asked));
	after = seconds(id);
	CHECK(before <= asked.tv_sec + asked.tv_nsec / 1e9 &&
		      asked.tv_sec + asked.tv_nsec / 1e9 <= after,
	      "clock %d: the vdso says %f and %f, the kernel %f in between", id, before, after,
	      asked.tv_sec + asked.tv_nsec / 1e9);
}

/* They may stand still while it is not there, but neither run backwards nor jump. */
VICTIM(clocks)
{
	static const clockid_t id[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	double then[2], real = seconds(CLOCK_REALTIME);
	struct timespec until;

	for (int i = 0; i < 2; i++)
		then[i] = seconds(id[i]);
	ready();
	for (int i = 0; i < 2; i++) {
		double passed = seconds(id[i]) - then[i];

		CHECK(passed >= 0, "clock %d went back by %f s", id[i], -passed);
		CHECK(passed <= seconds(CLOCK_REALTIME) - real + 5, "clock %d jumped by %f s",
		      id[i], passed);
		agree(id[i]);
	}
	SYS(clock_gettime(CLOCK_MONOTONIC, &until));
	until.tv_nsec /= 2; /* has passed */
	CHECK(!clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL), "clock_nanosleep");
}

/* Nothing of it is undone when the task ends, so it is not the task's. */
VICTIM(semaphore)
{
	struct sembuf take = { 0, -1, 0 };
	int id = SYS(semget(IPC_PRIVATE, 1, 0600)), value;

	SYS(semctl(id, 0, SETVAL, 5));
	SYS(semop(id, &take, 1));
	ready();
	value = SYS(semctl(id, 0, GETVAL));
	CHECK(value == 4, "the semaphore is %d", value);
}
