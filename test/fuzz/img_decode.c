/* img_decode.c - any bytes as an image of any family, decoded, printed and made JSON. */
#include "img_fuzz.h"

#include "images/text.h"

#include <xxhash.h>

static void name_of(const struct img_family *f, char *name, size_t n)
{
	const char *percent = strchr(f->pattern, '%');

	snprintf(name, n, "%s", f->pattern);
	if (percent)
		snprintf(name + (percent - f->pattern), n - (percent - f->pattern), "%s%s",
			 percent[1] == 's' ? "a" : "1", percent + 2);
}

/* A proper head, and a proper seal, so that bytes reach the decoder. */
static void write_image(const struct img_family *f, const char *name, const uint8_t *data,
			size_t size)
{
	uint32_t head[2] = { f->head == IMG_HEAD_SERVICE ? IMG_SERVICE_MAGIC : IMG_COMMON_MAGIC,
			     f->magic };
	size_t skip = f->head == IMG_HEAD_TYPE ? 4 : 0;
	size_t n = f->head == IMG_HEAD_NONE ? 0 : sizeof(head) - skip;
	uint8_t *all = malloc(n + size + 8);

	memcpy(all, (uint8_t *)head + skip, n);
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
	size_t families = 0;
	json_t *j = NULL;
	char name[64];
	struct err err;
	int text, json;

	if (!null)
		null = fopen("/dev/null", "w");
	while (img_families[families].pattern)
		families++;
	if (!size)
		return 0;
	name_of(&img_families[data[0] % families], name, sizeof(name));
	write_image(&img_families[data[0] % families], name, data + 1, size - 1);
	text = text_image_print(null, fuzz_dir(), name, &err);
	json = text_image_json(&j, fuzz_dir(), name, &err);
	json_decref(j);
	if (text != json)
		abort();
	return 0;
}
