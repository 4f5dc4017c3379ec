/* maps.c - maps and smaps, on recorded tasks and on lines that the kernel never wrote. */
#include "test/unit/proc/unit.h"

#include <sys/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "criu-lite/proc/maps.h"
#include "criu-lite/proc/smaps.h"

static void line(void **state)
{
	static const char text[] =
		"7f99b0823000-7f99b0824000 rw-s 00001000 fe:0a 10952883                   /a b";
	struct proc_vma v;
	const char *path;
	size_t len;

	assert_int_equal(maps_line_parse(text, strlen(text), &v, &path, &len), 0);
	assert_int_equal(v.start, 0x7f99b0823000);
	assert_int_equal(v.end, 0x7f99b0824000);
	assert_int_equal(v.prot, PROT_READ | PROT_WRITE);
	assert_true(v.shared);
	assert_int_equal(v.pgoff_bytes, 0x1000);
	assert_int_equal(v.maj, 0xfe);
	assert_int_equal(v.min, 0x0a);
	assert_int_equal(v.ino, 10952883);
	assert_int_equal(len, 4);
	assert_memory_equal(path, "/a b", 4);
}

static void bad_lines(void **state)
{
	static const char *const bad[] = {
		"",
		"1000-2000",
		"2000-1000 rw-p 0 0:0 0",
		"1000-1000 rw-p 0 0:0 0",
		"-1000-2000 rw-p 0 0:0 0",
		"1000-2000 rwp 0 0:0 0",
		"1000-2000 rwzp 0 0:0 0",
		"1000-2000 rw-q 0 0:0 0",
		"1000-10000000000000000 rw-p 0 0:0 0",
		"1000-2000 rw-p 0 100000000:0 0",
		"1000-2000 rw-p 0 0:0 99999999999999999999",
		"1000-2000 rw-p 0 0:0 0x",
		"1000-2000 rw-p 0 0 0",
		"0x1000-2000 rw-p 0 0:0 0",
	};
	struct proc_vma v = { .start = 7 };
	const char *path;
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(maps_line_parse(bad[i], strlen(bad[i]), &v, &path, &len), -EINVAL);
	assert_int_equal(v.start, 7);
	assert_int_equal(maps_line_parse("1000-2000 rw-p 0 0:0 0 /a\0b", 27, &v, &path, &len),
			 -EINVAL);
}

static void names(void **state)
{
	static const char text[] = "1000-2000 rw-p 0 0:0 1 /nl\\012x\\012\n"
				   "2000-3000 rw-p 0 0:0 1 /back\\slash\\01\n"
				   "3000-4000 ---p 0 0:0 0 \n"
				   "4000-5000 ---p 0 0:0 0 [anon:a b]\n"
				   "5000-6000 ---p 0 0:0 0";
	scoped struct proc_vma *v = NULL;
	size_t n;

	assert_int_equal(PARSE(proc_maps_parse, text, &v, &n, NULL), 0);
	assert_int_equal(n, 5);
	assert_string_equal(v[0].path, "/nl\nx\n");
	assert_string_equal(v[1].path, "/back\\slash\\01");
	assert_null(v[2].path);
	assert_string_equal(v[3].path, "[anon:a b]");
	assert_null(v[4].path);
	assert_int_equal(v[4].prot, PROT_NONE);
}

static void order(void **state)
{
	struct proc_vma *v = NULL;
	struct err err = {};
	size_t n = 9;

	assert_int_equal(PARSE(proc_maps_parse, "2000-3000 r--p 0 0:0 0\n1000-2000 r--p 0 0:0 0\n",
			       &v, &n, &err),
			 -EAGAIN);
	assert_string_equal(err.text, "maps: 1000 overlaps or precedes the line before");
	assert_null(v);
	assert_int_equal(n, 9);
	assert_int_equal(PARSE(proc_maps_parse, "1000-2000 r--p 0 0:0 0\nrubbish\n", &v, &n, &err),
			 -EINVAL);
	assert_string_equal(err.text, "maps: cannot understand \"rubbish\"");
	assert_int_equal(proc_maps_parse("", 0, &v, &n, &err), 0);
	assert_int_equal(n, 0);
	free(v);
}

