/* victim.c - what all victims share: talking to the outside, waiting, known content. */
#include "victim.h"

#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* The linker's names for the rows that VICTIM() collects. */
extern const struct victim __start_victims[], __stop_victims[];

enum { TEXT_SIZE = 256 * 1024, PATIENCE = 24000 };

static char dir[256], **params;
static const char *victim_name = "victim";
static bool compare_maps = true;

static void say(const char *fmt, va_list ap, int error)
{
	char text[2000];
	int n;

	n = snprintf(text, sizeof(text), "%s[%d]: ", victim_name, (int)getpid());
	n += vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	if (error && n < (int)sizeof(text))
		n += snprintf(text + n, sizeof(text) - n, ": %s", strerror(error));
	if (n > (int)sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n++] = '\n';
	if (write(2, text, n) < 0)
		_exit(1);
}

void fail_errno(const char *fmt, ...)
{
	int e = errno;
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap, e);
	_exit(1);
}

void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap, 0);
	_exit(1);
}

void cannot(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap, 0);
	_exit(77);
}

const char *param_text(const char *key, const char *otherwise)
{
	size_t n = strlen(key);

	for (char **p = params; *p; p++)
		if (!strncmp(*p, key, n) && (*p)[n] == '=')
			return *p + n + 1;
	return otherwise;
}

long param(const char *key, long otherwise)
{
	const char *text = param_text(key, NULL);

	return text ? strtol(text, NULL, 0) : otherwise;
}

