/*
 * arm - make the next dump of a restored tree an increment on what was restored.
 *
 * A restore does not fail for the tracker's sake: what cannot be armed is said,
 * and the next dump is full.
 */
#ifndef RESTORE_ARM_H
#define RESTORE_ARM_H

#include "criu-lite/restore/load.h"
#include "criu-lite/restore/newborn.h"
#include "criu-lite/track/track.h"

struct arming {
	struct track *track; /* NULL: nothing is armed */
	void (*say)(const char *line);
};

/* Memory is as it will be and all frames are in their pages: mark everything clean. */
void arm_tree(struct arming *a, const struct loaded *l, struct nursery *h);
/* The tree runs (@alive), or is gone: hand over to the keeper and record, or forget. */
void arm_close(struct arming *a, struct tree *tree, bool alive);

#endif
