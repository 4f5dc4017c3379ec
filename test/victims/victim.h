/*
 * victim - programs in a known state, to be checkpointed.
 *
 *   victim NAME DIR [KEY=VALUE...]
 *
 * A victim is one function: it builds its state, calls ready(), and checks
 * itself when that returns. Meanwhile it may have been frozen, copied, killed
 * and restored; it must not be able to tell. It exits 0 when all is as it was,
 * 1 when not (and says what), 77 when this machine cannot have the state.
 *
 * Everything outside a victim talks to it through files in DIR: `ready` with
 * the pid of its root, `go` to let it check itself.
 *
 * To add one: a VICTIM function in the file of its group and a row in `table`.
 */
#ifndef TEST_VICTIM_H
#define TEST_VICTIM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct victim {
	const char *name;
	void (*run)(void);
};

/* Names in the table are written with '-' where the function has '_'. */
#define VICTIM(ident)                                                                              \
	static void victim_##ident(void);                                                          \
	static const struct victim row_##ident                                                     \
		__attribute__((section("victims"), used)) = { #ident, victim_##ident };            \
	static void victim_##ident(void)

/* Say what is wrong and exit 1; the first form adds errno's text. */
void fail_errno(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* This machine cannot have the state: exit 77. */
void cannot(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail(__VA_ARGS__);                                                         \
	} while (0)

/* A call that returns -1 and sets errno must succeed; gives its value. One may stand inside another. */
#define SYS(call)	      SYS_NUMBERED(call, __COUNTER__)
#define SYS_NUMBERED(call, n) SYS_AS(call, n)
#define SYS_AS(call, n)                                                                            \
	({                                                                                         \
		__auto_type sys_result_##n = (call);                                               \
		if (sys_result_##n == (__typeof__(sys_result_##n))-1)                              \
			fail_errno("%s", #call);                                                   \
		sys_result_##n;                                                                    \
	})

/* The value of KEY on the command line, or @otherwise. */
long param(const char *key, long otherwise);
const char *param_text(const char *key, const char *otherwise);

/*
 * The state is complete: tell the world, and return when told to go on. Only
 * the root calls it. Between the two the own mappings must not change; this is
 * checked unless maps_may_change() was called before.
 */
void ready(void);
void maps_may_change(void);
/* The two halves of ready(), for other tasks of the tree and for what happens in between. */
void announce(void);
void wait_go(void);
bool told_to_go(void);

/* Marks are files in DIR by which the tasks of a tree wait for each other. */
void mark(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void wait_mark(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool has_mark(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A path in DIR; the result is allocated and never freed. */
char *in_dir(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* DIR is seen under another path from now on (after a chroot). */
void dir_moved(const char *path);
/* For tests of refusal: what the message must hold besides the pid. */
void expect_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Fork; the child runs @fn, which ends in exit(0) by returning. child() returns
 * when it has called child_ready(). join() waits and fails unless it exited 0.
 */
pid_t child(void (*fn)(void *), void *arg);
void child_ready(void);
void join(pid_t pid);

/* Call @cond until it is true or 20 s are over, then fail with the text. */
#define WAIT_FOR(cond, ...)                                                                        \
	do {                                                                                       \
		for (int wait_i = 0; !(cond); wait_i++) {                                          \
			if (wait_i > 4000)                                                         \
				fail(__VA_ARGS__);                                                 \
			nap();                                                                     \
		}                                                                                  \
	} while (0)
void nap(void); /* 5 ms, to the end whatever interrupts it */

/* Wait until thread @tid of this task (or task @tid) sleeps in system call @nr. */
void wait_asleep(pid_t tid, long nr);

/* A text file, whole, without moving the heap: a static buffer of its own per @slot. */
enum { TEXT_A, TEXT_B, TEXT_C, TEXT_SLOTS };
char *file_text(int slot, const char *path);
/* Copy of the lines of @path that begin with one of @keys (separated by '|'). */
char *file_lines(int slot, const char *path, const char *keys);

/* Known content: the byte stream that belongs to @seed. */
void fill(void *at, size_t n, uint64_t seed);
/* The first offset where content is not what fill() wrote, or -1. */
long differs(const void *at, size_t n, uint64_t seed);
uint64_t checksum(uint64_t sum, const void *at, size_t n);

/* Private, anonymous, readable and writable, or the victim fails. */
void *map_anon(size_t n);
/* A file in DIR with @n bytes of fill(@seed); open for reading and writing. */
int make_file(const char *name, size_t n, uint64_t seed);

enum { PAGE = 4096 };

#endif
