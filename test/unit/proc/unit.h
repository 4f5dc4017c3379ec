/* unit - what the tests of this room share: cmocka, and recorded trees by name. */
#ifndef TEST_UNIT_PROC_H
#define TEST_UNIT_PROC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "criu-lite/proc/proc.h"

/* The recordings in test/recorded, by what they are of. */
#define BASH		     "bash", 10850
#define GO		     "go", 10844
#define LEAD_GONE	     "lead-gone", 10842
#define ODD		     "odd", 10841
#define PYTHON		     "python", 10843
#define ZOMBIE		     "zombie", 10859

#define PARSE(fn, text, ...) fn(text, strlen(text), __VA_ARGS__)

/* Tests run at the top of the source tree. */
static inline struct proc_dir *recorded(const char *name, pid_t pid)
{
	scoped char *root = xasprintf("test/recorded/%s", name);
	struct proc_dir *dir = NULL;
	struct err err = {};

	if (proc_open(&dir, root, pid, &err) < 0)
		fail_msg("%s", err.text);
	return dir;
}

#endif
