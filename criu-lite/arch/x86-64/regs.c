/* regs.c - general registers: reading, setting up, settling interrupted calls. */
#include "criu-lite/arch/x86-64/regs.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#define USER64_CS	   0x33
#define X32_SYSCALL_BIT	   0x40000000
#define USER_SS		   0x2b
#define EFLAGS_PLAIN	   0x202 /* interrupts on, bit 1 as always */
#define SYSCALL_INSN_LEN   2
#define NR_restart_syscall 219

/* linux/errno.h: codes that never reach user space */
enum {
	ERESTARTSYS = 512,
	ERESTARTNOINTR = 513,
	ERESTARTNOHAND = 514,
	ERESTART_RESTARTBLOCK = 516,
};

/*
 * Calls that come back with plain -EINTR when a stop wakes them and that have
 * done nothing yet. Not close(2): its descriptor is gone by then. Not ioctl(2):
 * what a driver meant by EINTR is not known. Sockets give EINTR instead of a
 * restart code when a timeout is set on them. io_uring_enter gives the number of what it
 * has submitted, if it has.
 */
static const uint16_t eintr_calls[] = {
	SYS_epoll_wait,
	SYS_epoll_pwait,
	441 /* epoll_pwait2 */,
	SYS_semop,
	SYS_semtimedop,
	SYS_rt_sigtimedwait,
	SYS_io_getevents,
	SYS_io_pgetevents,
	SYS_recvfrom,
	SYS_recvmsg,
	SYS_recvmmsg,
	SYS_sendto,
	SYS_sendmsg,
	SYS_sendmmsg,
	SYS_accept,
	SYS_accept4,
	SYS_connect,
	SYS_read,
	SYS_readv,
	SYS_write,
	SYS_writev,
	SYS_sendfile,
	SYS_splice,
	SYS_fallocate,
	426 /* io_uring_enter */,
};

int regs_get(pid_t tid, struct regs *regs, struct err *err)
{
	if (ptrace(PTRACE_GETREGS, tid, NULL, &regs->user) < 0)
		return err_errno(err, "reading the registers of thread %d", tid);
	return 0;
}

int regs_set(pid_t tid, const struct regs *regs, struct err *err)
{
	if (ptrace(PTRACE_SETREGS, tid, NULL, &regs->user) < 0)
		return err_errno(err, "setting the registers of thread %d", tid);
	return 0;
}

int regs_set_ip(pid_t tid, uint64_t ip, struct err *err)
{
	if (ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, rip), ip) < 0)
		return err_errno(err, "setting the instruction pointer of thread %d", tid);
	return 0;
}

bool regs_in_call(const struct regs *regs)
{
	return (int64_t)regs->user.orig_rax >= 0;
}

bool regs_native(const struct regs *regs)
{
	if (regs->user.cs != USER64_CS)
		return false;
	return !regs_in_call(regs) || !(regs->user.orig_rax & X32_SYSCALL_BIT);
}

static bool comes_back_with_eintr(uint64_t nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(eintr_calls); i++)
		if (eintr_calls[i] == nr)
			return true;
	return false;
}

static bool plain_eintr(const struct regs *regs)
{
	return regs_in_call(regs) && regs_result(regs) == -EINTR &&
	       comes_back_with_eintr(regs->user.orig_rax);
}

static bool restart_code(const struct regs *regs)
{
	int64_t rax = regs_result(regs);

	return regs_in_call(regs) &&
	       (rax == -ERESTARTSYS || rax == -ERESTARTNOINTR || rax == -ERESTARTNOHAND);
}

static bool restart_block(const struct regs *regs)
{
	return regs_in_call(regs) && regs_result(regs) == -ERESTART_RESTARTBLOCK;
}

bool regs_interrupted(const struct regs *regs)
{
	return plain_eintr(regs) || restart_code(regs) || restart_block(regs);
}

bool syscall_timeout_in_register(int64_t nr)
{
	return nr == SYS_epoll_wait || nr == SYS_epoll_pwait;
}

