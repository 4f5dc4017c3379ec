/* xstate.c - the extended registers in their standard-format area. */
#include "criu-lite/arch/x86-64/xstate.h"
#include "base/mem.h"
#include "criu-lite/arch/x86-64/cpu.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define LEGACY_LEN 512
#define HEADER_LEN 64
#define SW_BYTES   464 /* in the legacy part: the kernel shows XCR0 there */
#define SSE_BIT	   1
#define PKRU_BIT   9
#define AMX_BITS   ((1ull << 17) | (1ull << 18))
#define X87_SSE	   3ull

/* The legacy part, as FXSAVE writes it. */
struct fxsave {
	uint16_t cwd, swd, twd, fop;
	uint64_t rip, rdp;
	uint32_t mxcsr, mxcsr_mask;
	uint32_t st_space[32];
	uint32_t xmm_space[64];
	uint32_t padding[24];
};
_Static_assert(sizeof(struct fxsave) == LEGACY_LEN, "hardware layout");

static const char *const feature_names[] = {
	"x87",
	"SSE",
	"AVX",
	"MPX bounds",
	"MPX config",
	"AVX-512 masks",
	"AVX-512 upper halves",
	"AVX-512 upper registers",
	"PT",
	"PKRU",
	"PASID",
	"CET user state",
	"CET kernel state",
	"HDC",
	"UINTR",
	"LBR",
	"HWP",
	"AMX tile config",
	"AMX tile data",
	"APX",
};

/* The slices that image messages have an array for. */
static const struct {
	unsigned int nr;   /* of the feature */
	unsigned int word; /* bytes an element */
	unsigned int n;	   /* elements */
	size_t at_n, at_v; /* in UserX86XsaveEntry */
} slices[] = {
#define SLICE(nr, word, n, name)                                                                   \
	{                                                                                          \
		nr, word, n, offsetof(UserX86XsaveEntry, n_##name),                                \
			offsetof(UserX86XsaveEntry, name)                                          \
	}
	SLICE(2, 4, 64, ymmh_space), SLICE(3, 8, 8, bndreg_state), SLICE(4, 8, 8, bndcsr_state),
	SLICE(5, 8, 8, opmask_reg),  SLICE(6, 8, 64, zmm_upper),   SLICE(7, 8, 128, hi16_zmm),
	SLICE(9, 4, 2, pkru),
};

const char *xstate_feature_name(unsigned int nr)
{
	return nr < ARRAY_SIZE(feature_names) ? feature_names[nr] : "an unknown feature";
}

static size_t slice_len(size_t i)
{
	return (size_t)slices[i].n * slices[i].word;
}

/* --- the layout ------------------------------------------------------------------ */

void xstate_layout_ask(struct xstate_layout *out, const struct xstate_processor *cpu)
{
	uint32_t r[CPUID_REGS];

	*out = (struct xstate_layout) { .features = X87_SSE };
	if (!cpu->cpuid(1, 0, r) || !(r[ECX] & bit_OSXSAVE) || !cpu->cpuid(0xd, 0, r))
		return;
	out->xsave = true;
	out->features = cpu->xcr0();
	/* Those enabled by the system; state of the kernel's own has no place in user areas. */
	for (unsigned int nr = 2; nr < ARRAY_SIZE(out->component); nr++) {
		if (!(out->features >> nr & 1) || !cpu->cpuid(0xd, nr, r) || r[ECX] & 1)
			continue;
		out->component[nr].at = r[EBX];
		out->component[nr].len = r[EAX];
	}
}

static int check_component(const struct xstate_layout *l, unsigned int nr, size_t want,
			   struct err *err)
{
	size_t at = l->component[nr].at, len = l->component[nr].len;

	if (!(l->features >> nr & 1) ||
	    (len >= want && at >= LEGACY_LEN + HEADER_LEN && at + len <= XSTATE_MAX))
		return 0;
	return err_set(err, ERR_REFUSED,
		       "this processor has registers for %s in a layout that is not known (%zu "
		       "bytes at %zu, not %zu)",
		       xstate_feature_name(nr), len, at, want);
}

int xstate_layout_check(const struct xstate_layout *l, struct err *err)
{
	int rc = 0;

	if (!l->xsave)
		return err_set(err, ERR_REFUSED,
			       "this processor has no XSAVE, or its kernel does not use it: "
			       "extended registers cannot be saved or brought back");
	for (size_t i = 0; !rc && i < ARRAY_SIZE(slices); i++)
		rc = check_component(l, slices[i].nr, slice_len(i), err);
	return rc;
}

/* --- this machine's ---------------------------------------------------------------- */

static uint64_t ask_xcr0(void)
{
	uint32_t a, d;

	__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return a | ((uint64_t)d << 32);
}

/*
 * Asked once: below a hypervisor each CPUID is an exit of tens of microseconds, and
 * every thread needs a dozen of these.
 */
static struct xstate_layout host;

static void ask_host(void)
{
	xstate_layout_ask(&host, &(struct xstate_processor) { cpu_ask, ask_xcr0 });
}

static void know_host(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, ask_host);
}

