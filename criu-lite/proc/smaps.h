/*
 * smaps - /proc/PID/smaps: what maps does not say of a VMA (proc_pid_smaps(5)).
 *
 * Reading it walks the task's page tables: on a large task it costs
 * milliseconds, so do it before the freeze where that is good enough.
 */
#ifndef PROC_SMAPS_H
#define PROC_SMAPS_H

#include "criu-lite/proc/maps.h"

/* VmFlags, one bit a two-letter code. */
enum proc_vmflag {
	VMF_RD, /* readable */
	VMF_WR,
	VMF_EX,
	VMF_SH, /* shared */
	VMF_MR, /* may read */
	VMF_MW,
	VMF_ME,
	VMF_MS,
	VMF_GD,	     /* stack: grows down */
	VMF_PF,	     /* pure PFN range */
	VMF_LO,	     /* locked */
	VMF_LF,	     /* locked on fault */
	VMF_IO,	     /* memory mapped I/O */
	VMF_SR,	     /* MADV_SEQUENTIAL */
	VMF_RR,	     /* MADV_RANDOM */
	VMF_DC,	     /* MADV_DONTFORK */
	VMF_DE,	     /* mremap may not expand it */
	VMF_AC,	     /* accounted */
	VMF_NR,	     /* MAP_NORESERVE */
	VMF_HT,	     /* hugetlb */
	VMF_SF,	     /* MAP_SYNC */
	VMF_AR,	     /* architecture specific */
	VMF_WF,	     /* MADV_WIPEONFORK */
	VMF_DD,	     /* MADV_DONTDUMP */
	VMF_SD,	     /* soft-dirty */
	VMF_MM,	     /* mixed map */
	VMF_HG,	     /* MADV_HUGEPAGE */
	VMF_NH,	     /* MADV_NOHUGEPAGE */
	VMF_MG,	     /* MADV_MERGEABLE */
	VMF_BT,	     /* arm64: guarded branches */
	VMF_MT,	     /* arm64: memory tags */
	VMF_UM,	     /* userfaultfd: missing */
	VMF_UW,	     /* userfaultfd: write-protect */
	VMF_UI,	     /* userfaultfd: minor */
	VMF_SS,	     /* shadow stack */
	VMF_SL,	     /* mseal(2) */
	VMF_DP,	     /* MAP_DROPPABLE */
	VMF_GU,	     /* may hold guard pages */
	VMF_UNKNOWN, /* a code that is not in this list */
};

#define VMF_BIT(flag) (1ull << (flag))

struct proc_smap {
	uint64_t start, end;
	uint64_t flags; /* VMF_BIT()s; 0 when the kernel gave none */
	uint32_t pkey;	/* ProtectionKey, 0 where there is none */
};

/* In address order. free(*v). -EAGAIN: the list kept changing, as in maps.h. */
int proc_smaps_read(const struct proc_dir *dir, struct proc_smap **v, size_t *n, struct err *err);
int proc_smaps_parse(const char *buf, size_t len, struct proc_smap **v, size_t *n, struct err *err);

/*
 * The same, and what proc_maps_read would say: the file has all of it, VMA by VMA under the
 * same indexes. free() both.
 */
int proc_smaps_maps_read(const struct proc_dir *dir, struct proc_smap **v, struct proc_vma **vma,
			 size_t *n, struct err *err);

/* The advice that a VMA with these flags was given: bit N is set for madvise(2) number N. */
uint64_t proc_smap_madv(uint64_t flags);

#endif
