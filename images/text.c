/* text.c - messages as text and as JSON, by walking their descriptors. */
#include "images/text.h"
#include "base/mem.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/* Unsigned fields of these names are addresses, masks or bit sets, in whatever message. */
static const char *const hex_names[] = {
	"vaddr",
	"start",
	"end",
	"pgoff",
	"prot",
	"flags",
	"status",
	"madv",
	"fdflags",
	"mm_start_code",
	"mm_end_code",
	"mm_start_data",
	"mm_end_data",
	"mm_start_stack",
	"mm_start_brk",
	"mm_brk",
	"mm_arg_start",
	"mm_arg_end",
	"mm_env_start",
	"mm_env_end",
	"mm_saved_auxv",
	"r15",
	"r14",
	"r13",
	"r12",
	"bp",
	"bx",
	"r11",
	"r10",
	"r9",
	"r8",
	"ax",
	"cx",
	"dx",
	"si",
	"di",
	"orig_ax",
	"ip",
	"cs",
	"sp",
	"ss",
	"fs_base",
	"gs_base",
	"ds",
	"es",
	"fs",
	"gs",
	"cet",
	"ssp",
	"xstate_bv",
	"ymmh_space",
	"bndreg_state",
	"bndcsr_state",
	"opmask_reg",
	"zmm_upper",
	"hi16_zmm",
	"pkru",
	"cwd",
	"swd",
	"twd",
	"fop",
	"rip",
	"rdp",
	"mxcsr",
	"mxcsr_mask",
	"st_space",
	"xmm_space",
	"base_addr",
	"clear_tid_addr",
	"futex_rla",
	"ss_sp",
	"rseq_abi_pointer",
	"signature",
	"rseq_cs_pointer",
	"blk_sigset",
	"personality",
	"sigaction",
	"restorer",
	"mask",
	"ignored_mask",
	"sigmask",
	"sival_ptr",
	"cap_inh",
	"cap_prm",
	"cap_eff",
	"cap_bnd",
	"cap_amb",
	"secbits",
	"events",
	"data",
	"dev",
	"s_dev",
	"rdev",
	"root_dev",
	"seals",
	"mflags",
	"faflags",
	"evflags",
	"uflags",
	"build_id",
	"capability",
	"xfeatures_mask",
	"xfeatures",
	"so_filter",
	"c_iflag",
	"c_oflag",
	"c_cflag",
	"c_lflag",
	"hash",
	"vdso_hash",
	"canary",
	"xstate_features",
	"sched_flags",
	"membarrier_registration_mask",
	"handle",
	"ns_cflag",
};

static bool is_hex(const ProtobufCFieldDescriptor *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(hex_names); i++)
		if (!strcmp(f->name, hex_names[i]))
			return true;
	return false;
}

/* --- where a field's values are ------------------------------------------------------------ */

size_t text_value_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

/* The values of @f in @m: their number, and where the first is. */
static size_t values(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
		     const void **first)
{
	const char *base = (const char *)m, *at = base + f->offset;

	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		*first = *(const void *const *)at;
		return *(const size_t *)(base + f->quantifier_offset);
	}
	*first = at;
	if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE) {
		const void *p = *(const void *const *)at;

		return p && (f->label == PROTOBUF_C_LABEL_REQUIRED || p != f->default_value);
	}
	if (f->label == PROTOBUF_C_LABEL_REQUIRED)
		return 1;
	return *(const protobuf_c_boolean *)(base + f->quantifier_offset) != 0;
}

static bool is_signed(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_ENUM:
		return true;
	default:
		return false;
	}
}

static int64_t signed_value(const ProtobufCFieldDescriptor *f, const void *v)
{
	return text_value_size(f) == 8 ? *(const int64_t *)v : *(const int32_t *)v;
}

static uint64_t unsigned_value(const ProtobufCFieldDescriptor *f, const void *v)
{
	return text_value_size(f) == 8 ? *(const uint64_t *)v : *(const uint32_t *)v;
}

static char *hex_bytes(const void *data, size_t n)
{
	static const char digit[] = "0123456789abcdef";
	const unsigned char *p = data;
	char *s = xmalloc(2 * n + 1);

	for (size_t i = 0; i < n; i++) {
		s[2 * i] = digit[p[i] >> 4];
		s[2 * i + 1] = digit[p[i] & 15];
	}
	s[2 * n] = 0;
	return s;
}

static const char *enum_name(const ProtobufCFieldDescriptor *f, int value)
{
	const ProtobufCEnumValue *e = protobuf_c_enum_descriptor_get_value(f->descriptor, value);

	return e ? e->name : NULL;
}

/* --- JSON ---------------------------------------------------------------------------------- */

static json_t *json_hex(const void *data, size_t n)
{
	scoped char *hex = hex_bytes(data, n);

	return json_pack("{s:s}", "hex", hex);
}

static json_t *json_unsigned(const ProtobufCFieldDescriptor *f, uint64_t v)
{
	char text[24];

	if (!is_hex(f) && v <= INT64_MAX)
		return json_integer(v);
	snprintf(text, sizeof(text), "%#" PRIx64, v);
	return json_string(text);
}

static json_t *json_text(const char *s)
{
	json_t *j = json_string(s);

	return j ? j : json_hex(s, strlen(s));
}

