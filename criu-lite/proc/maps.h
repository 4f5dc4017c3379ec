/*
 * maps - /proc/PID/maps, the list of VMAs (proc_pid_maps(5)).
 *
 * The list is in address order and without overlaps. [vsyscall], which lies
 * above the task's own addresses, is in it where the kernel shows it.
 */
#ifndef PROC_MAPS_H
#define PROC_MAPS_H

#include "criu-lite/proc/proc.h"

struct proc_vma {
	uint64_t start, end;
	uint32_t prot; /* PROT_READ | PROT_WRITE | PROT_EXEC */
	bool shared;   /* 's'; else private */
	uint64_t pgoff_bytes;
	unsigned int maj, min;
	uint64_t ino;
	/*
	 * NULL for anonymous memory; "[heap]", "[stack]", "[anon:name]" and the
	 * like; else a path. The kernel writes a newline in it as \012 and leaves
	 * every other byte (a backslash too) as it is, so a file whose name holds
	 * the four characters "\012" cannot be told from one with a newline:
	 * map_files/START-END links do not have this doubt. " (deleted)" at the
	 * end is left in place for the same reason.
	 */
	char *path;
};

/*
 * Both return the array and all paths in one block: free(*v). A running task
 * may change its list between two reads of the file; proc_maps_read notices
 * overlaps, reads again, and gives up with -EAGAIN when it never settles.
 */
int proc_maps_read(const struct proc_dir *dir, struct proc_vma **v, size_t *n, struct err *err);
int proc_maps_parse(const char *buf, size_t len, struct proc_vma **v, size_t *n, struct err *err);
/* More than @n of them? Reads no more than it takes to tell; false when it cannot be read. */
bool proc_maps_exceed(const struct proc_dir *dir, size_t n);

/*
 * One line without its newline. out->path is set to NULL; the name as it stands
 * in the line, escapes and all, is @path, @path_len (length 0: none). Returns 0 or
 * -EINVAL.
 */
int maps_line_parse(const char *line, size_t len, struct proc_vma *out, const char **path,
		    size_t *path_len);

/* The index of the VMA that holds @addr in a list from above, or -1. */
ssize_t proc_vma_find(const struct proc_vma *v, size_t n, uint64_t addr);

#endif
