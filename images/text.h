/*
 * text - any message, and any image file, for people and for programs.
 *
 * Walks the descriptors that protobuf-c generates, so that a new field needs no
 * code here. Addresses, masks and the like are hexadecimal, bytes as well.
 */
#ifndef IMAGES_TEXT_H
#define IMAGES_TEXT_H

#include "images/img.h"

#include <jansson.h>
#include <stdio.h>

/*
 * A new reference. Hexadecimal fields are strings ("0x7f..."), as are numbers that a JSON
 * integer of 64 bits with sign cannot hold; text that is not UTF-8 becomes {"hex": "..."}.
 */
json_t *text_json(const ProtobufCMessage *m);
/* Bytes that one value of @f takes in its message, or in an array. */
size_t text_value_size(const ProtobufCFieldDescriptor *f);
/* One field a line, nested messages indented by @depth tabs. */
void text_print(FILE *out, const ProtobufCMessage *m, unsigned int depth);

/*
 * A whole image, whatever its family. JSON: {"file": name, "entries": [...]}, where an entry that
 * raw bytes follow has "payload_bytes"; a raw file is {"file": name, "raw_bytes": size}.
 */
int text_image_json(json_t **out, int dirfd, const char *name, struct err *err);
int text_image_print(FILE *out, int dirfd, const char *name, struct err *err);

#endif