static json_t *json_value(const ProtobufCFieldDescriptor *f, const void *v)
{
	const ProtobufCBinaryData *b = v;
	const char *name;

	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return text_json(*(const ProtobufCMessage *const *)v);
	case PROTOBUF_C_TYPE_STRING:
		return json_text(*(const char *const *)v);
	case PROTOBUF_C_TYPE_BYTES:
		return json_hex(b->data, b->len);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)v);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real(*(const float *)v);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)v);
	case PROTOBUF_C_TYPE_ENUM:
		name = enum_name(f, *(const int *)v);
		if (name)
			return json_string(name);
		/* fall through */
	default:
		return is_signed(f) ? json_integer(signed_value(f, v))
				    : json_unsigned(f, unsigned_value(f, v));
	}
}

json_t *text_json(const ProtobufCMessage *m)
{
	json_t *o = json_object();

	for (unsigned int i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const void *v;
		size_t n = values(m, f, &v);
		json_t *list;

		if (f->label != PROTOBUF_C_LABEL_REPEATED) {
			if (n)
				json_object_set_new(o, f->name, json_value(f, v));
			continue;
		}
		list = json_array();
		for (size_t k = 0; k < n; k++)
			json_array_append_new(
				list, json_value(f, (const char *)v + k * text_value_size(f)));
		if (n)
			json_object_set_new(o, f->name, list);
		else
			json_decref(list);
	}
	return o;
}

/* --- text ---------------------------------------------------------------------------------- */

static void indent(FILE *out, unsigned int depth)
{
	while (depth--)
		fputc('\t', out);
}

/* Images may come from anywhere: no control character reaches the terminal. */
static void print_string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		unsigned char c = *s;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (isprint(c) && c < 0x80)
			fputc(c, out);
		else
			fprintf(out, "\\x%02x", c);
	}
	fputc('"', out);
}

static void print_number(FILE *out, const ProtobufCFieldDescriptor *f, const void *v)
{
	if (is_signed(f))
		fprintf(out, "%" PRId64, signed_value(f, v));
	else
		fprintf(out, is_hex(f) ? "%#" PRIx64 : "%" PRIu64, unsigned_value(f, v));
}

static void print_value(FILE *out, const ProtobufCFieldDescriptor *f, const void *v)
{
	const ProtobufCBinaryData *b = v;
	scoped char *hex = NULL;
	const char *name;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		print_string(out, *(const char *const *)v);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		hex = hex_bytes(b->data, b->len);
		fprintf(out, "%s", b->len ? hex : "(empty)");
		break;
	case PROTOBUF_C_TYPE_BOOL:
		fputs(*(const protobuf_c_boolean *)v ? "true" : "false", out);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		fprintf(out, "%g", *(const float *)v);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		fprintf(out, "%g", *(const double *)v);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		name = enum_name(f, *(const int *)v);
		if (name) {
			fputs(name, out);
			break;
		}
		/* fall through */
	default:
		print_number(out, f, v);
	}
}

static void print_messages(FILE *out, const ProtobufCFieldDescriptor *f, const void *v, size_t n,
			   unsigned int depth)
{
	for (size_t i = 0; i < n; i++) {
		indent(out, depth);
		fprintf(out, "%s\n", f->name);
		text_print(out, ((const ProtobufCMessage *const *)v)[i], depth + 1);
	}
}

void text_print(FILE *out, const ProtobufCMessage *m, unsigned int depth)
{
	for (unsigned int i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const void *v;
		size_t n = values(m, f, &v);

		if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
			print_messages(out, f, v, n, depth);
			continue;
		}
		if (!n)
			continue;
		indent(out, depth);
		fprintf(out, "%s:", f->name);
		for (size_t k = 0; k < n; k++) {
			fputc(' ', out);
			print_value(out, f, (const char *)v + k * text_value_size(f));
		}
		fputc('\n', out);
	}
}

/* --- whole images -------------------------------------------------------------------------- */

int text_image_json(json_t **out, int dirfd, const char *name, struct err *err)
{
	scoped_reader r = NULL;
	ProtobufCMessage *m;
	json_t *list;
	int rc = img_open(&r, err, dirfd, "%s", name);

	if (rc < 0)
		return rc;
	if (!img_family(r)->first) {
		*out = json_pack("{s:s, s:I}", "file", name, "raw_bytes",
				 (json_int_t)img_payload_left(r));
		return 0;
	}
	list = json_array();
	while ((rc = img_next(r, &m, err)) > 0) {
		json_t *entry = text_json(m);

		if (img_payload_left(r))
			json_object_set_new(entry, "payload_bytes",
					    json_integer(img_payload_left(r)));
		json_array_append_new(list, entry);
		protobuf_c_message_free_unpacked(m, NULL);
	}
	if (rc < 0)
		json_decref(list);
	else
		*out = json_pack("{s:s, s:o}", "file", name, "entries", list);
	return rc;
}

int text_image_print(FILE *out, int dirfd, const char *name, struct err *err)
{
	scoped_reader r = NULL;
	ProtobufCMessage *m;
	int rc = img_open(&r, err, dirfd, "%s", name);

	if (rc < 0)
		return rc;
	fprintf(out, "%s\n", name);
	if (!img_family(r)->first) {
		fprintf(out, "\traw: %" PRIu64 " bytes\n", img_payload_left(r));
		return 0;
	}
	while ((rc = img_next(r, &m, err)) > 0) {
		fprintf(out, "\t%s\n", m->descriptor->name);
		text_print(out, m, 2);
		if (img_payload_left(r))
			fprintf(out, "\t\tfollowed by %" PRIu64 " bytes\n", img_payload_left(r));
		protobuf_c_message_free_unpacked(m, NULL);
	}
	return rc;
}