int xstate_host_check(struct err *err)
{
	know_host();
	return xstate_layout_check(&host, err);
}

/* Offset and length of feature @nr >= 2; false if the machine has none in user state. */
static bool component(unsigned int nr, size_t *at, size_t *len)
{
	know_host();
	*at = host.component[nr].at;
	*len = host.component[nr].len;
	return *len != 0;
}

uint64_t xstate_host_features(void)
{
	know_host();
	return host.features;
}

size_t xstate_len(uint64_t features)
{
	size_t end = LEGACY_LEN + HEADER_LEN, at, len;

	for (unsigned int nr = 2; nr < 63; nr++)
		if ((features >> nr & 1) && component(nr, &at, &len) && at + len > end)
			end = at + len;
	return end;
}

uint64_t xstate_in_use(const struct xstate *x)
{
	uint64_t bv;

	memcpy(&bv, x->area + LEGACY_LEN, sizeof(bv));
	return bv & x->features;
}

int xstate_check(pid_t tid, const struct xstate *x, struct err *err)
{
	size_t at, len;

	if (xstate_in_use(x) & AMX_BITS)
		return err_set(err, ERR_REFUSED, "thread %d: AMX registers are in use", tid);
	for (size_t i = 0; i < ARRAY_SIZE(slices); i++)
		if ((xstate_in_use(x) >> slices[i].nr & 1) &&
		    (!component(slices[i].nr, &at, &len) || at + len > x->len))
			return err_set(err, ERR_REFUSED,
				       "thread %d: registers of %s are in use, which are not in "
				       "the %zu bytes that the kernel shows",
				       tid, xstate_feature_name(slices[i].nr), x->len);
	return 0;
}

int xstate_get(pid_t tid, struct xstate *x, struct err *err)
{
	int rc;

	scoped uint8_t *area = xmalloc(XSTATE_MAX);
	struct iovec v = { area, XSTATE_MAX };
	struct xstate got = { .area = area };

	if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &v) < 0)
		return err_errno(err, "reading the extended registers of thread %d", tid);
	if (v.iov_len < LEGACY_LEN + HEADER_LEN || v.iov_len == XSTATE_MAX)
		return err_set(err, ERR_REFUSED, "thread %d: %zu bytes of extended registers", tid,
			       v.iov_len);
	memcpy(&got.features, area + SW_BYTES, sizeof(got.features));
	got.len = v.iov_len;
	rc = xstate_check(tid, &got, err);
	if (rc < 0)
		return rc;
	*x = (struct xstate) {
		.area = xmemdup(area, v.iov_len),
		.len = v.iov_len,
		.features = got.features,
	};
	return 0;
}

void xstate_release(struct xstate *x)
{
	free(x->area);
	*x = (struct xstate) {};
}

uint64_t xstate_frame_features(const struct xstate *x)
{
	/* PKRU in its initial state (0) is not what the kernel would give a frame without it. */
	return xstate_in_use(x) | X87_SSE | (x->features & (1ull << PKRU_BIT));
}

size_t xstate_frame_len(const struct xstate *x)
{
	return xstate_len(xstate_frame_features(x));
}

static void **array_of(UserX86XsaveEntry *xsave, size_t i)
{
	return (void **)((char *)xsave + slices[i].at_v);
}

static size_t *count_of(UserX86XsaveEntry *xsave, size_t i)
{
	return (size_t *)((char *)xsave + slices[i].at_n);
}

static UserX86XsaveEntry *xsave_of(const struct xstate *x)
{
	UserX86XsaveEntry *xsave = xmalloc(sizeof(*xsave));
	size_t at, len;

	user_x86_xsave_entry__init(xsave);
	xsave->xstate_bv = xstate_in_use(x);
	for (size_t i = 0; i < ARRAY_SIZE(slices); i++) {
		size_t want = slice_len(i);

		if (!(x->features >> slices[i].nr & 1) || !component(slices[i].nr, &at, &len) ||
		    at + len > x->len || len < want)
			continue;
		*array_of(xsave, i) = xmemdup(x->area + at, want);
		*count_of(xsave, i) = slices[i].n;
	}
	return xsave;
}

