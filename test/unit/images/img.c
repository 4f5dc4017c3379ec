/* Heads, framing, raw bytes; what is truncated, too long, too deep or of another kind is refused. */
#include "tmp.h"

#include "images/img.h"
#include "proto/cgroup.pb-c.h"
#include "proto/criu-lite.pb-c.h"
#include "proto/fs.pb-c.h"
#include "proto/ghost-file.pb-c.h"
#include "proto/inventory.pb-c.h"
#include "proto/ipc.pb-c.h"
#include "proto/mm.pb-c.h"
#include "proto/pipe.pb-c.h"
#include "proto/pstree.pb-c.h"
#include "proto/seccomp.pb-c.h"
#include "proto/stats.pb-c.h"

static void family_names(void **state)
{
	assert_string_equal(img_family_of("core-17.img")->pattern, "core-%u.img");
	assert_string_equal(img_family_of("pagemap-shmem-9.img")->pattern, "pagemap-shmem-%u.img");
	assert_string_equal(img_family_of("pagemap-9.img")->pattern, "pagemap-%u.img");
	assert_string_equal(img_family_of("tcp-stream-1af.img")->pattern, "tcp-stream-%x.img");
	assert_string_equal(img_family_of("stats-dump")->pattern, "stats-%s");
	assert_null(img_family_of("core-.img"));
	assert_null(img_family_of("core-1x.img"));
	assert_null(img_family_of("core--1.img"));
	assert_null(img_family_of("core-1.img.tmp"));
	assert_null(img_family_of("parent"));
	assert_null(img_family_of(""));
}

/* fs_entry { cwd_id: 1, root_id: 2 }: fields 1 and 2, varints. */
static const unsigned char fs_bytes[] = { 0x19, 0x43, 0x56, 0x54, 0x12, 0x39, 0x40, 0x51,
					  4,	0,    0,    0,	  0x08, 1,    0x10, 2 };