void nap(void)
{
	struct timespec t = { .tv_nsec = 5 * 1000 * 1000 };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

static void path_in_dir(char *path, size_t n, const char *fmt, va_list ap)
{
	int at = snprintf(path, n, "%s/", dir);

	vsnprintf(path + at, n - at, fmt, ap);
}

char *in_dir(const char *fmt, ...)
{
	char path[512], *copy;
	va_list ap;

	va_start(ap, fmt);
	path_in_dir(path, sizeof(path), fmt, ap);
	va_end(ap);
	copy = strdup(path);
	CHECK(copy, "strdup");
	return copy;
}

void dir_moved(const char *path)
{
	snprintf(dir, sizeof(dir), "%s", path);
}

/* Create @path with @text in one step, so that nobody reads half of it. */
static void publish(const char *path, const char *text)
{
	char temp[600];
	int fd;

	snprintf(temp, sizeof(temp), "%s.%d~", path, (int)gettid());
	fd = SYS(open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		fail_errno("write %s", temp);
	close(fd);
	SYS(rename(temp, path));
}

void mark(const char *fmt, ...)
{
	char path[512];
	va_list ap;

	va_start(ap, fmt);
	path_in_dir(path, sizeof(path), fmt, ap);
	va_end(ap);
	publish(path, "");
}

void wait_mark(const char *fmt, ...)
{
	char path[512];
	va_list ap;

	va_start(ap, fmt);
	path_in_dir(path, sizeof(path), fmt, ap);
	va_end(ap);
	for (int i = 0; access(path, F_OK); i++) {
		if (i > PATIENCE)
			fail("%s did not appear", path);
		nap();
	}
}

bool has_mark(const char *fmt, ...)
{
	char path[512];
	va_list ap;

	va_start(ap, fmt);
	path_in_dir(path, sizeof(path), fmt, ap);
	va_end(ap);
	return access(path, F_OK) == 0;
}

void expect_text(const char *fmt, ...)
{
	char path[512], text[256];
	va_list ap;
	int fd;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	strcat(text, "\n");
	snprintf(path, sizeof(path), "%s/expect", dir);
	fd = SYS(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
	if (write(fd, text, strlen(text)) < 0)
		fail_errno("write %s", path);
	close(fd);
}

bool told_to_go(void)
{
	return has_mark("go");
}

void wait_go(void)
{
	wait_mark("go");
}

void announce(void)
{
	char path[300], text[32];

	snprintf(path, sizeof(path), "%s/ready", dir);
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	publish(path, text);
}

void maps_may_change(void)
{
	compare_maps = false;
}

static void print_difference(const char *before, const char *after)
{
	size_t i = 0, line = 0;

	for (; before[i] && before[i] == after[i]; i++)
		if (before[i] == '\n')
			line = i + 1;
	fail("mappings changed, at:\n  before: %.*s\n  after:  %.*s",
	     (int)strcspn(before + line, "\n"), before + line, (int)strcspn(after + line, "\n"),
	     after + line);
}

/* Is the mapping of line @b the continuation of the one of line @a, in all that maps tells? */
static bool continues(const char *a, const char *b)
{
	unsigned long start[2], end[2], offset[2], inode[2];
	char perms[2][5], dev[2][16];

	if (sscanf(a, "%lx-%lx %4s %lx %15s %lu", start, end, perms[0], offset, dev[0], inode) !=
		    6 ||
	    sscanf(b, "%lx-%lx %4s %lx %15s %lu", start + 1, end + 1, perms[1], offset + 1, dev[1],
		   inode + 1) != 6)
		return false;
	return end[0] == start[1] && !strcmp(perms[0], perms[1]) && !strcmp(dev[0], dev[1]) &&
	       inode[0] == inode[1] && (!inode[0] || offset[0] + end[0] - start[0] == offset[1]);
}

/*
 * Whether the kernel keeps two neighbours apart depends on which was written to
 * first, and other tools' restores do not keep to that: seen as one (join=1).
 */
static void join_neighbours(char *text)
{
	char *line = text, *next;

	while ((next = strchr(line, '\n')) && next[1]) {
		size_t start = strcspn(line, "-") + 1, width = strcspn(line + start, " ");
		char *end, *after;

		next++;
		end = next + strcspn(next, "-") + 1;
		after = strchr(next, '\n');
		if (!after || strcspn(end, " ") != width || !continues(line, next)) {
			line = next;
			continue;
		}
		memcpy(line + start, end, width);
		memmove(next, after + 1, strlen(after + 1) + 1);
	}
}

/* /proc/self/maps, without the inode numbers of memory that has a file but no name. */
static char *own_maps(void)
{
	char *text = file_text(TEXT_A, "/proc/self/maps"), *path, *end;

	for (path = strchr(text, '/'); path; path = strchr(end, '/')) {
		end = path + strcspn(path, "\n");
		if (strncmp(path, "/memfd:", 7) && strncmp(path, "/dev/zero (", 11))
			continue;
		for (char *p = path - 1; p[-1] == ' ' || (p[-1] >= '0' && p[-1] <= '9'); p--)
			p[-1] = ' ';
	}
	if (param("join", 0))
		join_neighbours(text);
	return text;
}

void ready(void)
{
	static char before[TEXT_SIZE];
	char *after;

	if (compare_maps)
		strcpy(before, own_maps());
	announce();
	wait_go();
	if (!compare_maps)
		return;
	after = own_maps();
	if (strcmp(before, after))
		print_difference(before, after);
}

char *file_text(int slot, const char *path)
{
	static char text[TEXT_SLOTS][TEXT_SIZE];
	size_t n = 0;
	ssize_t got;
	int fd;

	fd = SYS(open(path, O_RDONLY | O_CLOEXEC));
	while ((got = read(fd, text[slot] + n, TEXT_SIZE - 1 - n)) > 0)
		n += got;
	CHECK(got == 0 && n < TEXT_SIZE - 1, "cannot read all of %s", path);
	close(fd);
	for (size_t i = 0; i < n; i++)
		if (!text[slot][i])
			text[slot][i] = ' ';
	text[slot][n] = 0;
	return text[slot];
}

static bool begins_with_one(const char *line, const char *keys)
{
	for (const char *k = keys; k; k = strchr(k, '|')) {
		k += *k == '|';
		if (!strncmp(line, k, strcspn(k, "|")))
			return true;
	}
	return false;
}

char *file_lines(int slot, const char *path, const char *keys)
{
	char *text = file_text(slot, path), *out = text, *next;

	for (char *line = text; *line; line = next) {
		size_t n = strcspn(line, "\n");

		next = line + n + (line[n] == '\n');
		if (!begins_with_one(line, keys))
			continue;
		memmove(out, line, next - line);
		out += next - line;
	}
	*out = 0;
	return text;
}

void child_ready(void)
{
	mark("child.%d", (int)getpid());
}

pid_t child(void (*fn)(void *), void *arg)
{
	pid_t pid = SYS(fork());

	if (pid == 0) {
		fn(arg);
		exit(0);
	}
	wait_mark("child.%d", (int)pid);
	return pid;
}

void join(pid_t pid)
{
	int status;
	pid_t got;

	do
		got = waitpid(pid, &status, 0);
	while (got < 0 && errno == EINTR);
	if (got != pid)
		fail_errno("wait for child %d", (int)pid);
	if (WIFSIGNALED(status))
		fail("child %d died of signal %d", (int)pid, WTERMSIG(status));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: wait status %#x", (int)pid,
	      status);
}

void wait_asleep(pid_t tid, long nr)
{
	char path[64], text[128];

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)tid);
	for (int i = 0; i < PATIENCE; i++, nap()) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

		if (fd >= 0)
			close(fd);
		text[n > 0 ? n : 0] = 0;
		if (n > 0 && text[0] >= '0' && text[0] <= '9' && strtol(text, NULL, 10) == nr)
			return;
	}
	fail("thread %d never slept in system call %ld: %s", (int)tid, nr, text);
}

