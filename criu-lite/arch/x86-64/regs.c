/* regs.c - general registers: reading, setting up, settling interrupted calls. */
#include "criu-lite/arch/x86-64/regs.h"
#include "base/mem.h"

#include <errno.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#define USER64_CS	   0x33
#define X32_SYSCALL_BIT	   0x40000000
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
 * restart code when a timeout is set on them.
 */
static const uint16_t eintr_calls[] = {
	SYS_epoll_wait,	  SYS_epoll_pwait,   441 /* epoll_pwait2 */,
	SYS_semop,	  SYS_semtimedop,    SYS_rt_sigtimedwait,
	SYS_io_getevents, SYS_io_pgetevents, SYS_recvfrom,
	SYS_recvmsg,	  SYS_recvmmsg,	     SYS_sendto,
	SYS_sendmsg,	  SYS_sendmmsg,	     SYS_accept,
	SYS_accept4,	  SYS_connect,	     SYS_read,
	SYS_readv,	  SYS_write,	     SYS_writev,
	SYS_sendfile,	  SYS_splice,	     SYS_fallocate,
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

void regs_for_image(struct regs *regs)
{
	if (regs_interrupted(regs))
		call_again(regs, regs->user.orig_rax);
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
	       uint64_t sp)
{
	regs_run_at(regs, old, call, 0, sp);
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
