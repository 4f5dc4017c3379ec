/*
 * criu-features - what `check --feature NAME` asks of the kernel: a probe for each name of criu 4.2.
 */
#ifndef CMD_CRIU_FEATURES_H
#define CMD_CRIU_FEATURES_H

#include <stdbool.h>

enum criu_need {
	NEED_ALWAYS, /* by every dump or restore of ours */
	NEED_SOME,   /* for some trees or for speed */
	NEED_NEVER,  /* by criu alone; probed for scripts that ask */
};

struct criu_feature {
	const char *name;
	enum criu_need need;
	bool (*probe)(void);
};

extern const struct criu_feature criu_features[]; /* ends with .name NULL */

const struct criu_feature *criu_feature_find(const char *name);

#endif
