/*
 * vdso - the kernel's code and data in every task, where the task had it.
 *
 * The newborns' is the tool's own. It is moved to a parking place before their
 * memory goes and to its old address afterwards; that works for the same vdso only,
 * laid out in the same way.
 */
#ifndef RESTORE_VDSO_H
#define RESTORE_VDSO_H

#include "criu-lite/restore/load.h"
#include "criu-lite/restore/newborn.h"

/* Rows: from where it is in the tool to h->park. */
void vdso_park_rows(const struct nursery *h, struct plan *p);
/* From there to each task's old place. ERR_REFUSED: it is laid out otherwise. */
int vdso_place(struct nursery *h, struct err *err);
/*
 * What our own images say by a hash, those of other programs say by the pages
 * of the vdso: ERR_REFUSED when they are not this kernel's.
 */
int vdso_check(const struct nursery *h, const struct loaded *l, struct err *err);

#endif
