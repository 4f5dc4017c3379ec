/*
 * armed - the durable record of what a tracker is armed for (DIR/armed).
 *
 * "Arming for N+1" is written before the freeze, the tasks and their canaries
 * once N+1 is published. A tracker may call pages unwritten only when the
 * record is for the parent, from this boot, and knows the task by its start
 * time. A canary is a byte in a page of the leader's stack that nobody uses,
 * rewritten right after arming: when it is not reported written the next
 * time, somebody else has armed since, and writes are lost.
 */
#ifndef TRACK_ARMED_H
#define TRACK_ARMED_H

#include "criu-lite/track/tracker.h"

/*
 * Read the record; set t->armed, or say in @t why the dump is full. Then write "arming", and
 * replace the notes of the tasks that the record knows.
 */
int armed_open(struct track *t, struct err *err);
/* The frozen tree against the record: owner of the root's pid, notes, canaries. */
int armed_check(struct track *t, struct tree *tree, struct err *err);
/*
 * Before the freeze: may @task be armed now, its pages written since the parent
 * being told apart from the others? Then @canary is its canary, which stays as it is (0: it has none).
 */
bool armed_early(struct track *t, const struct task *task, uint64_t *canary);
/* Is @task, with this start time, one that the record's arming covered? */
bool armed_knows(const SdArmed *armed, const struct task *task);
/* What a record says of a task; NULL: nothing. */
SdArmedTask *armed_task(const SdArmed *armed, pid_t pid);
/*
 * @task is about to be armed, the root first: note it and its canary; 0: the first page of
 * our frames, if it is entered.
 */
int armed_note(struct track *t, const struct task *task, uint64_t canary, struct err *err);
/* What a tree is called in KEEPER_DIR, in this boot: pid namespace, root, start time. Caller frees. */
char *armed_tree_name(const struct task *root);
/* Rewrite the canaries of all that were noted. */
int armed_set_canaries(struct track *t, struct tree *tree, struct err *err);
/* The final record; or, when nothing is armed for this one, the one that was there: it vouches
 * for the last checkpoint again, as long as the notes are those that were left for this one. */
int armed_close(struct track *t, bool published, struct err *err);
void armed_release(struct track *t);

#endif
