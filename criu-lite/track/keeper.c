/* keeper.c - the process that holds userfaultfds between two dumps, and talking to it. */
#include "criu-lite/track/keeper.h"
#include "base/fds.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

/* One byte from the client says what it wants. */
enum { WANT_ALL = 'a', WANT_END = 'e' };

/* The answer: this many tasks follow, one message each with its descriptor. */
struct answer {
	uint32_t n;
};
struct one {
	int32_t pid;
	uint64_t start_time;
};

enum { CLIENT_SECONDS = 5 };

int keeper_name_ok(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '-')
			return 0;
	return n > 0 && n <= 80;
}

static void socket_address(struct sockaddr_un *sa, const char *name)
{
	*sa = (struct sockaddr_un) { .sun_family = AF_UNIX };
	snprintf(sa->sun_path, sizeof(sa->sun_path), KEEPER_DIR "/%s", name);
}

static void limit_waiting(int sock)
{
	struct timeval limit = { .tv_sec = CLIENT_SECONDS };

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static int send_one(int sock, const struct kept *k)
{
	struct one one = { .pid = k->pid, .start_time = k->start_time };
	struct iovec iov = { &one, sizeof(one) };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &k->fd, sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(one) ? 0 : -errno;
}

/* A liar may send more descriptors than one, or one with an answer that is cut. */
static void close_received(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		const int *fd = (const int *)CMSG_DATA(c);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(*fd); n > 0; n--)
			close(fd[n - 1]);
	}
}

static int receive_one(int sock, struct kept *k)
{
	struct one one;
	struct iovec iov = { &one, sizeof(one) };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);

	if (n < 0)
		return -EPIPE;
	c = CMSG_FIRSTHDR(&msg);
	if (n != (ssize_t)sizeof(one) || !c || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int))) {
		close_received(&msg);
		return -EBADMSG;
	}
	k->pid = one.pid;
	k->start_time = one.start_time;
	k->pidfd = -1;
	memcpy(&k->fd, CMSG_DATA(c), sizeof(int));
	return 0;
}

/* --- the keeper itself -------------------------------------------------------- */

static int may_ask(int sock)
{
	struct ucred who;
	socklen_t n = sizeof(who);

	return !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &n) &&
	       (who.uid == 0 || who.uid == geteuid());
}

/* Returns nonzero when told to end. */
static int serve(int sock, const struct kept *kept, size_t n)
{
	struct answer answer = { 0 };
	char want;

	limit_waiting(sock);
	if (!may_ask(sock) || recv(sock, &want, 1, 0) != 1)
		return 0;
	if (want == WANT_END)
		return 1;
	if (want != WANT_ALL)
		return 0;
	for (size_t i = 0; i < n; i++)
		answer.n += kept[i].fd >= 0;
	if (send(sock, &answer, sizeof(answer), MSG_NOSIGNAL) != (ssize_t)sizeof(answer))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (kept[i].fd >= 0 && send_one(sock, &kept[i]) < 0)
			break;
	return 0;
}

/* polls[0] is the listening socket, polls[1 + i] the pidfd of kept[i]. */
static void keep(const char *path, struct pollfd *polls, struct kept *kept, size_t n)
{
	size_t alive = n;

	for (;;) {
		if (poll(polls, n + 1, -1) < 0)
			continue;
		for (size_t i = 0; i < n; i++) {
			if (!polls[1 + i].revents)
				continue;
			close(polls[1 + i].fd);
			close(kept[i].fd);
			polls[1 + i].fd = kept[i].fd = -1;
			if (--alive == 0) {
				unlink(path);
				return;
			}
		}
		if (polls[0].revents) {
			int sock = accept4(polls[0].fd, NULL, NULL, SOCK_CLOEXEC);
			int end = sock >= 0 && serve(sock, kept, n);

			/* Who told us to end may be about to take the name: it waits for this close. */
			if (end)
				unlink(path);
			close(sock);
			if (end)
				return;
		}
	}
}

static int by_fd(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Close everything but what is kept; the standard three become /dev/null. */
static void close_others(const struct pollfd *polls, const struct kept *kept, size_t n)
{
	int *stay = xcalloc(2 * n + 1, sizeof(*stay));
	size_t k = 0;
	unsigned from = 3;
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	stay[k++] = polls[0].fd;
	for (size_t i = 0; i < n; i++) {
		stay[k++] = polls[1 + i].fd;
		stay[k++] = kept[i].fd;
	}
	qsort(stay, k, sizeof(*stay), by_fd);
	for (size_t i = 0; i < k; i++) {
		if ((unsigned)stay[i] > from)
			syscall(SYS_close_range, from, stay[i] - 1, 0);
		from = stay[i] + 1;
	}
	syscall(SYS_close_range, from, ~0U, 0);
	free(stay);
}

static void be_ordinary(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int s = 1; s < NSIG; s++)
		signal(s, s == SIGPIPE || s == SIGHUP ? SIG_IGN : SIG_DFL);
	if (fd >= 0)
		(void)!write(fd, "0", 1);
	if (fd >= 0)
		close(fd);
	prctl(PR_SET_NAME, "sd-keeper");
	setsid();
	(void)!chdir("/");
	umask(077);
}

