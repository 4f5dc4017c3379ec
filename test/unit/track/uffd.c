/* uffd.c - memory that is to be filled takes pages once, and nothing else until it is let go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "criu-lite/track/uffd.h"

enum { PAGE = 4096, PAGES = 4 };

static char page_a[PAGE], page_b[PAGE];

static int write_from_outside(char *to, const char *from)
{
	struct iovec local = { (void *)from, PAGE }, remote = { to, PAGE };

	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == PAGE ? 0 : -errno;
}

static int open_one(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	assert_true(fd >= 0);
	assert_int_equal(uffd_init(fd, 0), 0);
	return fd;
}

static void filled_once(void **state)
{
	char *m = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	uint64_t at = (uintptr_t)m;
	int fd = open_one();

	memset(page_a, 'a', PAGE);
	memset(page_b, 'b', PAGE);
	assert_int_equal(uffd_register_empty(fd, at, at + PAGES * PAGE), 0);
	assert_int_equal(uffd_copy(fd, at + PAGE, page_a, PAGE), PAGE);
	assert_int_equal(uffd_copy(fd, at + PAGE, page_b, PAGE), 0);
	assert_memory_equal(m + PAGE, page_a, PAGE);

	assert_int_equal(write_from_outside(m + 2 * PAGE, page_b), -EFAULT);
	assert_int_equal(uffd_unregister(fd, at + PAGE, at + 3 * PAGE), 0);
	assert_int_equal(write_from_outside(m + PAGE, page_b), 0);
	assert_int_equal(write_from_outside(m + 2 * PAGE, page_b), 0);
	assert_memory_equal(m + PAGE, page_b, PAGE);
	assert_memory_equal(m + 2 * PAGE, page_b, PAGE);

	/* The last is still registered; closing lets it go. */
	close(fd);
	assert_int_equal(write_from_outside(m + 3 * PAGE, page_b), 0);
	munmap(m, PAGES * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filled_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
