/* img_decode.c - any bytes as an image of any family, decoded, printed and made JSON. */
#include "img_fuzz.h"
#include "img_archive.h"

#include "images/text.h"

#include <xxhash.h>

/* A proper head, and a proper seal, so that bytes reach the decoder. */
static void write_image(const struct img_family *f, const char *name, const uint8_t *data,
			size_t size)
{
	uint32_t head[2];
	size_t n = archive_magic(f, head);
	uint8_t *all = malloc(n + size + 8);

	memcpy(all, head, n);
	memcpy(all + n, data, size);
	n += size;
	if (f->sealed) {
		XXH64_hash_t sum = XXH3_64bits(all, n);

		memcpy(all + n, &sum, sizeof(sum));
		n += sizeof(sum);
	}
	fuzz_put(fuzz_dir(), name, all, n, "", 0);
	free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *null;
	const struct img_family *f;
	json_t *j = NULL;
	char name[64];
	struct err err;
	int text, json;

	if (!null)
		null = fopen("/dev/null", "w");
	if (!size)
		return 0;
	f = &img_families[data[0] % archive_families()];
	archive_name(f, 1, name, sizeof(name));
	write_image(f, name, data + 1, size - 1);
	text = text_image_print(null, fuzz_dir(), name, &err);
	json = text_image_json(&j, fuzz_dir(), name, &err);
	json_decref(j);
	if (text != json)
		abort();
	return 0;
}
