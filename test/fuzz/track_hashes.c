/* track_hashes.c - any bytes as a checkpoint's page hashes, used, and kept again. */
#include "img_fuzz.h"

#include "criu-lite/track/hashes.h"
#include "criu-lite/track/track.h"
#include "images/img.h"

#define NAME "criu-lite-hashes-7.img"

/* What was asked about must be answered the same from the file that is written of it. */
static void ask_again(const uint8_t *asked, size_t n, int two)
{
	static uint8_t page[IMG_PAGE_SIZE];
	struct hashes *h = NULL;

	if (hashes_load(&h, fuzz_dir(), 2, NULL) < 0)
		abort();
	for (size_t i = 0; i < n; i++) {
		memset(page, asked[i], sizeof(page));
		if (!hashes_same(h, 7, (uint64_t)(i + 1) << 12, page))
			abort();
	}
	hashes_free(h);
	unlinkat(two, NAME, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t head[] = { IMG_COMMON_MAGIC, 0x53484453 };
	static uint8_t page[IMG_PAGE_SIZE];
	static const uint64_t spot[] = { 0, 1ull << 12, 1ull << 46, 1ull << 63, UINT64_MAX - 4095 };
	size_t asked = size < 8 ? size : 8;
	struct hashes *h = NULL;
	int one, two;

	mkdirat(fuzz_dir(), "1", 0700);
	mkdirat(fuzz_dir(), "2", 0700);
	one = openat(fuzz_dir(), "1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	two = openat(fuzz_dir(), "2", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_put(one, NAME, head, sizeof(head), data, size);
	if (!hashes_load(&h, fuzz_dir(), 1, NULL)) {
		for (size_t i = 0; i < sizeof(spot) / sizeof(*spot); i++)
			hashes_same(h, TRACK_SHMEM | 7, spot[i], page);
		for (size_t i = 0; i < asked; i++) {
			memset(page, data[i], sizeof(page));
			hashes_same(h, 7, (uint64_t)(i + 1) << 12, page);
		}
		for (size_t i = 0; i < sizeof(spot) / sizeof(*spot); i++)
			hashes_same(h, 8, spot[i], page);
		if (hashes_write(h, two, NULL) < 0)
			abort();
		hashes_free(h);
		if (asked)
			ask_again(data, asked, two);
		unlinkat(two, "criu-lite-hashes-8.img", 0);
		unlinkat(two, "criu-lite-hashes-shmem-7.img", 0);
	}
	close(one);
	close(two);
	return 0;
}
