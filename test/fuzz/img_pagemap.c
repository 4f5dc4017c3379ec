/* img_pagemap.c - any bytes as a pagemap, beside a pages file of some length. */
#include "img_fuzz.h"

#include "images/pagemap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t head[] = { IMG_COMMON_MAGIC, 0x56084025 };
	/* pagemap_head { pages_id: 1 } */
	static const uint8_t first[] = { 2, 0, 0, 0, 0x08, 1 };
	uint8_t whole[sizeof(head) + sizeof(first)];
	struct pagemap p = {};
	struct err err;
	uint64_t end = 0, bytes;

	if (!size)
		return 0;
	bytes = (uint64_t)data[0] * IMG_PAGE_SIZE;
	memcpy(whole, head, sizeof(head));
	memcpy(whole + sizeof(head), first, sizeof(first));
	fuzz_put(fuzz_dir(), "pagemap-1.img", whole, sizeof(whole), data + 1, size - 1);
	fuzz_grow(fuzz_dir(), "pages-1.img", bytes);
	if (!pagemap_load(&p, fuzz_dir(), "pagemap-1.img", &err)) {
		for (size_t i = 0; i < p.n; i++) {
			const struct pagemap_run *r = &p.run[i];
			uint64_t len = r->nr_pages * IMG_PAGE_SIZE;

			if (!r->nr_pages || r->vaddr % IMG_PAGE_SIZE || r->vaddr < end ||
			    r->vaddr + len > PAGEMAP_END)
				abort();
			if (r->flags & PAGE_PRESENT && r->offset + len > bytes)
				abort();
			if (pagemap_find(&p, r->vaddr + len - 1) != r)
				abort();
			end = r->vaddr + len;
		}
	}
	pagemap_release(&p);
	return 0;
}
