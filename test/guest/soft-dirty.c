/*
 * soft-dirty.c - does this kernel track written pages by soft-dirty? Writes 4
 * to clear_refs, stores to every third of 12 pages, and looks at bit 55 of
 * each pagemap entry (Documentation/admin-guide/mm/soft-dirty.rst).
 * Exits 0 when exactly the written ones are marked, 1 when not.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES = 12, PAGE = 4096 };

int main(void)
{
	int clear = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry[PAGES];
	int wrong = 0;
	char *m;

	m = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED || clear < 0 || pagemap < 0) {
		perror("set-up");
		return 1;
	}
	memset(m, 1, PAGES * PAGE);
	if (write(clear, "4", 1) != 1) {
		perror("clear_refs");
		return 1;
	}
	for (int i = 0; i < PAGES; i += 3)
		m[i * PAGE] = 2;
	if (pread(pagemap, entry, sizeof(entry), (uintptr_t)m / PAGE * sizeof(entry[0])) !=
	    sizeof(entry)) {
		perror("pagemap");
		return 1;
	}
	for (int i = 0; i < PAGES; i++) {
		int dirty = entry[i] >> 55 & 1;

		printf("page %2d %s %s\n", i, i % 3 ? "untouched" : "written  ",
		       dirty ? "dirty" : "clean");
		wrong += dirty != (i % 3 == 0);
	}
	return wrong ? 1 : 0;
}
