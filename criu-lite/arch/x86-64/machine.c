/* machine.c - describing and comparing processors, kernels and vdsos. */
#include "criu-lite/arch/x86-64/machine.h"
#include "base/mem.h"
#include "criu-lite/arch/x86-64/cpu.h"
#include "criu-lite/arch/x86-64/xstate.h"
#include "criu-lite/proc/maps.h"
#include "criu-lite/proc/values.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/utsname.h>
#include <xxhash.h>

int machine_vdso(struct vdso *v, struct err *err)
{
	scoped_proc self = NULL;
	scoped struct proc_vma *vma = NULL;
	size_t n = 0;
	int rc = proc_open(&self, NULL, getpid(), err);

	if (!rc)
		rc = proc_maps_read(self, &vma, &n, err);
	if (rc < 0)
		return rc;
	*v = (struct vdso) {};
	for (size_t i = 0; i < n; i++) {
		bool code = vma[i].path && !strcmp(vma[i].path, "[vdso]");
		struct vdso_piece *p = &v->piece[v->n];

		if (!code && (!vma[i].path || strncmp(vma[i].path, "[vvar", 5)))
			continue;
		if (v->n == ARRAY_SIZE(v->piece))
			return err_set(err, ERR_REFUSED, "a vdso in more pieces than are known");
		*p = (struct vdso_piece) {
			.start = vma[i].start,
			.len = vma[i].end - vma[i].start,
			.offset = v->n ? vma[i].start - v->piece[0].start : 0,
		};
		v->len = p->offset + p->len;
		v->n++;
		if (code)
			v->code = p;
	}
	return 0;
}

/* The vdso's code, of which there is a hash in every checkpoint. */
static int find_code(struct vdso *v, struct err *err)
{
	int rc = machine_vdso(v, err);

	if (!rc && !v->code)
		rc = err_set(err, ERR_REFUSED, "this kernel maps no vdso");
	return rc;
}

static uint64_t code_hash(const struct vdso *v)
{
	return XXH3_64bits((const void *)(uintptr_t)v->code->start, v->code->len);
}

static void describe_processor(SdCheckpoint *c)
{
	size_t n;
	scoped const char **name = cpu_features(&n);

	c->has_xfeatures = c->has_xsave_size = true;
	c->xfeatures = xstate_host_features();
	c->xsave_size = xstate_len(c->xfeatures);
	c->cpu_features = xcalloc(n, sizeof(*c->cpu_features));
	for (size_t i = 0; i < n; i++)
		c->cpu_features[c->n_cpu_features++] = xstrdup(name[i]);
}

int machine_describe(SdCheckpoint *c, struct err *err)
{
	struct vdso v;
	struct utsname u;
	int rc = find_code(&v, err);

	if (!rc)
		rc = proc_boot_id_read(&c->boot_id, err);
	if (rc < 0)
		return rc;
	if (uname(&u) < 0)
		return err_errno(err, "asking for the name of this machine");
	c->kernel_release = xstrdup(u.release);
	c->machine = xstrdup(u.machine);
	describe_processor(c);
	c->has_vdso_size = c->has_vdso_hash = true;
	c->vdso_size = v.code->len;
	c->vdso_hash = code_hash(&v);
	return 0;
}

/* One after the other, each behind a blank. */
static void add_word(char **list, const char *word)
{
	char *longer = xasprintf("%s %s", *list ? *list : "", word);

	free(*list);
	*list = longer;
}

static void check_processor(const SdCheckpoint *c, struct refusals *r)
{
	scoped char *missing = NULL;

	for (size_t i = 0; i < c->n_cpu_features; i++)
		if (!cpu_has(c->cpu_features[i]))
			add_word(&missing, c->cpu_features[i]);
	if (missing)
		refuse(r, "the processor where the checkpoint was made has what this one lacks:%s",
		       missing);
}

static bool had(const SdCheckpoint *c, const char *feature)
{
	for (size_t i = 0; i < c->n_cpu_features; i++)
		if (!strcmp(c->cpu_features[i], feature))
			return true;
	return false;
}

/*
 * Fewer registers cannot hold what was in them. More are a danger: the dynamic linker
 * saves all that there are with XSAVE around each first call of a function, into as much
 * stack as the registers took when the program started. XSAVEC leaves out what is not in use.
 */
static void check_registers(const SdCheckpoint *c, struct refusals *r)
{
	uint64_t here = xstate_host_features();
	uint64_t less = c->xfeatures & ~here, more = here & ~c->xfeatures;
	struct err why = {};

	if (xstate_host_check(&why) < 0)
		refuse(r, "%s", why.text);
	if (!c->has_xfeatures)
		return;
	if (had(c, "xsavec"))
		more = 0;
	for (unsigned int nr = 0; nr < 64; nr++) {
		if (less >> nr & 1)
			refuse(r, "this processor has no registers for %s (xstate component %u)",
			       xstate_feature_name(nr), nr);
		if (more >> nr & 1)
			refuse(r,
			       "this processor has registers for %s (xstate component %u), for "
			       "which the programs have left no room",
			       xstate_feature_name(nr), nr);
	}
}

static void check_kernel(const SdCheckpoint *c, const struct vdso *v, struct refusals *r)
{
	struct utsname u;

	if (uname(&u) < 0) {
		refuse(r, "this machine does not tell its name: %s", strerror(errno));
		return;
	}
	if (c->machine && strcmp(c->machine, u.machine))
		refuse(r, "the checkpoint is for %s, this machine is %s", c->machine, u.machine);
	if (!c->has_vdso_hash || !c->has_vdso_size)
		return;
	if (c->vdso_size == v->code->len && c->vdso_hash == code_hash(v))
		return;
	if (c->kernel_release && !strcmp(c->kernel_release, u.release))
		refuse(r,
		       "the vdso of kernel %s is another one here: the kernel patches it to suit "
		       "the processor",
		       u.release);
	else
		refuse(r,
		       "the vdso of kernel %s, where the checkpoint was made, is not the vdso "
		       "of this kernel (%s): restore it under the kernel it comes from",
		       c->kernel_release ? c->kernel_release : "unknown", u.release);
}

int machine_check(const SdCheckpoint *c, struct err *err)
{
	struct refusals r = {};
	struct vdso v;
	int rc = find_code(&v, err);

	if (rc < 0)
		return rc;
	check_processor(c, &r);
	check_registers(c, &r);
	check_kernel(c, &v, &r);
	rc = refusals_result(&r, err);
	refusals_release(&r);
	return rc;
}
