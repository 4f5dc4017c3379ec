/* img_chain.c - any bytes as criu-lite.img, as DIR/armed and as the parent link. */
#include "img_fuzz.h"

#include "images/chain.h"

#include <xxhash.h>

/* With a right head and seal: the damage is in what is said, not in how it is kept. */
static void put_sealed(int dirfd, const char *name, const uint8_t *data, size_t size)
{
	uint32_t head[2] = { IMG_COMMON_MAGIC, img_family_of(name)->magic };
	uint32_t n = size;
	uint8_t *all = malloc(sizeof(head) + sizeof(n) + size + 8);
	size_t at = sizeof(head) + sizeof(n) + size;
	XXH64_hash_t sum;

	memcpy(all, head, sizeof(head));
	memcpy(all + sizeof(head), &n, sizeof(n));
	memcpy(all + sizeof(head) + sizeof(n), data, size);
	sum = XXH3_64bits(all, at);
	memcpy(all + at, &sum, sizeof(sum));
	fuzz_put(dirfd, name, all, at + sizeof(sum), "", 0);
	free(all);
}

static void ignore(void *arg, const char *what)
{
}

static void use(uint32_t seq)
{
	struct chain_links links = {};
	struct chain *c = NULL;
	struct err err;

	if (!chain_open(&c, fuzz_path, CHAIN_READ, &err)) {
		if (!chain_follow(&links, chain_dirfd(c), seq, &err))
			chain_check(&links, &err);
		if (links.n > 3)
			abort();
		chain_links_release(&links);
		chain_verify(chain_dirfd(c), seq, ignore, NULL, &err);
	}
	chain_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char link[32] = "../1";
	SdArmed *armed;
	struct err err;
	int fd;

	for (int i = 1; i <= 3; i++)
		mkdirat(fuzz_dir(), (char[]) { '0' + i, 0 }, 0700);
	fd = openat(fuzz_dir(), "2", O_RDONLY | O_DIRECTORY);
	unlinkat(fd, "parent", 0);
	if (size && data[0] < sizeof(link) && size > data[0]) {
		memset(link, 0, sizeof(link));
		memcpy(link, data + 1, data[0]);
		size -= data[0] + 1;
		data += data[0] + 1;
	}
	if (*link && symlinkat(link, fd, "parent") < 0)
		abort();
	put_sealed(fd, "criu-lite.img", data, size);
	put_sealed(fuzz_dir(), "armed", data, size);
	close(fd);
	use(2);
	if (!chain_armed_read(&armed, fuzz_dir(), &err))
		sd_armed__free_unpacked(armed, NULL);
	return 0;
}
