/* entry.c - the rows of files.img: a type, and exactly the one nested message that belongs to it. */
#include "base/mem.h"
#include "criu-lite/file/state.h"

#include <errno.h>
#include <string.h>

static const struct {
	FdTypes type;
	const char *field;
} nested_of[] = {
	{ FD_TYPES__REG, "reg" },	 { FD_TYPES__PIPE, "pipe" },
	{ FD_TYPES__FIFO, "fifo" },	 { FD_TYPES__INETSK, "isk" },
	{ FD_TYPES__UNIXSK, "usk" },	 { FD_TYPES__EVENTFD, "efd" },
	{ FD_TYPES__EVENTPOLL, "epfd" }, { FD_TYPES__INOTIFY, "ify" },
	{ FD_TYPES__SIGNALFD, "sgfd" },	 { FD_TYPES__PACKETSK, "psk" },
	{ FD_TYPES__TTY, "tty" },	 { FD_TYPES__FANOTIFY, "ffy" },
	{ FD_TYPES__NETLINKSK, "nlsk" }, { FD_TYPES__NS, "nsf" },
	{ FD_TYPES__TUNF, "tunf" },	 { FD_TYPES__EXT, "ext" },
	{ FD_TYPES__TIMERFD, "tfd" },	 { FD_TYPES__MEMFD, "memfd" },
	{ FD_TYPES__BPFMAP, "bpf" },	 { FD_TYPES__PIDFD, "pidfd" },
};

static const ProtobufCFieldDescriptor *nested_field(FdTypes type)
{
	for (size_t i = 0; i < ARRAY_SIZE(nested_of); i++)
		if (nested_of[i].type == type)
			return protobuf_c_message_descriptor_get_field_by_name(
				&file_entry__descriptor, nested_of[i].field);
	return NULL;
}

static void *member(const void *message, const ProtobufCFieldDescriptor *f)
{
	return (char *)message + f->offset;
}

static void set_u32(ProtobufCMessage *m, const char *name, uint32_t value)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);

	if (f && f->type == PROTOBUF_C_TYPE_UINT32 && f->label != PROTOBUF_C_LABEL_REPEATED)
		*(uint32_t *)member(m, f) = value;
}

static void set_fown(ProtobufCMessage *m)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "fown");
	FownEntry *fown;

	if (!f || f->type != PROTOBUF_C_TYPE_MESSAGE)
		return;
	fown = xmalloc(sizeof(*fown));
	fown_entry__init(fown);
	*(FownEntry **)member(m, f) = fown;
}

FileEntry *file_entry_new(FdTypes type, uint32_t id, uint32_t flags)
{
	const ProtobufCFieldDescriptor *f = nested_field(type);
	const ProtobufCMessageDescriptor *desc = f->descriptor;
	FileEntry *e = xmalloc(sizeof(*e));
	ProtobufCMessage *m = xcalloc(1, desc->sizeof_message);

	file_entry__init(e);
	e->type = type;
	e->id = id;
	protobuf_c_message_init(desc, m);
	*(ProtobufCMessage **)member(e, f) = m;
	set_u32(m, "id", id);
	set_u32(m, "flags", flags);
	set_fown(m);
	return e;
}

ProtobufCMessage *file_entry_nested(const FileEntry *e)
{
	const ProtobufCFieldDescriptor *f = nested_field(e->type);

	return f ? *(ProtobufCMessage **)member(e, f) : NULL;
}

FownEntry *file_entry_fown(const FileEntry *e)
{
	ProtobufCMessage *m = file_entry_nested(e);
	const ProtobufCFieldDescriptor *f =
		m ? protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "fown") : NULL;

	return f && f->type == PROTOBUF_C_TYPE_MESSAGE ? *(FownEntry **)member(m, f) : NULL;
}

uint32_t file_entry_flags(const FileEntry *e)
{
	ProtobufCMessage *m = file_entry_nested(e);
	const ProtobufCFieldDescriptor *f =
		m ? protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "flags") : NULL;

	return f && f->type == PROTOBUF_C_TYPE_UINT32 ? *(uint32_t *)member(m, f) : 0;
}

static size_t count_nested(const FileEntry *e)
{
	size_t n = 0;

	for (unsigned i = 0; i < file_entry__descriptor.n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &file_entry__descriptor.fields[i];

		if (f->type == PROTOBUF_C_TYPE_MESSAGE && *(void **)member(e, f))
			n++;
	}
	return n;
}

int file_entry_check(const FileEntry *e, struct err *err)
{
	ProtobufCMessage *m = file_entry_nested(e);
	const ProtobufCFieldDescriptor *f;

	if (!nested_field(e->type))
		return err_set(err, -EBADMSG, "files.img: file %u is of no known type (%d)", e->id,
			       e->type);
	if (!m || count_nested(e) != 1)
		return err_set(err, -EBADMSG,
			       "files.img: file %u has not exactly the message of its type (%d)",
			       e->id, e->type);
	f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "id");
	if (f && f->type == PROTOBUF_C_TYPE_UINT32 && *(uint32_t *)member(m, f) != e->id)
		return err_set(err, -EBADMSG, "files.img: file %u says inside that it is file %u",
			       e->id, *(uint32_t *)member(m, f));
	return 0;
}