static void shorten_timeout(struct regs *regs, uint64_t slept_ns)
{
	int32_t ms = (int32_t)regs->user.r10;
	uint64_t slept_ms = slept_ns / 1000000;

	if (!syscall_timeout_in_register((int64_t)regs->user.orig_rax) || ms <= 0)
		return;
	regs->user.r10 = slept_ms < (uint64_t)ms ? (uint64_t)ms - slept_ms : 0;
}

bool regs_resume(struct regs *regs, uint64_t slept_ns)
{
	if (!plain_eintr(regs))
		return false;
	shorten_timeout(regs, slept_ns);
	regs->user.rax = (uint64_t)-ERESTARTNOHAND;
	return true;
}

static void call_again(struct regs *regs, uint64_t nr)
{
	regs->user.rax = nr;
	regs->user.rip -= SYSCALL_INSN_LEN;
}

void regs_for_frame(struct regs *regs)
{
	if (restart_block(regs))
		call_again(regs, NR_restart_syscall);
	else if (restart_code(regs) || plain_eintr(regs))
		call_again(regs, regs->user.orig_rax);
}

/* The calls that have a restart block. */
static bool restarts_by_block(uint64_t nr)
{
	return nr == SYS_poll || nr == SYS_nanosleep || nr == SYS_clock_nanosleep ||
	       nr == SYS_futex;
}

enum { CODE_BEFORE = 48 }; /* bytes: more than the wrapper of a system call has */

/* `mov $NR,%eax` a few instructions before `syscall`, as compilers write it; 0: none. */
static uint64_t call_in_code(const struct user_regs_struct *u, regs_peek_fn *peek, void *arg)
{
	uint8_t before[CODE_BEFORE];

	if (peek(arg, u->rip - sizeof(before), before, sizeof(before)))
		return 0;
	for (size_t at = sizeof(before) - 4; at-- > 0;) {
		uint32_t nr;

		memcpy(&nr, before + at + 1, sizeof(nr));
		if (before[at] == 0xb8 && restarts_by_block(nr))
			return nr;
	}
	return 0;
}

static bool is_time(uint64_t addr, regs_peek_fn *peek, void *arg)
{
	struct {
		int64_t sec, nsec;
	} t;

	return !peek(arg, addr, &t, sizeof(t)) && t.sec >= 0 && t.nsec >= 0 && t.nsec < 1000000000;
}

/* Waiting, the word had the value that was expected; as a rule it still has. */
static bool is_futex(const struct user_regs_struct *u, regs_peek_fn *peek, void *arg)
{
	uint32_t word;

	return u->rsi < 1024 && !peek(arg, u->rdi, &word, sizeof(word)) &&
	       word == (uint32_t)u->rdx && is_time(u->r10, peek, arg);
}

/* clock_nanosleep's first argument is a clock, the others' is an address. */
static bool could_be(const struct user_regs_struct *u, uint64_t nr, regs_peek_fn *peek, void *arg)
{
	uint64_t word;

	switch (nr) {
	case SYS_clock_nanosleep:
		return u->rdi < 16 && u->rsi <= 1 && is_time(u->rdx, peek, arg);
	case SYS_futex:
		return is_futex(u, peek, arg);
	case SYS_nanosleep:
		return is_time(u->rdi, peek, arg) &&
		       (!u->rsi || !peek(arg, u->rsi, &word, sizeof(word)));
	default: /* poll */
		return u->rsi < 1u << 20 && (!u->rsi || !peek(arg, u->rdi, &word, sizeof(word)));
	}
}

bool regs_name_call(struct regs *regs, regs_peek_fn *peek, void *arg)
{
	/* Those first whose arguments few others have. */
	static const uint64_t calls[] = { SYS_clock_nanosleep, SYS_futex, SYS_nanosleep, SYS_poll };
	struct user_regs_struct *u = &regs->user;
	uint64_t nr;

	if (!restart_block(regs) || u->orig_rax != NR_restart_syscall)
		return true;
	nr = call_in_code(u, peek, arg);
	if (nr && could_be(u, nr, peek, arg)) {
		u->orig_rax = nr;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (!could_be(u, calls[i], peek, arg))
			continue;
		u->orig_rax = calls[i];
		return true;
	}
	return false;
}

