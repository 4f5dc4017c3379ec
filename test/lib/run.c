/*
 * run.c - run test cases, each in a namespace of its own (see nsinit.c), some
 * at a time, and say how they went in TAP.
 *
 *   run [-j JOBS] [-l LOGDIR] [-s SKIPLIST] [-k PATTERN] LIST...
 *
 * A LIST has one case a line: NAME LIMIT COMMAND, the limit in seconds, the
 * command for sh. The case's output goes to LOGDIR/NAME.log; $CASE_DIR is an
 * empty folder for it. Exit 0 is a pass; 77 is a skip, but only if a line of
 * the skip list (PATTERN CONDITION REASON) covers it on this machine; anything
 * else is a failure, and its log is shown.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/close_range.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <libgen.h>

#define LOG_TAIL 25

struct test_case {
	char *name, *limit, *command;
	char dir[64];
	pid_t pid; /* 0: not started; -1: done */
	double started;
};

struct skip {
	char *pattern, *condition, *reason;
};

struct suite {
	struct test_case *cases;
	size_t n;
	struct skip *skips;
	size_t n_skips;
	const char *logs, *nsinit;
	int passed, failed, skipped, seen;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "run: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void *grow(void *p, size_t n, size_t size)
{
	p = realloc(p, (n + 1) * size);
	if (!p)
		die("realloc");
	return p;
}

/* Three fields of a line: two words and the rest. False for blanks and comments. */
static bool split(char *line, char **a, char **b, char **rest)
{
	line[strcspn(line, "\n")] = 0;
	line += strspn(line, " \t");
	if (!*line || *line == '#')
		return false;
	*a = strtok(line, " \t");
	*b = strtok(NULL, " \t");
	*rest = strtok(NULL, "");
	if (!*b || !*rest) {
		fprintf(stderr, "run: \"%s\" has too few fields\n", *a);
		exit(2);
	}
	*rest += strspn(*rest, " \t");
	return true;
}

static void read_cases(struct suite *s, const char *path, const char *only)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	char *line = NULL, *name, *limit, *command;
	size_t cap = 0;

	if (!f)
		die(path);
	while (getline(&line, &cap, f) > 0) {
		if (!split(line, &name, &limit, &command) || (only && fnmatch(only, name, 0)))
			continue;
		s->cases = grow(s->cases, s->n, sizeof(*s->cases));
		s->cases[s->n++] = (struct test_case) { .name = strdup(name),
							.limit = strdup(limit),
							.command = strdup(command) };
	}
	free(line);
	if (f != stdin)
		fclose(f);
}

static void read_skips(struct suite *s, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL, *pattern, *condition, *reason;
	size_t cap = 0;

	if (!f)
		die(path);
	while (getline(&line, &cap, f) > 0) {
		if (!split(line, &pattern, &condition, &reason))
			continue;
		s->skips = grow(s->skips, s->n_skips, sizeof(*s->skips));
		s->skips[s->n_skips++] =
			(struct skip) { strdup(pattern), strdup(condition), strdup(reason) };
	}
	free(line);
	fclose(f);
}

static bool word_in_file(const char *path, const char *key, const char *word)
{
	FILE *f = fopen(path, "re");
	char *line = NULL, *w;
	bool found = false;
	size_t cap = 0;

	while (f && !found && getline(&line, &cap, f) > 0) {
		if (strncmp(line, key, strlen(key)))
			continue;
		for (w = strtok(line, " \t\n"); w && !found; w = strtok(NULL, " \t\n"))
			found = !strcmp(w, word);
		break;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

static bool have_cap(int bit)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long eff = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &eff) == 1)
			break;
	if (f)
		fclose(f);
	return eff >> bit & 1;
}

/* CONFIG_ANON_VMA_NAME is asked by naming some page of ours. */
static bool names_vmas(void)
{
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc = prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, page, 4096, "n");

	munmap(page, 4096);
	return rc == 0;
}

/* CONFIG_WATCH_QUEUE */
static bool has_watch_queues(void)
{
	int p[2];

	if (pipe2(p, O_EXCL /* O_NOTIFICATION_PIPE */) < 0)
		return false;
	close(p[0]);
	close(p[1]);
	return true;
}

static bool kernel_below(const char *version)
{
	int want_major, want_minor, major, minor;
	struct utsname u;

	uname(&u);
	if (sscanf(version, "%d.%d", &want_major, &want_minor) != 2 ||
	    sscanf(u.release, "%d.%d", &major, &minor) != 2)
		return false;
	return major < want_major || (major == want_major && minor < want_minor);
}

/* Is this machine one that @condition speaks of? */
static bool condition_holds(const char *condition)
{
	if (!strcmp(condition, "guest"))
		return getenv("GUEST");
	if (!strcmp(condition, "host"))
		return !getenv("GUEST");
	if (!strncmp(condition, "kernel<", 7))
		return kernel_below(condition + 7);
	if (!strncmp(condition, "nocpu:", 6))
		return !word_in_file("/proc/cpuinfo", "flags", condition + 6);
	if (!strncmp(condition, "nocap:", 6))
		return !have_cap(atoi(condition + 6));
	if (!strcmp(condition, "novmanames"))
		return !names_vmas();
	if (!strcmp(condition, "nowatchqueues"))
		return !has_watch_queues();
	if (!strcmp(condition, "nofuse"))
		return access("/dev/fuse", R_OK | W_OK) < 0;
	fprintf(stderr, "run: skip list: unknown condition %s\n", condition);
	exit(2);
}

