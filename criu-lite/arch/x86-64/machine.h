/*
 * machine - what a checkpoint asks of the machine that restores it: instructions,
 * processor state components (XCR0), the kernel's vdso, boot and release.
 */
#ifndef ARCH_MACHINE_H
#define ARCH_MACHINE_H

#include "base/err.h"
#include "proto/criu-lite.pb-c.h"

#include <stdint.h>

/*
 * Fill boot_id, kernel_release, machine, xfeatures, xsave_size, cpu_features, vdso_size,
 * vdso_hash of @c.
 */
int machine_describe(SdCheckpoint *c, struct err *err);

/*
 * Can what was saved there go on here? ERR_REFUSED names all that differs: each
 * processor feature, and the vdso with the two kernels. Fields that are absent
 * are not compared.
 */
int machine_check(const SdCheckpoint *c, struct err *err);

/* vvar and vdso of this very program, in maps order. */
struct vdso_piece {
	uint64_t start, len, offset; /* from the start of the whole */
};
struct vdso {
	struct vdso_piece piece[8], *code; /* NULL: this kernel maps none */
	size_t n;
	uint64_t len; /* of the whole */
};
/* @v points into itself: it must stay where it is. */
int machine_vdso(struct vdso *v, struct err *err);

#endif
