/* seccomp.c - filters decide here as they do in the kernel. */
#include "criu-lite/remote/seccomp.h"
#include "base/mem.h"

#include <errno.h>
#include <linux/audit.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define NR	   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ARG0	   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args))
#define RET(k)	   BPF_STMT(BPF_RET | BPF_K, (k))
#define ALU(op, k) BPF_STMT(BPF_ALU | (op) | BPF_K, (k))

static const struct seccomp_data data = {
	.nr = 11,
	.arch = AUDIT_ARCH_X86_64,
	.args = { 0x1122334455667788 },
};

#define RUN(...)                                                                                   \
	({                                                                                         \
		const struct sock_filter f_[] = { __VA_ARGS__ };                                   \
		seccomp_run(f_, ARRAY_SIZE(f_), &data);                                            \
	})

static void jumps_by_number(void **state)
{
	const struct sock_filter deny[] = {
		NR,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 11, 0, 1),
		RET(SECCOMP_RET_ERRNO | 1),
		RET(SECCOMP_RET_ALLOW),
	};
	struct seccomp_data other = data;

	other.nr = 12;
	assert_int_equal(seccomp_run(deny, 4, &data), SECCOMP_RET_ERRNO | 1);
	assert_int_equal(seccomp_run(deny, 4, &other), SECCOMP_RET_ALLOW);
}

static void computes(void **state)
{
	assert_int_equal(RUN(ARG0, BPF_STMT(BPF_RET | BPF_A, 0)), 0x55667788);
	assert_int_equal(RUN(NR, ALU(BPF_ADD, 5), ALU(BPF_MUL, 3), BPF_STMT(BPF_RET | BPF_A, 0)),
			 48);
	assert_int_equal(RUN(NR, BPF_STMT(BPF_ST, 3), ALU(BPF_SUB, 11),
			     BPF_STMT(BPF_LDX | BPF_MEM, 3), BPF_STMT(BPF_ALU | BPF_OR | BPF_X, 0),
			     BPF_STMT(BPF_RET | BPF_A, 0)),
			 11);
	assert_int_equal(RUN(BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_STMT(BPF_MISC | BPF_TAX, 0),
			     BPF_STMT(BPF_LD | BPF_IMM, 1), BPF_STMT(BPF_MISC | BPF_TXA, 0),
			     BPF_STMT(BPF_RET | BPF_A, 0)),
			 sizeof(struct seccomp_data));
}

static void nonsense_is_forbidden(void **state)
{
	assert_int_equal(RUN(NR), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(RUN(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), RET(SECCOMP_RET_ALLOW)),
			 SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(RUN(BPF_STMT(BPF_ST, 16), RET(SECCOMP_RET_ALLOW)),
			 SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(RUN(BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), RET(SECCOMP_RET_ALLOW)),
			 SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(RUN(ALU(BPF_DIV, 0), RET(SECCOMP_RET_ALLOW)), SECCOMP_RET_KILL_PROCESS);
}

static void every_filter_must_allow(void **state)
{
	struct sock_filter yes[] = { RET(SECCOMP_RET_ALLOW) }, log[] = { RET(SECCOMP_RET_LOG) };
	struct sock_filter trap[] = { RET(SECCOMP_RET_TRAP) };
	struct seccomp_filter all[] = { { yes, 1, 0 }, { log, 1, 0 }, { trap, 1, 0 } };
	struct seccomp_filters filters = { .mode = SECCOMP_MODE_FILTER, .filter = all, .n = 2 };

	assert_true(seccomp_allows(&filters, &data));
	filters.n = 3;
	assert_false(seccomp_allows(&filters, &data));
	filters = (struct seccomp_filters) { .mode = SECCOMP_MODE_STRICT };
	assert_false(seccomp_allows(&filters, &data));
	filters = (struct seccomp_filters) {};
	assert_true(seccomp_allows(&filters, &data));
}

static const struct sock_filter older[] = { RET(SECCOMP_RET_ALLOW) };
static const struct sock_filter newer[] = { NR, RET(SECCOMP_RET_ALLOW) };

static pid_t filtered_child(bool filtered)
{
	const struct sock_fprog first = { 1, (struct sock_filter *)older };
	const struct sock_fprog second = { 2, (struct sock_filter *)newer };
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (filtered && (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &first) < 0 ||
				 prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &second) < 0))
			_exit(77);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	return pid;
}

static void reads_from_a_thread(void **state)
{
	struct seccomp_filters filters = {};
	struct err err = {};
	pid_t pid = filtered_child(true);

	assert_int_equal(seccomp_read(pid, &filters, &err), 0);
	assert_int_equal(filters.mode, SECCOMP_MODE_FILTER);
	assert_int_equal(filters.n, 2);
	assert_int_equal(filters.filter[0].n, 1);
	assert_memory_equal(filters.filter[0].insn, older, sizeof(older));
	assert_int_equal(filters.filter[1].n, 2);
	assert_memory_equal(filters.filter[1].insn, newer, sizeof(newer));
	seccomp_release(&filters);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void reads_that_there_is_none(void **state)
{
	struct seccomp_filters filters = {};
	struct err err = {};
	pid_t pid = filtered_child(false);

	assert_int_equal(seccomp_read(pid, &filters, &err), 0);
	assert_int_equal(filters.mode, SECCOMP_MODE_DISABLED);
	assert_int_equal(filters.n, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jumps_by_number),	 cmocka_unit_test(computes),
		cmocka_unit_test(nonsense_is_forbidden), cmocka_unit_test(every_filter_must_allow),
		cmocka_unit_test(reads_from_a_thread),	 cmocka_unit_test(reads_that_there_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
