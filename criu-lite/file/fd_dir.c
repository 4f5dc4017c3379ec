/* fd_dir.c - open directories and how far they were read. */
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/outside.h"

static bool dir_match(const struct fd_look *l)
{
	return S_ISDIR(l->st.st_mode);
}

static int dir_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
{
	int rc;

	if (outside_reg(s, l, e->reg))
		return 0;
	rc = file_path_check(l->link, &l->st, (uint64_t)l->info->mnt_id, err);
	if (!rc)
		file_reg_fill(e->reg, l->link, &l->st, l->info->pos);
	return rc;
}

/* In the images they are regular files: fd_reg.c opens them. */
const struct file_kind fd_dir = {
	.name = "directory",
	.type = FD_TYPES__REG,
	.match = dir_match,
	.save = dir_save,
};