/* xorshift64*: any seed gives a stream of its own, and no two words repeat soon. */
static uint64_t next_word(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

void fill(void *at, size_t n, uint64_t seed)
{
	uint64_t state = seed * 2 + 1, word = 0;

	for (size_t i = 0; i < n; i++) {
		if (i % 8 == 0)
			word = next_word(&state);
		((unsigned char *)at)[i] = word >> i % 8 * 8;
	}
}

long differs(const void *at, size_t n, uint64_t seed)
{
	uint64_t state = seed * 2 + 1, word = 0;

	for (size_t i = 0; i < n; i++) {
		if (i % 8 == 0)
			word = next_word(&state);
		if (((const unsigned char *)at)[i] != (unsigned char)(word >> i % 8 * 8))
			return i;
	}
	return -1;
}

uint64_t checksum(uint64_t sum, const void *at, size_t n)
{
	const unsigned char *p = at;

	for (size_t i = 0; i < n; i++)
		sum = (sum ^ p[i]) * 0x100000001b3ULL; /* FNV-1a */
	return sum;
}

void *map_anon(size_t n)
{
	return SYS(mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

int make_file(const char *name, size_t n, uint64_t seed)
{
	int fd = SYS(open(in_dir("%s", name), O_RDWR | O_CREAT | O_TRUNC, 0644));
	char *content = malloc(n + 1);

	CHECK(content, "malloc");
	fill(content, n, seed);
	if (write(fd, content, n) != (ssize_t)n)
		fail_errno("write %s", name);
	free(content);
	return fd;
}

static bool same_name(const char *ident, const char *name)
{
	for (; *ident && *name; ident++, name++)
		if (*ident != *name && !(*ident == '_' && *name == '-'))
			return false;
	return !*ident && !*name;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: victim NAME DIR [KEY=VALUE...]; the names are:\n");
		for (const struct victim *v = __start_victims; v < __stop_victims; v++)
			fprintf(stderr, "  %s\n", v->name);
		return 2;
	}
	victim_name = argv[1];
	dir_moved(argv[2]);
	params = argv + 3;
	if (param_text("maps", NULL))
		maps_may_change();
	for (const struct victim *v = __start_victims; v < __stop_victims; v++) {
		if (!same_name(v->name, argv[1]))
			continue;
		v->run();
		return 0;
	}
	fprintf(stderr, "victim: no victim is named %s\n", argv[1]);
	return 2;
}