static void recorded_maps(void **state)
{
	scoped_proc dir = recorded(ODD);
	scoped struct proc_vma *v = NULL;
	size_t n;
	ssize_t i;

	assert_int_equal(proc_maps_read(dir, &v, &n, NULL), 0);
	assert_int_equal(n, 42);
	assert_string_equal(v[0].path, "/usr/bin/odd");
	i = proc_vma_find(v, n, 0x7f99b0624000);
	assert_int_equal(i, 21);
	assert_string_equal(v[i].path, "/memfd:ring buffer (deleted)");
	assert_true(v[i].shared);
	assert_int_equal(proc_vma_find(v, n, 0x7f99b0633fff), 21);
	assert_int_equal(proc_vma_find(v, n, 0x7f99b0634000), 22);
	assert_int_equal(proc_vma_find(v, n, 0x7f99b0819000), -1);
	assert_int_equal(proc_vma_find(v, n, 0), -1);
	assert_int_equal(proc_vma_find(v, n, UINT64_MAX), -1);
	i = proc_vma_find(v, n, 0x7f99b0823000);
	assert_int_equal(v[i].pgoff_bytes, 0x1000);
	assert_int_equal(v[i].maj, 0xfe);
	/* The file's name held a newline and, further on, the four characters of its escape. */
	assert_string_equal(v[i].path, "/tmp/nl\nfile \nx");
	assert_string_equal(v[n - 1].path, "[vsyscall]");
	assert_int_equal(v[n - 1].prot, PROT_EXEC);
	assert_int_equal(v[n - 1].start, 0xffffffffff600000);
}

static void zombie_has_none(void **state)
{
	scoped_proc dir = recorded(ZOMBIE);
	scoped struct proc_vma *v = NULL;
	scoped struct proc_smap *s = NULL;
	size_t n = 9, n_s = 9;

	assert_int_equal(proc_maps_read(dir, &v, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(proc_smaps_read(dir, &s, &n_s, NULL), 0);
	assert_int_equal(n_s, 0);
}

/* Every VMA of both lists of every recording agrees. */
static void smaps_like_maps(void **state)
{
	static const struct {
		const char *name;
		pid_t pid;
	} all[] = { { BASH }, { GO }, { ODD }, { PYTHON } };

	for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
		scoped_proc dir = recorded(all[k].name, all[k].pid);
		scoped struct proc_vma *v = NULL;
		scoped struct proc_smap *s = NULL;
		size_t n, n_s;

		assert_int_equal(proc_maps_read(dir, &v, &n, NULL), 0);
		assert_int_equal(proc_smaps_read(dir, &s, &n_s, NULL), 0);
		assert_true(n > 20);
		assert_int_equal(n, n_s);
		assert_true(proc_maps_exceed(dir, n - 1));
		assert_false(proc_maps_exceed(dir, n));
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(v[i].start, s[i].start);
			assert_int_equal(v[i].end, s[i].end);
			assert_int_equal(!!(v[i].prot & PROT_WRITE),
					 !!(s[i].flags & VMF_BIT(VMF_WR)));
			assert_false(s[i].flags & VMF_BIT(VMF_UNKNOWN));
		}
	}
}