void xstate_to_entry(const struct xstate *x, UserX86FpregsEntry *e)
{
	struct fxsave fx;

	memcpy(&fx, x->area, sizeof(fx));
	e->cwd = fx.cwd;
	e->swd = fx.swd;
	e->twd = fx.twd;
	e->fop = fx.fop;
	e->rip = fx.rip;
	e->rdp = fx.rdp;
	e->mxcsr = fx.mxcsr;
	e->mxcsr_mask = fx.mxcsr_mask;
	free(e->st_space);
	free(e->xmm_space);
	e->st_space = xmemdup(fx.st_space, sizeof(fx.st_space));
	e->n_st_space = ARRAY_SIZE(fx.st_space);
	e->xmm_space = xmemdup(fx.xmm_space, sizeof(fx.xmm_space));
	e->n_xmm_space = ARRAY_SIZE(fx.xmm_space);
	if (e->xsave)
		user_x86_xsave_entry__free_unpacked(e->xsave, NULL);
	e->xsave = xsave_of(x);
}

static int legacy_from_entry(struct xstate *x, const UserX86FpregsEntry *e, struct err *err)
{
	struct fxsave fx = {
		.cwd = (uint16_t)e->cwd,
		.swd = (uint16_t)e->swd,
		.twd = (uint16_t)e->twd,
		.fop = (uint16_t)e->fop,
		.rip = e->rip,
		.rdp = e->rdp,
		.mxcsr = e->mxcsr & 0xffff, /* anything else faults in XRSTOR */
		.mxcsr_mask = e->mxcsr_mask,
	};

	if (e->n_st_space != ARRAY_SIZE(fx.st_space) || e->n_xmm_space != ARRAY_SIZE(fx.xmm_space))
		return err_set(err, -EINVAL, "fpregs: %zu x87 and %zu SSE words", e->n_st_space,
			       e->n_xmm_space);
	memcpy(fx.st_space, e->st_space, sizeof(fx.st_space));
	memcpy(fx.xmm_space, e->xmm_space, sizeof(fx.xmm_space));
	memcpy(x->area, &fx, sizeof(fx));
	memcpy(x->area + SW_BYTES, &x->features, sizeof(x->features));
	return 0;
}

static int slice_from_entry(struct xstate *x, UserX86XsaveEntry *xsave, size_t i, struct err *err)
{
	size_t n = *count_of(xsave, i), want = slice_len(i), at, len;
	unsigned int nr = slices[i].nr;

	if (n && n != slices[i].n)
		return err_set(err, -EINVAL, "fpregs: %zu words of %s, not %u", n,
			       xstate_feature_name(nr), slices[i].n);
	if (!(xsave->xstate_bv >> nr & 1))
		return 0;
	if (!n)
		return err_set(err, -EINVAL, "fpregs: %s is in use and missing",
			       xstate_feature_name(nr));
	if (!component(nr, &at, &len) || len < want || at + want > x->len)
		return err_set(err, ERR_REFUSED, "this processor has no room for %s",
			       xstate_feature_name(nr));
	memcpy(x->area + at, *array_of(xsave, i), want);
	return 0;
}

static int slices_from_entry(struct xstate *x, UserX86XsaveEntry *xsave, struct err *err)
{
	uint64_t known = X87_SSE, bv = xsave->xstate_bv | X87_SSE;

	for (size_t i = 0; i < ARRAY_SIZE(slices); i++)
		known |= 1ull << slices[i].nr;
	for (unsigned int nr = 0; nr < 64; nr++) {
		if (!(bv >> nr & 1) || (known & x->features) >> nr & 1)
			continue;
		return err_set(err, ERR_REFUSED, "it uses %s, which this machine cannot give back",
			       xstate_feature_name(nr));
	}
	for (size_t i = 0; i < ARRAY_SIZE(slices); i++) {
		int rc = slice_from_entry(x, xsave, i, err);

		if (rc < 0)
			return rc;
	}
	memcpy(x->area + LEGACY_LEN, &bv, sizeof(bv));
	return 0;
}

int xstate_from_entry(struct xstate *x, const UserX86FpregsEntry *entry, struct err *err)
{
	uint64_t features = xstate_host_features() & ~AMX_BITS;
	struct xstate made = {
		.features = features,
		.len = xstate_len(features),
	};
	uint64_t bv = X87_SSE;
	int rc;

	made.area = xcalloc(1, made.len);
	memcpy(made.area + LEGACY_LEN, &bv, sizeof(bv));
	rc = legacy_from_entry(&made, entry, err);
	if (rc == 0 && entry->xsave)
		rc = slices_from_entry(&made, entry->xsave, err);
	if (rc < 0) {
		xstate_release(&made);
		return rc;
	}
	*x = made;
	return 0;
}
