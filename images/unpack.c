/* unpack.c - unpacking messages that need not be trusted. */
#include "images/img-internal.h"

#include <stdlib.h>

#define BUDGET_BASE (64u << 10)

/* protobuf-c recurses as deep as the message says, and memory per byte of input is not bounded
 * either (a list of empty messages), so depth is measured before, and memory while unpacking. */

static bool pass_varint(const unsigned char **p, const unsigned char *end, uint64_t *v)
{
	*v = 0;
	for (int shift = 0; shift < 70 && *p < end; shift += 7) {
		unsigned char c = *(*p)++;

		if (shift < 64)
			*v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return true;
	}
	return false;
}

static bool depth_ok(const ProtobufCMessageDescriptor *desc, const unsigned char *p, size_t n,
		     unsigned int depth);

static bool field_ok(const ProtobufCMessageDescriptor *desc, const unsigned char **p,
		     const unsigned char *end, unsigned int depth)
{
	const ProtobufCFieldDescriptor *field;
	uint64_t tag, n;

	if (!pass_varint(p, end, &tag))
		return false;
	switch (tag & 7) {
	case PROTOBUF_C_WIRE_TYPE_VARINT:
		return pass_varint(p, end, &n);
	case PROTOBUF_C_WIRE_TYPE_64BIT:
		n = 8;
		break;
	case PROTOBUF_C_WIRE_TYPE_32BIT:
		n = 4;
		break;
	case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
		if (!pass_varint(p, end, &n))
			return false;
		break;
	default:
		return false;
	}
	if (n > (uint64_t)(end - *p))
		return false;
	field = protobuf_c_message_descriptor_get_field(desc, tag >> 3);
	if ((tag & 7) == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED && field &&
	    field->type == PROTOBUF_C_TYPE_MESSAGE &&
	    !depth_ok(field->descriptor, *p, n, depth + 1))
		return false;
	*p += n;
	return true;
}

static bool depth_ok(const ProtobufCMessageDescriptor *desc, const unsigned char *p, size_t n,
		     unsigned int depth)
{
	const unsigned char *end = p + n;

	if (depth > IMG_DEPTH_MAX)
		return false;
	while (p < end)
		if (!field_ok(desc, &p, end, depth))
			return false;
	return true;
}

static void *budget_alloc(void *left, size_t n)
{
	uint64_t *budget = left;

	if (n > *budget)
		return NULL;
	*budget -= n;
	return malloc(n ? n : 1);
}

static void budget_free(void *left, void *p)
{
	free(p);
}

ProtobufCMessage *img_unpack(const ProtobufCMessageDescriptor *desc, const void *data, size_t n)
{
	/* The leanest real entry grows about thirtyfold (a 4-byte sysctl). */
	uint64_t budget = 64 * (uint64_t)n + BUDGET_BASE;
	ProtobufCAllocator allocator = { budget_alloc, budget_free, &budget };

	if (!depth_ok(desc, data, n, 0))
		return NULL;
	return protobuf_c_message_unpack(desc, &allocator, n, data);
}
