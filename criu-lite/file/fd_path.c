/* fd_path.c - O_PATH descriptors, which stand for a place and can be had of anything. */
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/state.h"

#include <fcntl.h>

static bool path_match(const struct fd_look *l)
{
	return l->info->flags & O_PATH;
}

static int path_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
{
	int rc = file_path_check(l->link, &l->st, (uint64_t)l->info->mnt_id, err);

	if (!rc)
		file_reg_fill(e->reg, l->link, &l->st, 0);
	return rc;
}

/* In the images they are regular files: fd_reg.c opens them. */
const struct file_kind fd_path = {
	.name = "O_PATH descriptor",
	.type = FD_TYPES__REG,
	.match = path_match,
	.save = path_save,
};