static const char *skip_reason(const struct suite *s, const char *name)
{
	for (size_t i = 0; i < s->n_skips; i++)
		if (!fnmatch(s->skips[i].pattern, name, 0) &&
		    condition_holds(s->skips[i].condition))
			return s->skips[i].reason;
	return NULL;
}

static char *log_path(const struct suite *s, const struct test_case *c)
{
	char *path, *p;

	if (asprintf(&path, "%s/%s.log", s->logs, c->name) < 0)
		die("asprintf");
	for (p = path + strlen(s->logs) + 1; *p; p++)
		if (*p == '/')
			*p = '.';
	return path;
}

static void start(struct suite *s, struct test_case *c)
{
	char *log = log_path(s, c);
	int fd;

	strcpy(c->dir, "/tmp/sd-case.XXXXXX");
	if (!mkdtemp(c->dir) || chmod(c->dir, 0755))
		die(c->dir);
	c->started = now();
	c->pid = fork();
	if (c->pid < 0)
		die("fork");
	if (c->pid) {
		free(log);
		return;
	}
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		die(log);
	dup2(fd, 1);
	dup2(fd, 2);
	close(fd);
	fd = open("/dev/null", O_RDONLY);
	dup2(fd, 0);
	close(fd);
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* what whoever started us left open */
	setenv("CASE_DIR", c->dir, 1);
	execl(s->nsinit, "nsinit", "-t", c->limit, "sh", "-c", c->command, NULL);
	die(s->nsinit);
}

static void show_log(const struct suite *s, const struct test_case *c)
{
	char *lines[LOG_TAIL] = { NULL }, *line = NULL, *path = log_path(s, c);
	FILE *f = fopen(path, "re");
	size_t cap = 0, n = 0;

	while (f && getline(&line, &cap, f) > 0) {
		free(lines[n % LOG_TAIL]);
		lines[n++ % LOG_TAIL] = strdup(line);
	}
	if (f)
		fclose(f);
	printf("# log: %s\n", path);
	for (size_t i = n > LOG_TAIL ? n - LOG_TAIL : 0; i < n; i++)
		printf("#   %s", lines[i % LOG_TAIL]);
	for (size_t i = 0; i < LOG_TAIL; i++)
		free(lines[i]);
	free(line);
	free(path);
}

static void remove_dir(const char *dir)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", "--one-file-system", dir, NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static void report(struct suite *s, struct test_case *c, int status)
{
	int rc = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	const char *reason = rc == 77 ? skip_reason(s, c->name) : NULL;
	double took = now() - c->started;

	s->seen++;
	if (rc == 0) {
		s->passed++;
		printf("ok %d - %s (%.1f s)\n", s->seen, c->name, took);
	} else if (reason) {
		s->skipped++;
		printf("ok %d - %s # SKIP %s\n", s->seen, c->name, reason);
	} else {
		s->failed++;
		printf("not ok %d - %s (%.1f s) # %s %d\n", s->seen, c->name, took,
		       rc == 77 ? "skipped, but not on the skip list, exit" : "exit", rc);
		show_log(s, c);
	}
	fflush(stdout);
	remove_dir(c->dir);
	c->pid = -1;
}

/* Wait for any running case to end, and report it. */
static void collect(struct suite *s)
{
	int status;
	pid_t pid = waitpid(-1, &status, 0);

	if (pid < 0)
		die("waitpid");
	for (size_t i = 0; i < s->n; i++)
		if (s->cases[i].pid == pid)
			report(s, &s->cases[i], status);
}

static void run_all(struct suite *s, int jobs)
{
	int running = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (running == jobs) {
			collect(s);
			running--;
		}
		start(s, &s->cases[i]);
		running++;
	}
	for (; running; running--)
		collect(s);
}

int main(int argc, char **argv)
{
	struct suite s = { .logs = "test-logs" };
	const char *skips = NULL, *only = NULL;
	char nsinit[4096];
	int jobs = 2, o;

	while ((o = getopt(argc, argv, "j:l:s:k:")) != -1) {
		switch (o) {
		case 'j':
			jobs = atoi(optarg) > 0 ? atoi(optarg) : 1;
			break;
		case 'l':
			s.logs = optarg;
			break;
		case 's':
			skips = optarg;
			break;
		case 'k':
			only = optarg;
			break;
		default:
			return 2;
		}
	}
	snprintf(nsinit, sizeof(nsinit), "%s/nsinit", dirname(strdup(argv[0])));
	s.nsinit = nsinit;
	if (skips)
		read_skips(&s, skips);
	for (; optind < argc; optind++)
		read_cases(&s, argv[optind], only);
	if (mkdir(s.logs, 0755) && errno != EEXIST)
		die(s.logs);
	run_all(&s, jobs);
	printf("1..%zu\n", s.n);
	printf("%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped);
	return s.failed || !s.n;
}
