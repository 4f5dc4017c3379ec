/* fd_chardev.c - character devices that keep nothing: opening them again is enough. */
#include "base/mem.h"
#include "criu-lite/file/kinds.h"
#include "criu-lite/file/outside.h"

#include <sys/sysmacros.h>

/* Documentation/admin-guide/devices.txt of the kernel, character major 1. */
static const struct {
	unsigned major, minor;
} harmless[] = {
	{ 1, 3 }, /* null */
	{ 1, 5 }, /* zero */
	{ 1, 7 }, /* full */
	{ 1, 8 }, /* random */
	{ 1, 9 }, /* urandom */
};

bool file_chardev_known(const struct stat *st)
{
	if (!S_ISCHR(st->st_mode))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
		if (st->st_rdev == makedev(harmless[i].major, harmless[i].minor))
			return true;
	return false;
}

static bool chardev_match(const struct fd_look *l)
{
	return file_chardev_known(&l->st);
}

static int chardev_save(struct file_save *s, const struct fd_look *l, FileEntry *e, struct err *err)
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
const struct file_kind fd_chardev = {
	.name = "character device",
	.type = FD_TYPES__REG,
	.match = chardev_match,
	.save = chardev_save,
};
