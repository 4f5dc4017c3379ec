/*
 * track_keeper.c - any bytes from who calls the keeper, and any bytes from what
 * says it is one. Whatever was said, the true keeper answers the next caller,
 * and a caller is left without descriptors that it does not know of.
 */
#include "criu-lite/track/keeper.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char keeper[64], liar[64];
static int held[2];

static struct sockaddr_un address(const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), KEEPER_DIR "/%s", name);
	return sa;
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* --- callers that lie ----------------------------------------------------------- */

static void start_keeper(void)
{
	struct kept k = { .pid = getpid(), .start_time = 7, .fd = held[0] };

	k.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (keeper_start(keeper, &k, 1, NULL) < 0)
		abort();
	close(k.pidfd);
}

static int connected(void)
{
	struct sockaddr_un sa = address(keeper);
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(sock, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		abort(); /* it has ended */
	return sock;
}

/*
 * Its callers give up after some seconds, which on a busy machine says nothing: as long as it
 * is there it is asked again. One that never answers is a time-out of the fuzzer's.
 */
static void must_answer(void)
{
	struct kept *got = NULL;
	size_t n = 0;

	while (keeper_take(keeper, &got, &n, NULL) < 0)
		close(connected());
	if (n != 1 || got[0].start_time != 7)
		abort();
	close(got[0].fd);
	free(got);
}

static void call(const uint8_t *data, size_t size)
{
	int sock = connected();

	send(sock, data, size < 4096 ? size : 4096, MSG_NOSIGNAL);
	if (size && data[0] == 'e') { /* told to end: it has when it closes */
		char c;

		(void)!read(sock, &c, 1);
		close(sock);
		start_keeper();
		return;
	}
	close(sock);
	must_answer();
}

/* --- a keeper that lies ------------------------------------------------------------ */

struct answer {
	int sock;
	const uint8_t *data;
	size_t size;
};

/* With a descriptor beside each piece that an odd byte begins. */
static void send_piece(int sock, const uint8_t *piece, size_t n)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control = {};
	struct iovec iov = { (void *)piece, n };
	int fd[2] = { held[0], held[0] };
	size_t fds = piece[0] % 3 * sizeof(int);
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fds) {
		control.head = (struct cmsghdr) { CMSG_LEN(fds), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.head), fd, fds);
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fds);
	}
	sendmsg(sock, &msg, MSG_NOSIGNAL);
}

static void *lie(void *arg)
{
	const struct answer *a = arg;
	size_t at = 4 < a->size ? 4 : a->size;
	int sock = accept(a->sock, NULL, NULL);

	if (at)
		send(sock, a->data, at, MSG_NOSIGNAL);
	for (size_t n; at < a->size; at += n) {
		n = a->size - at < 16 ? a->size - at : 16;
		send_piece(sock, a->data + at, n);
	}
	close(sock);
	return NULL;
}

static void be_lied_to(const uint8_t *data, size_t size)
{
	static int sock = -1;
	struct sockaddr_un sa = address(liar);
	struct answer answer = { .data = data, .size = size < 4096 ? size : 4096 };
	struct kept *got = NULL;
	int before;
	pthread_t t;
	size_t n = 0;

	if (sock < 0) {
		sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (bind(sock, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(sock, 1) < 0)
			abort();
	}
	answer.sock = sock;
	before = descriptors();
	if (pthread_create(&t, NULL, lie, &answer))
		abort();
	if (!keeper_take(liar, &got, &n, NULL)) {
		while (n)
			close(got[--n].fd);
		free(got);
	}
	pthread_join(t, NULL);
	if (descriptors() != before)
		abort();
}

static void end(void)
{
	struct sockaddr_un sa = address(liar);

	keeper_end(keeper);
	unlink(sa.sun_path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!*keeper) {
		snprintf(keeper, sizeof(keeper), "fuzz-keeper-%d", getpid());
		snprintf(liar, sizeof(liar), "fuzz-liar-%d", getpid());
		mkdir(KEEPER_DIR, 0700);
		if (pipe(held) < 0)
			abort();
		start_keeper();
		atexit(end);
	}
	if (size && data[0] % 2)
		call(data + 1, size - 1);
	else if (size)
		be_lied_to(data + 1, size - 1);
	return 0;
}
