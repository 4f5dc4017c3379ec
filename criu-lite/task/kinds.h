/* kinds - the kinds by name, for the table and for tests of one of them. */
#ifndef TASK_KINDS_H
#define TASK_KINDS_H

#include "criu-lite/task/kind.h"

extern const struct task_kind kind_core;
extern const struct task_kind kind_mm;
extern const struct task_kind kind_namespaces;
extern const struct task_kind kind_clocks;
extern const struct task_kind kind_unsupported;
extern const struct task_kind kind_terminal;
extern const struct task_kind kind_sem_undo;
extern const struct task_kind kind_xcomp;
extern const struct task_kind kind_regs;
extern const struct task_kind kind_sigmask;
extern const struct task_kind kind_pending;
extern const struct task_kind kind_sigaction;
extern const struct task_kind kind_sas;
extern const struct task_kind kind_comm;
extern const struct task_kind kind_robust;
extern const struct task_kind kind_rseq;
extern const struct task_kind kind_itimers;
extern const struct task_kind kind_posix_timers;
extern const struct task_kind kind_limits_room;
extern const struct task_kind kind_rlimits;
extern const struct task_kind kind_creds;
extern const struct task_kind kind_seccomp;
extern const struct task_kind kind_sched;
extern const struct task_kind kind_pdeathsig;
extern const struct task_kind kind_dumpable;
extern const struct task_kind kind_subreaper;
extern const struct task_kind kind_personality;
extern const struct task_kind kind_oom;
extern const struct task_kind kind_loginuid;
extern const struct task_kind kind_coredump_filter;
extern const struct task_kind kind_io_prio;
extern const struct task_kind kind_io_flusher;
extern const struct task_kind kind_keyrings;
extern const struct task_kind kind_rings;
extern const struct task_kind kind_ldt;
extern const struct task_kind kind_tracees;
extern const struct task_kind kind_protection_keys;
extern const struct task_kind kind_landlock;
extern const struct task_kind kind_mempolicy;
extern const struct task_kind kind_autogroup;
extern const struct task_kind kind_membarrier;
extern const struct task_kind kind_prctl_thread;
extern const struct task_kind kind_prctl_early;
extern const struct task_kind kind_prctl_late;

#endif
