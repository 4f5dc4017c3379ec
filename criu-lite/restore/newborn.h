/*
 * newborn - threads that are being built: held by ptrace, walking plans.
 *
 * A newborn lives from its clone to the gate, executing the restore runner in
 * its slice of scratch and nothing else. It needs no stop to be given a plan;
 * the stops that come all the same are judged by what they are. Whatever
 * happens to the tool, PTRACE_O_EXITKILL takes them along.
 *
 * Functions return 0 or a negative errno and fill @err.
 */
#ifndef RESTORE_NEWBORN_H
#define RESTORE_NEWBORN_H

#include "criu-lite/arch/x86-64/machine.h"
#include "criu-lite/arch/x86-64/runner-restore.h"
#include "criu-lite/remote/batch.h"
#include "criu-lite/remote/tree.h"
#include "criu-lite/restore/births.h"

#include <signal.h>

struct newborn {
	pid_t tid;
	struct thread *thread; /* NULL: a helper */
	struct birth *birth;   /* of a leader or helper */
	struct nursery *home;
	struct newborn_slice *slice; /* at the same address in the tool and in it */
	struct batch batch;	     /* made by newborn_batch */
	bool alive;		     /* cloned and not known to be gone */
	bool held;		     /* in a ptrace stop */
	bool filtered;		     /* seccomp filters will judge it */
	bool leaving;		     /* past the gate, on the way out of scratch */
	int out;		     /* 1: it is what it was; negative: it cannot be helped */
	bool owes_stop;		     /* a SIGSTOP from outside that was kept from it */
	int status;		     /* wait status once gone */
	uint64_t ip, sp;	     /* where its frame takes it */
	uint64_t frames, frames_len; /* a leader's, in its stack */
};

struct nursery {
	struct tree *tree;
	bool sibling; /* the root is to be one of ours, not our child */
	struct births births;
	struct newborn *newborn; /* leaders and helpers in order of birth, then the other threads */
	size_t n;

	uint64_t start, end; /* scratch: code, then slices */
	uint64_t park;	     /* the vdso's place meanwhile; behind scratch */
	struct vdso vdso;    /* the tool's own */

	int gate[2]; /* [1] stays in the tool */
	int busy_fd; /* in newborns: the gate; one higher the tool's pidfd */
};

/* The runner's address. */
uint64_t nursery_code(const struct nursery *h);
struct newborn *newborn_of(const struct nursery *h, const struct thread *t);
struct newborn *newborn_leader(const struct task *t, const struct nursery *h);

/*
 * A newborn of clone3(CLONE_PTRACE) or one just seized: wait for its first stop. It stays in
 * that, with the registers of one that looks for a plan, until it is given one.
 */
int newborn_adopt(struct newborn *n, struct err *err);
/* Give one that is held those registers (anew): whatever call it was in is forgotten. */
int newborn_at_runner(struct newborn *n, struct err *err);

/* Its plan, made at the first call; batch_run and batch_flush work on it. */
struct batch *newborn_batch(struct newborn *n);
/*
 * Hand a plan over and wait for it; what it does is judged by the caller. One that is held is let
 * go; if it cannot be, newborn_finish tries once more and says why not.
 */
void newborn_start(struct newborn *n, const struct plan *p);
int newborn_finish(struct newborn *n, struct plan *p, struct err *err);
int newborn_run(struct newborn *n, struct plan *p, struct err *err);
/* Run, judge and empty its batch. */
int newborn_flush(struct newborn *n, struct err *err);
/* Run, judge and empty all plans that hold anything; all start before the first is waited for. */
int nursery_flush(struct nursery *h, struct err *err);

/* Between two steps, when all plans are empty: give their memory back. */
void nursery_forget_plans(struct nursery *h);

/* Hold it in a stop; let it go on. */
void newborn_interrupt(struct newborn *n);
int newborn_hold(struct newborn *n, struct err *err);
int newborn_go(struct newborn *n, struct err *err);
/*
 * The next stop as waitpid gives it, -ESRCH when it ended: .status says how. It takes
 * microseconds; -ETIMEDOUT after ten seconds.
 */
int newborn_wait(struct newborn *n, int *status, struct err *err);
/* The same without taking it: what is peeked at has still to be waited for. */
int newborn_peek(const struct newborn *n, siginfo_t *info, struct err *err);

/* Kill whatever lives and wait until it is gone. */
void nursery_kill(struct nursery *h);

#endif
