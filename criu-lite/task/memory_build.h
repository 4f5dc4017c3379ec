/* memory_build - what the files that rebuild memory share. Internal to this room. */
#ifndef TASK_MEMORY_BUILD_H
#define TASK_MEMORY_BUILD_H

#include "criu-lite/task/memory_vma.h"

struct memory_build {
	struct chain_links links; /* the checkpoint restored and its parents */
};

#endif
