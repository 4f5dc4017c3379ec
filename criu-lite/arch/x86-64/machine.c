/* machine.c - describing and comparing processors, kernels and vdsos. */
#include "criu-lite/arch/x86-64/machine.h"
#include "base/mem.h"
#include "criu-lite/proc/maps.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <xxhash.h>

static const struct {
	unsigned bit;
	const char *name;
} xfeature_names[] = {
	{ 0, "x87" },
	{ 1, "SSE" },
	{ 2, "AVX" },
	{ 3, "MPX bounds" },
	{ 4, "MPX csr" },
	{ 5, "AVX-512 opmask" },
	{ 6, "AVX-512 upper halves" },
	{ 7, "AVX-512 high registers" },
	{ 9, "PKRU" },
	{ 17, "AMX configuration" },
	{ 18, "AMX tiles" },
};

static uint64_t xcr0(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return 3;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

static uint32_t xsave_size(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid_count(0xd, 0, &a, &b, &c, &d))
		return 512;
	return b;
}

int machine_vdso(struct vdso_place *v, struct err *err)
{
	scoped_proc self = NULL;
	scoped struct proc_vma *vma = NULL;
	size_t n = 0;
	int rc = proc_open(&self, NULL, getpid(), err);

	if (!rc)
		rc = proc_maps_read(self, &vma, &n, err);
	if (rc < 0)
		return rc;
	*v = (struct vdso_place) {};
	for (size_t i = 0; i < n; i++) {
		const struct proc_vma *m = &vma[i];

		if (!m->path || (strncmp(m->path, "[vvar", 5) && strcmp(m->path, "[vdso]")))
			continue;
		if (!v->start)
			v->start = m->start;
		v->end = m->end;
		if (!strcmp(m->path, "[vdso]")) {
			v->vdso = m->start;
			v->vdso_end = m->end;
		}
	}
	if (!v->vdso)
		return err_set(err, ERR_REFUSED, "this kernel maps no vdso");
	return 0;
}

static int read_boot_id(char **out, struct err *err)
{
	scoped_fd fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 36)
		return err_errno(err, "reading the kernel's boot id");
	text[36] = 0;
	*out = xstrdup(text);
	return 0;
}

int machine_describe(SdCheckpoint *c, struct err *err)
{
	struct vdso_place v;
	struct utsname u;
	int rc = machine_vdso(&v, err);

	if (!rc)
		rc = read_boot_id(&c->boot_id, err);
	if (rc < 0)
		return rc;
	uname(&u);
	c->kernel_release = xstrdup(u.release);
	c->machine = xstrdup(u.machine);
	c->has_xfeatures = c->has_xsave_size = c->has_vdso_size = c->has_vdso_hash = true;
	c->xfeatures = xcr0();
	c->xsave_size = xsave_size();
	c->vdso_size = v.vdso_end - v.vdso;
	c->vdso_hash = XXH3_64bits((const void *)(uintptr_t)v.vdso, c->vdso_size);
	return 0;
}

static int check_processor(const SdCheckpoint *c, struct err *err)
{
	uint64_t lacks = c->xfeatures & ~xcr0();

	if (!c->has_xfeatures || !lacks)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(xfeature_names); i++)
		if (lacks >> xfeature_names[i].bit & 1)
			return err_set(err, ERR_REFUSED,
				       "the checkpoint was made on a processor with %s (xstate "
				       "component %u), which this one does not have",
				       xfeature_names[i].name, xfeature_names[i].bit);
	return err_set(err, ERR_REFUSED,
		       "the checkpoint was made on a processor with xstate components %#llx that "
		       "this one does not have",
		       (unsigned long long)lacks);
}

int machine_check(const SdCheckpoint *c, struct err *err)
{
	struct vdso_place v;
	struct utsname u;
	int rc = check_processor(c, err);

	if (!rc)
		rc = machine_vdso(&v, err);
	if (rc < 0)
		return rc;
	uname(&u);
	if (c->machine && strcmp(c->machine, u.machine))
		return err_set(err, ERR_REFUSED, "the checkpoint is for %s, this machine is %s",
			       c->machine, u.machine);
	if (!c->has_vdso_hash || !c->has_vdso_size)
		return 0;
	if (c->vdso_size != v.vdso_end - v.vdso ||
	    c->vdso_hash != XXH3_64bits((const void *)(uintptr_t)v.vdso, c->vdso_size))
		return err_set(
			err, ERR_REFUSED,
			"the vdso of kernel %s, where the checkpoint was made, is not the vdso "
			"of this kernel (%s): restore it under the kernel it comes from",
			c->kernel_release, u.release);
	return 0;
}