/* The recorded program advised every second page from 7f99b0614000 on. */
static void advice(void **state)
{
	static const uint64_t want[] = {
		1ull << MADV_DONTFORK,	 0, 1ull << MADV_DONTDUMP, 0, 1ull << MADV_WIPEONFORK, 0,
		1ull << MADV_SEQUENTIAL, 0, 1ull << MADV_RANDOM,   0, 0 /* locked */,	       0,
		1ull << MADV_NOHUGEPAGE, 0,
	};
	scoped_proc dir = recorded(ODD);
	scoped struct proc_smap *s = NULL;
	size_t n;

	assert_int_equal(proc_smaps_read(dir, &s, &n, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(s[5 + i].start, 0x7f99b0614000 + i * 4096);
		assert_int_equal(proc_smap_madv(s[5 + i].flags), want[i]);
	}
	assert_true(s[15].flags & VMF_BIT(VMF_LO));
	assert_true(s[n - 2].flags & VMF_BIT(VMF_GD));
}

#define HEAD "1000-2000 rw-p 0 0:0 0\n"

static void smaps_fields(void **state)
{
	static const char text[] = HEAD "KernelPageSize:     2048 kB\n"
					"ProtectionKey:         3\n"
					"VmFlags: rd wr mg hg zz \n";
	scoped struct proc_smap *s = NULL;
	size_t n;

	assert_int_equal(PARSE(proc_smaps_parse, text, &s, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(s->pkey, 3);
	assert_int_equal(s->flags, VMF_BIT(VMF_RD) | VMF_BIT(VMF_WR) | VMF_BIT(VMF_MG) |
					   VMF_BIT(VMF_HG) | VMF_BIT(VMF_UNKNOWN));
	assert_int_equal(proc_smap_madv(s->flags), 1ull << MADV_MERGEABLE | 1ull << MADV_HUGEPAGE);
}

/* A file as long as this one is read in pieces, whose ends lie anywhere in a line. */
static void smaps_in_pieces(void **state)
{
	enum { COUNT = 3000 };
	char root[] = "/tmp/maps-XXXXXX";
	scoped char *dirname = NULL, *name = NULL;
	scoped struct proc_smap *s = NULL;
	scoped_proc dir = NULL;
	size_t n;
	FILE *f;

	assert_non_null(mkdtemp(root));
	dirname = xasprintf("%s/1", root);
	name = xasprintf("%s/smaps", dirname);
	assert_int_equal(mkdir(dirname, 0700), 0);
	f = fopen(name, "w");
	for (unsigned long i = 0; i < COUNT; i++)
		fprintf(f, "%lx-%lx rw-p 0 0:0 0\nRss: %lu kB\nVmFlags: rd%s \n%s",
			(2 * i + 1) << 12, (2 * i + 2) << 12, i, i % 3 ? "" : " dc wr",
			i % 7 ? "" : "ProtectionKey: 5\n");
	fclose(f);
	assert_int_equal(proc_open(&dir, root, 1, NULL), 0);
	assert_int_equal(proc_smaps_read(dir, &s, &n, NULL), 0);
	assert_int_equal(n, COUNT);
	for (unsigned long i = 0; i < COUNT; i++) {
		assert_int_equal(s[i].start, (2 * i + 1) << 12);
		assert_int_equal(s[i].end, (2 * i + 2) << 12);
		assert_int_equal(s[i].pkey, i % 7 ? 0 : 5);
		assert_int_equal(s[i].flags,
				 VMF_BIT(VMF_RD) | (i % 3 ? 0 : VMF_BIT(VMF_DC) | VMF_BIT(VMF_WR)));
	}
	unlink(name);
	rmdir(dirname);
	rmdir(root);
}

static void smaps_bad(void **state)
{
	static const char *const bad[] = {
		"Rss:                  12 kB\n", HEAD "Rss\n",
		HEAD "VmFlags: rd wrx\n",	 HEAD "VmFlags: rd w\n",
		HEAD "ProtectionKey: x\n",	 HEAD "\n",
	};
	struct proc_smap *s = NULL;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(PARSE(proc_smaps_parse, bad[i], &s, &n, NULL), -EINVAL);
		assert_null(s);
	}
	assert_int_equal(PARSE(proc_smaps_parse, HEAD HEAD, &s, &n, NULL), -EAGAIN);
}

/* 60,000 VMAs, read and found again. */
static void many(void **state)
{
	enum { COUNT = 60000 };
	scoped char *text = xmalloc((size_t)COUNT * 64);
	scoped struct proc_vma *v = NULL;
	size_t len = 0, n;

	for (unsigned long i = 0; i < COUNT; i++)
		len += (size_t)sprintf(text + len, "%lx-%lx rw-p 00000000 fe:00 %lu    /f%lu\n",
				       (2 * i + 1) << 12, (2 * i + 2) << 12, i, i);
	assert_int_equal(proc_maps_parse(text, len, &v, &n, NULL), 0);
	assert_int_equal(n, COUNT);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(v[i].ino, i);
		assert_int_equal(atoi(v[i].path + 2), i);
		assert_int_equal(proc_vma_find(v, n, (2 * i + 1) << 12), i);
		assert_int_equal(proc_vma_find(v, n, (2 * i + 2) << 12), -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line),
		cmocka_unit_test(bad_lines),
		cmocka_unit_test(names),
		cmocka_unit_test(order),
		cmocka_unit_test(recorded_maps),
		cmocka_unit_test(zombie_has_none),
		cmocka_unit_test(smaps_like_maps),
		cmocka_unit_test(advice),
		cmocka_unit_test(smaps_fields),
		cmocka_unit_test(smaps_in_pieces),
		cmocka_unit_test(smaps_bad),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