static void __attribute__((noreturn))
be_keeper(const char *name, struct pollfd *polls, struct kept *kept, size_t n)
{
	struct sockaddr_un sa;

	if (fork() != 0)
		_exit(0);
	be_ordinary();
	close_others(polls, kept, n);
	socket_address(&sa, name);
	keep(sa.sun_path, polls, kept, n);
	_exit(0);
}

static int listen_as(const char *name, struct err *err)
{
	struct sockaddr_un sa;
	scoped_fd sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mode_t mask;
	int rc;

	if (mkdir(KEEPER_DIR, 0700) < 0 && errno != EEXIST)
		return err_errno(err, "making " KEEPER_DIR);
	socket_address(&sa, name);
	unlink(sa.sun_path);
	mask = umask(077);
	rc = bind(sock, (struct sockaddr *)&sa, sizeof(sa));
	umask(mask);
	if (rc < 0 || listen(sock, 8) < 0)
		return err_errno(err, "listening on %s", sa.sun_path);
	return fd_take(&sock);
}

/*
 * Ready when it has let go of all that it does not keep: the caller may hold
 * locks that must not outlive it. The end of the pipe says so.
 */
static void wait_ready(int pipe[2])
{
	char c;

	close(pipe[1]);
	(void)!read(pipe[0], &c, 1);
	close(pipe[0]);
}

static int start(const char *name, struct pollfd *polls, struct kept *own, size_t n,
		 struct err *err)
{
	int ready[2], status;
	pid_t child;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_errno(err, "making a pipe");
	child = fork();
	if (child == 0)
		be_keeper(name, polls, own, n);
	if (child < 0) {
		close(ready[0]);
		close(ready[1]);
		return err_errno(err, "starting the keeper");
	}
	wait_ready(ready);
	waitpid(child, &status, 0);
	return 0;
}

int keeper_start(const char *name, const struct kept *kept, size_t n, struct err *err)
{
	scoped struct pollfd *polls = xcalloc(n + 1, sizeof(*polls));
	scoped struct kept *own = xmemdup(kept, n * sizeof(*kept));
	int rc;

	if (!keeper_name_ok(name) || !n || n > KEEPER_MAX)
		return err_set(err, -EINVAL, "a keeper cannot hold %zu tasks", n);
	fds_make_room();
	polls[0] = (struct pollfd) { .fd = listen_as(name, err), .events = POLLIN };
	if (polls[0].fd < 0)
		return polls[0].fd;
	for (size_t i = 0; i < n; i++)
		polls[1 + i] = (struct pollfd) { .fd = own[i].pidfd, .events = POLLIN };
	rc = start(name, polls, own, n, err);
	close(polls[0].fd);
	return rc;
}

/* --- its clients ----------------------------------------------------------------- */

static int ask(const char *name, char want, struct err *err)
{
	scoped_fd sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa;
	struct ucred who;
	socklen_t n = sizeof(who);

	if (!keeper_name_ok(name))
		return err_set(err, -EINVAL, "not the name of a keeper");
	socket_address(&sa, name);
	limit_waiting(sock);
	if (connect(sock, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(err, "calling the keeper %s", name);
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 ||
	    (who.uid != 0 && who.uid != geteuid()))
		return err_set(err, -EPERM, "the keeper %s belongs to user %u", name, who.uid);
	if (send(sock, &want, 1, MSG_NOSIGNAL) != 1)
		return err_errno(err, "asking the keeper %s", name);
	return fd_take(&sock);
}

int keeper_take(const char *name, struct kept **kept, size_t *n, struct err *err)
{
	struct answer answer;
	scoped_fd sock = ask(name, WANT_ALL, err);
	struct kept *got;

	if (sock < 0)
		return sock;
	if (recv(sock, &answer, sizeof(answer), MSG_WAITALL) != (ssize_t)sizeof(answer) ||
	    answer.n > KEEPER_MAX)
		return err_set(err, -EBADMSG, "the keeper %s does not answer", name);
	fds_make_room();
	got = xcalloc(answer.n, sizeof(*got));
	for (size_t i = 0; i < answer.n; i++) {
		if (receive_one(sock, &got[i]) == 0)
			continue;
		while (i-- > 0)
			close(got[i].fd);
		free(got);
		return err_set(err, -EBADMSG, "the keeper %s broke off", name);
	}
	*kept = got;
	*n = answer.n;
	return 0;
}

void keeper_end(const char *name)
{
	scoped_fd sock = ask(name, WANT_END, NULL);
	char c;

	if (sock >= 0)
		(void)!recv(sock, &c, 1, 0);
}