static void common_head(void **state)
{
	struct tmp *t = *state;
	struct err err = {};
	FsEntry e = FS_ENTRY__INIT, *back;
	unsigned char bytes[64];
	struct stat st;

	e.cwd_id = 1;
	e.root_id = 2;
	assert_int_equal(img_write_one(&e, &err, t->fd, "fs-%u.img", 5), 0);
	assert_int_equal(get(t->fd, "fs-5.img", bytes, sizeof(bytes)), sizeof(fs_bytes));
	assert_memory_equal(bytes, fs_bytes, sizeof(fs_bytes));
	assert_int_equal(fstatat(t->fd, "fs-5.img", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);

	assert_int_equal(img_read_one(&back, &err, t->fd, "fs-%u.img", 5), 0);
	assert_int_equal(back->cwd_id, 1);
	assert_int_equal(back->root_id, 2);
	assert_false(back->has_umask);
	fs_entry__free_unpacked(back, NULL);

	assert_int_equal(img_write_one(&e, &err, t->fd, "fs-%u.img", 5), -EEXIST);
}

static void inventory_and_service_heads(void **state)
{
	static const unsigned char type_only[] = { 0x16, 0x31, 0x31, 0x58 };
	static const unsigned char service[] = { 0x40, 0x59, 0x10, 0x55, 0x06, 0x33, 0x09, 0x57 };
	struct tmp *t = *state;
	struct err err = {};
	InventoryEntry inv = INVENTORY_ENTRY__INIT, *back;
	StatsEntry stats = STATS_ENTRY__INIT;
	unsigned char bytes[64];

	inv.img_version = 2;
	assert_int_equal(img_write_one(&inv, &err, t->fd, "inventory.img"), 0);
	assert_int_equal(get(t->fd, "inventory.img", bytes, sizeof(bytes)), 4 + 4 + 2);
	assert_memory_equal(bytes, type_only, sizeof(type_only));
	assert_int_equal(img_read_one(&back, &err, t->fd, "inventory.img"), 0);
	assert_int_equal(back->img_version, 2);
	inventory_entry__free_unpacked(back, NULL);

	assert_int_equal(img_write_one(&stats, &err, t->fd, "stats-dump"), 0);
	assert_int_equal(get(t->fd, "stats-dump", bytes, sizeof(bytes)), 8 + 4);
	assert_memory_equal(bytes, service, sizeof(service));
}

/* img_version 1: the family's magic alone. */
static void old_head(void **state)
{
	struct tmp *t = *state;
	struct err err = {};
	FsEntry *back;

	put(t->fd, "fs-1.img", fs_bytes + 4, sizeof(fs_bytes) - 4);
	assert_int_equal(img_read_one(&back, &err, t->fd, "fs-1.img"), 0);
	assert_int_equal(back->root_id, 2);
	fs_entry__free_unpacked(back, NULL);
}

static int read_fs(struct tmp *t, const void *bytes, size_t n, struct err *err)
{
	FsEntry *back;
	int rc;

	put(t->fd, "fs-1.img", bytes, n);
	rc = img_read_one(&back, err, t->fd, "fs-1.img");
	if (!rc)
		fs_entry__free_unpacked(back, NULL);
	return rc;
}

static void truncated_anywhere(void **state)
{
	struct err err = {};

	for (size_t n = 0; n < sizeof(fs_bytes); n++) {
		assert_int_equal(read_fs(*state, fs_bytes, n, &err), -EBADMSG);
		assert_says(&err, "fs-1.img");
	}
	assert_int_equal(read_fs(*state, fs_bytes, sizeof(fs_bytes), &err), 0);
}

static void wrong_in_some_byte(void **state)
{
	unsigned char bytes[sizeof(fs_bytes) + 8] = {};
	struct err err = {};

	memcpy(bytes, fs_bytes, sizeof(fs_bytes));
	for (size_t i = 0; i < 8; i++) { /* the head */
		bytes[i] ^= 1;
		assert_int_equal(read_fs(*state, bytes, sizeof(fs_bytes), &err), -EBADMSG);
		bytes[i] ^= 1;
	}
	bytes[8] = 0xff; /* longer than the file */
	assert_int_equal(read_fs(*state, bytes, sizeof(fs_bytes), &err), -EBADMSG);
	assert_says(&err, "fs-1.img: offset 12: entry of 255 bytes, the file has 4 more");
	bytes[11] = 0xff; /* nearly 4 GiB */
	assert_int_equal(read_fs(*state, bytes, sizeof(fs_bytes), &err), -EBADMSG);
	memcpy(bytes, fs_bytes, sizeof(fs_bytes));
	bytes[12] = 0x0b; /* a group: no such wire type here */
	assert_int_equal(read_fs(*state, bytes, sizeof(fs_bytes), &err), -EBADMSG);
	assert_says(&err, "offset 8: malformed fs_entry");
	bytes[12] = 0x18; /* a required field is missing */
	assert_int_equal(read_fs(*state, bytes, sizeof(fs_bytes), &err), -EBADMSG);
	memcpy(bytes, fs_bytes, sizeof(fs_bytes)); /* four zero bytes: a second, empty entry */
	assert_int_equal(read_fs(*state, bytes, sizeof(fs_bytes) + 4, &err), -EBADMSG);
	assert_says(&err, "offset 16: nothing should follow here");
}

static void unusual_files(void **state)
{
	struct tmp *t = *state;
	struct img_reader *r = NULL;
	struct img_writer *w = NULL;
	struct err err = {};

	assert_int_equal(img_open(&r, &err, t->fd, "pstree.img"), -ENOENT);
	put(t->fd, "x", "", 0);
	assert_int_equal(symlinkat("x", t->fd, "pstree.img"), 0);
	assert_int_equal(img_open(&r, &err, t->fd, "pstree.img"), -ELOOP);
	assert_int_equal(img_create(&w, &err, t->fd, "pstree.img"), -EEXIST);
	assert_int_equal(mkdirat(t->fd, "files.img", 0700), 0);
	assert_int_equal(img_open(&r, &err, t->fd, "files.img"), -EBADMSG);
	assert_says(&err, "not a regular file");
	assert_int_equal(mkfifoat(t->fd, "seccomp.img", 0600), 0);
	assert_int_equal(img_open(&r, &err, t->fd, "seccomp.img"), -EBADMSG);
	assert_int_equal(img_open(&r, &err, t->fd, "../core-1.img"), -EINVAL);
	assert_int_equal(img_open(&r, &err, t->fd, "nonsense"), -EINVAL);
	assert_null(r);
	assert_null(w);
}

static void no_entry_is_empty_or_an_error(void **state)
{
	static const unsigned char head[] = { 0x19, 0x43, 0x56, 0x54, 0x30, 0x30, 0x27, 0x50 };
	struct tmp *t = *state;
	struct img_reader *r = NULL;
	struct err err = {};
	PstreeEntry *e;

	put(t->fd, "pstree.img", head, sizeof(head));
	assert_int_equal(img_open(&r, &err, t->fd, "pstree.img"), 0);
	assert_int_equal(img_next(r, &e, &err), 0);
	img_reader_release(&r);
	assert_int_equal(img_read_one(&e, &err, t->fd, "pstree.img"), -EBADMSG);
	assert_says(&err, "has no entry");
}

/* An entry of length 0 is a message of which nothing is set. */
static void empty_message(void **state)
{
	struct tmp *t = *state;
	struct err err = {};
	SeccompEntry e = SECCOMP_ENTRY__INIT, *back;
	unsigned char bytes[64];

	assert_int_equal(img_write_one(&e, &err, t->fd, "seccomp.img"), 0);
	assert_int_equal(get(t->fd, "seccomp.img", bytes, sizeof(bytes)), 12);
	assert_int_equal(img_read_one(&back, &err, t->fd, "seccomp.img"), 0);
	assert_int_equal(back->n_seccomp_filters, 0);
	seccomp_entry__free_unpacked(back, NULL);
}

static void write_pipes(struct tmp *t, size_t big)
{
	PipeDataEntry e = PIPE_DATA_ENTRY__INIT;
	struct img_writer *w = NULL;
	struct err err = {};
	char *data = xmalloc(big);

	memset(data, 'b', big);
	assert_int_equal(img_create(&w, &err, t->fd, "pipes-data.img"), 0);
	e.pipe_id = 1;
	e.bytes = 3;
	assert_int_equal(img_append(w, &e, &err), 0);
	assert_int_equal(img_append_raw(w, "abc", 3, &err), 0);
	e.pipe_id = 2;
	e.bytes = big;
	assert_int_equal(img_append(w, &e, &err), 0);
	assert_int_equal(img_append_raw(w, data, big, &err), 0);
	e.pipe_id = 3;
	e.bytes = 0;
	assert_int_equal(img_append(w, &e, &err), 0);
	assert_int_equal(img_close(&w, &err), 0);
	assert_null(w);
	free(data);
}

static void expect_pipe(struct img_reader *r, uint32_t id, uint64_t bytes)
{
	struct err err = {};
	PipeDataEntry *e;

	assert_int_equal(img_next(r, &e, &err), 1);
	assert_int_equal(e->pipe_id, id);
	assert_int_equal(img_payload_left(r), bytes);
	pipe_data_entry__free_unpacked(e, NULL);
}

static void payloads(void **state)
{
	struct tmp *t = *state;
	struct img_reader *r = NULL;
	struct err err = {};
	size_t big = 200000; /* more than is buffered */
	char *data = xmalloc(big);
	PipeDataEntry *e;

	write_pipes(t, big);
	assert_int_equal(img_open(&r, &err, t->fd, "pipes-data.img"), 0);
	expect_pipe(r, 1, 3);
	assert_int_equal(img_payload(r, data, 4, &err), -EBADMSG);
	assert_int_equal(img_payload(r, data, 2, &err), 0);
	assert_memory_equal(data, "ab", 2);
	expect_pipe(r, 2, big); /* the rest of the first is passed over */
	assert_int_equal(img_payload(r, data, big, &err), 0);
	for (size_t i = 0; i < big; i++)
		assert_int_equal(data[i], 'b');
	expect_pipe(r, 3, 0);
	assert_int_equal(img_next(r, &e, &err), 0);
	img_reader_release(&r);

	assert_int_equal(img_open(&r, &err, t->fd, "pipes-data.img"), 0);
	expect_pipe(r, 1, 3);
	expect_pipe(r, 2, big);
	expect_pipe(r, 3, 0); /* reached without reading what lies between */
	img_reader_release(&r);
	free(data);
}

static void payload_beyond_the_end(void **state)
{
	struct tmp *t = *state;
	struct img_reader *r = NULL;
	struct err err = {};
	PipeDataEntry *e;
	int fd;

	write_pipes(t, 1000);
	fd = openat(t->fd, "pipes-data.img", O_WRONLY);
	assert_int_equal(ftruncate(fd, 500), 0);
	close(fd);
	assert_int_equal(img_open(&r, &err, t->fd, "pipes-data.img"), 0);
	expect_pipe(r, 1, 3);
	assert_int_equal(img_next(r, &e, &err), -EBADMSG);
	assert_says(&err, "1000 bytes should follow");
	img_reader_release(&r);
}

static void ghost_in_one_piece_or_chunks(void **state)
{
	struct tmp *t = *state;
	struct img_reader *r = NULL;
	struct img_writer *w = NULL;
	struct err err = {};
	GhostFileEntry g = GHOST_FILE_ENTRY__INIT, *gb;
	GhostChunkEntry c = GHOST_CHUNK_ENTRY__INIT, *cb;

	assert_int_equal(img_create(&w, &err, t->fd, "ghost-file-%x.img", 10), 0);
	assert_int_equal(img_append(w, &g, &err), 0);
	assert_int_equal(img_append_raw(w, "content", 7, &err), 0);
	assert_int_equal(img_close(&w, &err), 0);
	assert_int_equal(img_open(&r, &err, t->fd, "ghost-file-a.img"), 0);
	assert_int_equal(img_next(r, &gb, &err), 1);
	ghost_file_entry__free_unpacked(gb, NULL);
	assert_int_equal(img_payload_left(r), 7);
	assert_int_equal(img_next(r, &gb, &err), 0);
	img_reader_release(&r);

	assert_int_equal(img_create(&w, &err, t->fd, "ghost-file-b.img"), 0);
	g.has_chunks = g.chunks = true;
	assert_int_equal(img_append(w, &g, &err), 0);
	c.len = 4;
	c.off = 4096;
	assert_int_equal(img_append(w, &c, &err), 0);
	assert_int_equal(img_append_raw(w, "four", 4, &err), 0);
	assert_int_equal(img_close(&w, &err), 0);
	assert_int_equal(img_open(&r, &err, t->fd, "ghost-file-b.img"), 0);
	assert_int_equal(img_next(r, &gb, &err), 1);
	ghost_file_entry__free_unpacked(gb, NULL);
	assert_int_equal(img_payload_left(r), 0);
	assert_int_equal(img_next(r, &cb, &err), 1);
	assert_int_equal(cb->off, 4096);
	ghost_chunk_entry__free_unpacked(cb, NULL);
	assert_int_equal(img_payload_left(r), 4);
	img_reader_release(&r);
}

static void message_queue(void **state)
{
	struct tmp *t = *state;
	struct img_reader *r = NULL;
	struct img_writer *w = NULL;
	struct err err = {};
	IpcDescEntry d = IPC_DESC_ENTRY__INIT;
	IpcMsgEntry q = IPC_MSG_ENTRY__INIT;
	IpcMsg m = IPC_MSG__INIT, *mb;
	ProtobufCMessage *any;

	q.desc = &d;
	q.qnum = 2;
	m.msize = 5;
	assert_int_equal(img_create(&w, &err, t->fd, "ipcns-msg-9.img"), 0);
	assert_int_equal(img_append(w, &q, &err), 0);
	assert_int_equal(img_append(w, &m, &err), 0);
	assert_int_equal(img_append_raw(w, "hello\0\0\0", 8, &err), 0);
	assert_int_equal(img_close(&w, &err), 0);

	assert_int_equal(img_open(&r, &err, t->fd, "ipcns-msg-9.img"), 0);
	assert_int_equal(img_next(r, &any, &err), 1);
	assert_ptr_equal(any->descriptor, &ipc_msg_entry__descriptor);
	protobuf_c_message_free_unpacked(any, NULL);
	assert_int_equal(img_next(r, &mb, &err), 1);
	assert_int_equal(mb->msize, 5);
	ipc_msg__free_unpacked(mb, NULL);
	assert_int_equal(img_payload_left(r), 8);
	assert_int_equal(img_next(r, &any, &err), -EBADMSG);
	assert_says(&err, "1 entries are missing");
	img_reader_release(&r);
}

/* Groups within groups: @depth messages around the last. */
static unsigned char *nested(size_t depth, size_t *n)
{
	unsigned char *bytes = xmalloc(16 * depth + 16);
	size_t at = 16 * depth + 16;

	/* From the inside out; dir_name is required in every one. */
	for (size_t i = 0; i <= depth; i++) {
		size_t len = 16 * depth + 16 - at;

		if (i) {
			unsigned char head[6];
			size_t h = 0;

			head[h++] = 0x12; /* children */
			do
				head[h++] = (len & 0x7f) | (len > 0x7f ? 0x80 : 0);
			while (len >>= 7);
			at -= h;
			memcpy(bytes + at, head, h);
		}
		at -= 2;
		memcpy(bytes + at, "\x0a\0", 2); /* dir_name "" */
	}
	*n = 16 * depth + 16 - at;
	memmove(bytes, bytes + at, *n);
	return bytes;
}

static void nesting_is_bounded(void **state)
{
	ProtobufCMessage *m;
	unsigned char *bytes;
	size_t n;

	bytes = nested(IMG_DEPTH_MAX, &n);
	m = img_unpack(&cgroup_dir_entry__descriptor, bytes, n);
	assert_non_null(m);
	protobuf_c_message_free_unpacked(m, NULL);
	free(bytes);
	bytes = nested(IMG_DEPTH_MAX + 1, &n);
	assert_null(img_unpack(&cgroup_dir_entry__descriptor, bytes, n));
	free(bytes);
	bytes = nested(1000000, &n); /* would exhaust the stack */
	assert_null(img_unpack(&cgroup_dir_entry__descriptor, bytes, n));
	free(bytes);
}

/* The bound on memory is none for what is really written: many mappings, all numbers small. */
static void large_entry(void **state)
{
	struct tmp *t = *state;
	struct err err = {};
	MmEntry mm = MM_ENTRY__INIT, *back;
	size_t n = 60000;
	VmaEntry *vma = xcalloc(n, sizeof(*vma)), **list = xcalloc(n, sizeof(*list));

	for (size_t i = 0; i < n; i++) {
		vma_entry__init(&vma[i]);
		list[i] = &vma[i];
	}
	vma[n - 1].start = 0x7f0000000000;
	mm.vmas = list;
	mm.n_vmas = n;
	assert_int_equal(img_write_one(&mm, &err, t->fd, "mm-1.img"), 0);
	assert_int_equal(img_read_one(&back, &err, t->fd, "mm-1.img"), 0);
	assert_int_equal(back->n_vmas, n);
	assert_int_equal(back->vmas[n - 1]->start, 0x7f0000000000);
	mm_entry__free_unpacked(back, NULL);
	free(vma);
	free(list);
}

static void sealed(void **state)
{
	struct tmp *t = *state;
	struct err err = {};
	SdArmed a = SD_ARMED__INIT, *back;
	struct stat st;

	a.chain_id = a.boot_id = a.tracker = (char *)"x";
	assert_int_equal(img_write_one(&a, &err, t->fd, "armed"), 0);
	assert_int_equal(img_read_one(&back, &err, t->fd, "armed"), 0);
	sd_armed__free_unpacked(back, NULL);
	assert_int_equal(fstatat(t->fd, "armed", &st, 0), 0);
	for (off_t i = 0; i < st.st_size; i++) {
		flip(t->fd, "armed", i);
		assert_int_equal(img_read_one(&back, &err, t->fd, "armed"), -EBADMSG);
		flip(t->fd, "armed", i);
	}
	assert_int_equal(img_read_one(&back, &err, t->fd, "armed"), 0);
	sd_armed__free_unpacked(back, NULL);
	put(t->fd, "armed", "short", 5);
	assert_int_equal(img_read_one(&back, &err, t->fd, "armed"), -EBADMSG);
}

/* Every family writes its head and reads it again. */
static void all_heads(void **state)
{
	struct tmp *t = *state;
	struct err err = {};

	for (const struct img_family *f = img_families; f->pattern; f++) {
		struct img_writer *w = NULL;
		struct img_reader *r = NULL;
		ProtobufCMessage *m;
		char name[64];

		snprintf(name, sizeof(name), "%s", f->pattern);
		if (strchr(name, '%'))
			snprintf(strchr(name, '%'), 32, "%s%s",
				 strstr(f->pattern, "%s") ? "a" : "1", strchr(f->pattern, '%') + 2);
		assert_ptr_equal(img_family_of(name), f);
		assert_int_equal(img_create(&w, &err, t->fd, "%s", name), 0);
		assert_int_equal(img_close(&w, &err), 0);
		assert_int_equal(img_open(&r, &err, t->fd, "%s", name), 0);
		assert_ptr_equal(img_family(r), f);
		assert_int_equal(img_next(r, &m, &err), 0);
		img_reader_release(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(family_names),
		IMAGE_TEST(common_head),
		IMAGE_TEST(inventory_and_service_heads),
		IMAGE_TEST(old_head),
		IMAGE_TEST(truncated_anywhere),
		IMAGE_TEST(wrong_in_some_byte),
		IMAGE_TEST(unusual_files),
		IMAGE_TEST(no_entry_is_empty_or_an_error),
		IMAGE_TEST(empty_message),
		IMAGE_TEST(payloads),
		IMAGE_TEST(payload_beyond_the_end),
		IMAGE_TEST(ghost_in_one_piece_or_chunks),
		IMAGE_TEST(message_queue),
		cmocka_unit_test(nesting_is_bounded),
		IMAGE_TEST(large_entry),
		IMAGE_TEST(sealed),
		IMAGE_TEST(all_heads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