void regs_for_image(struct regs *regs)
{
	/* There is nothing that a restart could begin again with. */
	if (restart_block(regs) && regs->user.orig_rax == NR_restart_syscall)
		regs->user.rax = (uint64_t)-EINTR;
	else if (regs_interrupted(regs))
		call_again(regs, regs->user.orig_rax);
}

void regs_blank(struct regs *regs)
{
	*regs = (struct regs) { .user = { .cs = USER64_CS, .ss = USER_SS } };
}

void regs_run_at(struct regs *regs, const struct regs *old, uint64_t ip, uint64_t slice,
		 uint64_t sp)
{
	*regs = *old;
	regs->user.rip = ip;
	regs->user.rbx = slice;
	regs->user.rsp = sp;
	regs->user.orig_rax = (uint64_t)-1;
	regs->user.eflags = EFLAGS_PLAIN;
}

void regs_call(struct regs *regs, const struct regs *old, uint64_t gadget, uint64_t sp,
	       const uint64_t nr_args[7])
{
	regs_run_at(regs, old, gadget, 0, sp);
	regs->user.rax = nr_args[0];
	regs->user.rdi = nr_args[1];
	regs->user.rsi = nr_args[2];
	regs->user.rdx = nr_args[3];
	regs->user.r10 = nr_args[4];
	regs->user.r8 = nr_args[5];
	regs->user.r9 = nr_args[6];
}

void regs_park(struct regs *regs, const struct regs *old, uint64_t call, uint64_t sigreturn,
	       uint64_t slice, uint64_t sp)
{
	regs_run_at(regs, old, call, slice, sp);
	regs->user.rax = sigreturn;
}

void regs_sigreturn(struct regs *regs, const struct regs *old, uint64_t sigreturn, uint64_t sp)
{
	regs_run_at(regs, old, sigreturn, 0, sp);
	regs->user.rax = SYS_rt_sigreturn;
}

/* Where message and kernel call a register by different names. */
#define EACH_REGISTER(X)                                                                           \
	X(r15, r15)                                                                                \
	X(r14, r14)                                                                                \
	X(r13, r13)                                                                                \
	X(r12, r12)                                                                                \
	X(bp, rbp)                                                                                 \
	X(bx, rbx)                                                                                 \
	X(r11, r11)                                                                                \
	X(r10, r10)                                                                                \
	X(r9, r9)                                                                                  \
	X(r8, r8)                                                                                  \
	X(ax, rax)                                                                                 \
	X(cx, rcx)                                                                                 \
	X(dx, rdx)                                                                                 \
	X(si, rsi)                                                                                 \
	X(di, rdi)                                                                                 \
	X(orig_ax, orig_rax)                                                                       \
	X(ip, rip)                                                                                 \
	X(cs, cs)                                                                                  \
	X(flags, eflags)                                                                           \
	X(sp, rsp)                                                                                 \
	X(ss, ss)                                                                                  \
	X(fs_base, fs_base)                                                                        \
	X(gs_base, gs_base)                                                                        \
	X(ds, ds)                                                                                  \
	X(es, es)                                                                                  \
	X(fs, fs)                                                                                  \
	X(gs, gs)

void regs_to_entry(const struct regs *regs, UserX86RegsEntry *entry)
{
#define TO(e, u) entry->e = regs->user.u;
	EACH_REGISTER(TO)
#undef TO
	entry->has_mode = true;
	entry->mode = USER_X86_REGS_MODE__NATIVE;
}

void regs_from_entry(struct regs *regs, const UserX86RegsEntry *entry)
{
#define FROM(e, u) regs->user.u = entry->e;
	EACH_REGISTER(FROM)
#undef FROM
}
