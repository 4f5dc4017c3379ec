/* tree.h - what the tree of tree.c says about itself. */
#ifndef TEST_RESTORE_TREE_H
#define TEST_RESTORE_TREE_H

#include <sys/types.h>

enum { ROOT, ROOT_THREAD, ROOT_THREAD2, CHILD, CHILD_THREAD, GRANDCHILD, STOPPED, TREE_THREADS };

struct tree_thread {
	volatile unsigned long beats;
	volatile int wrong;
	volatile pid_t pid, tid, pgid, sid;
};

struct tree_file {
	struct tree_thread thread[TREE_THREADS];
	volatile pid_t zombie;
};

#endif
