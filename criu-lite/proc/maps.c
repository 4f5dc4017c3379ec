/* maps.c - /proc/PID/maps: one pass over one buffer, so that 60,000 VMAs take milliseconds. */
#include "criu-lite/proc/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "criu-lite/proc/text.h"

/* How often a list that changes under the reader is read again. */
#define MAPS_TRIES 10

static bool take_perms(struct text *t, struct proc_vma *out)
{
	const char *p = t->p;

	if (text_len(t) < 4)
		return false;
	if ((p[0] != 'r' && p[0] != '-') || (p[1] != 'w' && p[1] != '-') ||
	    (p[2] != 'x' && p[2] != '-') || (p[3] != 's' && p[3] != 'p'))
		return false;
	out->prot = (p[0] == 'r' ? PROT_READ : 0) | (p[1] == 'w' ? PROT_WRITE : 0) |
		    (p[2] == 'x' ? PROT_EXEC : 0);
	out->shared = p[3] == 's';
	t->p += 4;
	return true;
}

int maps_line_parse(const char *line, size_t len, struct proc_vma *out, const char **path,
		    size_t *path_len)
{
	struct text t = text_of(line, len);
	struct proc_vma v = {};

	if (!text_hex(&t, &v.start) || !text_char(&t, '-') || !text_hex(&t, &v.end) ||
	    !text_char(&t, ' ') || !take_perms(&t, &v) || !text_char(&t, ' ') ||
	    !text_hex(&t, &v.pgoff_bytes) || !text_char(&t, ' ') || !text_hex32(&t, &v.maj) ||
	    !text_char(&t, ':') || !text_hex32(&t, &v.min) || !text_char(&t, ' ') ||
	    !text_dec(&t, &v.ino))
		return -EINVAL;
	if (v.start >= v.end)
		return -EINVAL;
	/* The kernel pads with blanks; names begin with '/' or '[' or, from a driver, a letter. */
	if (t.p < t.end && *t.p != ' ')
		return -EINVAL;
	text_blanks(&t);
	if (memchr(t.p, 0, text_len(&t)))
		return -EINVAL;
	*path = t.p;
	*path_len = text_len(&t);
	*out = v;
	return 0;
}

/* Copy a name with its newlines put back; returns the byte after its NUL. */
static char *copy_name(char *to, const char *from, size_t len)
{
	const char *end = from + len;

	while (from < end) {
		const char *esc = memchr(from, '\\', (size_t)(end - from));
		size_t plain = (size_t)((esc ? esc : end) - from);

		memcpy(to, from, plain);
		to += plain;
		from += plain;
		if (!esc)
			break;
		if (end - from >= 4 && !memcmp(from, "\\012", 4)) {
			*to++ = '\n';
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to++ = 0;
	return to;
}

static size_t count_lines(const char *buf, size_t len)
{
	const char *end = buf + len;
	size_t n = 1;

	while ((buf = memchr(buf, '\n', (size_t)(end - buf)))) {
		n++;
		buf++;
	}
	return n;
}

/* The block is the array, then the names: a name with its NUL is shorter than its line. */
int proc_maps_parse(const char *buf, size_t len, struct proc_vma **out, size_t *n, struct err *err)
{
	size_t lines = count_lines(buf, len), used = 0;
	scoped struct proc_vma *v = xmalloc(lines * sizeof(*v) + len + 1);
	char *names = (char *)(v + lines);
	struct text t = text_of(buf, len), line;

	while (text_line(&t, &line)) {
		struct proc_vma *vma = &v[used];
		const char *name;
		size_t name_len;

		if (maps_line_parse(line.p, text_len(&line), vma, &name, &name_len) < 0)
			return text_bad(err, "maps", &line);
		if (used && vma->start < vma[-1].end)
			return err_set(err, -EAGAIN,
				       "maps: %" PRIx64 " overlaps or precedes the line before",
				       vma->start);
		if (name_len) {
			vma->path = names;
			names = copy_name(names, name, name_len);
		}
		used++;
	}
	*out = v;
	*n = used;
	v = NULL;
	return 0;
}

int proc_maps_read(const struct proc_dir *dir, struct proc_vma **v, size_t *n, struct err *err)
{
	int rc = -EAGAIN;

	for (int i = 0; i < MAPS_TRIES && rc == -EAGAIN; i++) {
		scoped char *buf = NULL;
		size_t len;

		rc = proc_read(dir, "maps", &buf, &len, err);
		if (rc < 0)
			return rc;
		rc = proc_maps_parse(buf, len, v, n, err);
	}
	return rc;
}

bool proc_maps_exceed(const struct proc_dir *dir, size_t n)
{
	scoped_fd fd = proc_openat(dir, "maps", O_RDONLY);
	char piece[4096];
	size_t lines = 0;
	ssize_t got;

	while (fd >= 0 && lines <= n && (got = read(fd, piece, sizeof(piece))) > 0)
		lines += count_lines(piece, (size_t)got) - 1;
	return lines > n;
}

ssize_t proc_vma_find(const struct proc_vma *v, size_t n, uint64_t addr)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (v[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n && v[low].start <= addr ? (ssize_t)low : -1;
}
