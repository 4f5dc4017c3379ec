/* seccomp.c - read a thread's filters and run them as the kernel does. */
#include "criu-lite/remote/seccomp.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>

#define MAX_FILTERS 4096 /* the kernel's limit is 32768 instructions in all */

/* struct seccomp_metadata of linux/ptrace.h, which clashes with sys/ptrace.h */
struct metadata {
	uint64_t filter_off, flags;
};

static int read_filter(pid_t tid, size_t i, struct seccomp_filter *out)
{
	struct metadata meta = { .filter_off = i };
	long n = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, i, NULL);

	if (n < 0)
		return -errno;
	if (n > BPF_MAXINSNS)
		return -E2BIG;
	*out = (struct seccomp_filter) {
		.insn = xcalloc((size_t)n, sizeof(*out->insn)),
		.n = (size_t)n,
	};
	if (ptrace(PTRACE_SECCOMP_GET_FILTER, tid, i, out->insn) < 0) {
		int rc = -errno;

		free(out->insn);
		return rc;
	}
	if (ptrace(PTRACE_SECCOMP_GET_METADATA, tid, sizeof(meta), &meta) >= 0)
		out->flags = meta.flags;
	return 0;
}

int seccomp_read(pid_t tid, struct seccomp_filters *out, struct err *err)
{
	struct seccomp_filters got = { .mode = SECCOMP_MODE_FILTER };
	struct seccomp_filter f;
	size_t cap = 0;
	int rc = 0;

	while (got.n < MAX_FILTERS && (rc = read_filter(tid, got.n, &f)) == 0)
		ARRAY_PUSH(got.filter, got.n, cap, f);
	/* EINVAL: not under filters. Past the last one the kernel says ENOENT. */
	if (rc == -EINVAL && !got.n)
		got.mode = SECCOMP_MODE_DISABLED;
	else if (rc < 0 && rc != -ENOENT) {
		seccomp_release(&got);
		return err_code(err, rc, "reading the seccomp filters of thread %d", tid);
	}
	*out = got;
	return 0;
}

void seccomp_release(struct seccomp_filters *filters)
{
	for (size_t i = 0; i < filters->n; i++)
		free(filters->filter[i].insn);
	free(filters->filter);
	*filters = (struct seccomp_filters) {};
}

/* --- the machine of linux/bpf_common.h, as far as seccomp allows it ----------------- */

struct machine {
	uint32_t a, x;
	uint32_t mem[BPF_MEMWORDS];
	const struct seccomp_data *data;
	bool bad; /* the kernel's checker would not have taken this program */
};

static uint32_t load(struct machine *m, uint32_t at)
{
	uint32_t word;

	if (at % sizeof(word) || at > sizeof(*m->data) - sizeof(word)) {
		m->bad = true;
		return 0;
	}
	memcpy(&word, (const char *)m->data + at, sizeof(word));
	return word;
}

static uint32_t load_mem(struct machine *m, uint32_t k)
{
	m->bad |= k >= BPF_MEMWORDS;
	return m->bad ? 0 : m->mem[k];
}

static void store_mem(struct machine *m, uint32_t k, uint32_t value)
{
	m->bad |= k >= BPF_MEMWORDS;
	if (!m->bad)
		m->mem[k] = value;
}

static uint32_t loaded(struct machine *m, const struct sock_filter *f)
{
	switch (BPF_MODE(f->code)) {
	case BPF_IMM:
		return f->k;
	case BPF_MEM:
		return load_mem(m, f->k);
	case BPF_LEN:
		return sizeof(*m->data);
	case BPF_ABS:
		return load(m, f->k);
	default:
		m->bad = true;
		return 0;
	}
}

static uint32_t divided(struct machine *m, uint32_t a, uint32_t by, bool modulo)
{
	m->bad |= by == 0;
	if (m->bad)
		return 0;
	return modulo ? a % by : a / by;
}

static uint32_t computed(struct machine *m, const struct sock_filter *f)
{
	uint32_t a = m->a, v = BPF_SRC(f->code) == BPF_X ? m->x : f->k;

	switch (BPF_OP(f->code)) {
	case BPF_ADD:
		return a + v;
	case BPF_SUB:
		return a - v;
	case BPF_MUL:
		return a * v;
	case BPF_DIV:
	case BPF_MOD:
		return divided(m, a, v, BPF_OP(f->code) == BPF_MOD);
	case BPF_AND:
		return a & v;
	case BPF_OR:
		return a | v;
	case BPF_XOR:
		return a ^ v;
	case BPF_LSH:
		return v < 32 ? a << v : 0;
	case BPF_RSH:
		return v < 32 ? a >> v : 0;
	case BPF_NEG:
		return -a;
	default:
		m->bad = true;
		return 0;
	}
}

static size_t jump(struct machine *m, const struct sock_filter *f)
{
	uint32_t v = BPF_SRC(f->code) == BPF_X ? m->x : f->k;

	switch (BPF_OP(f->code)) {
	case BPF_JA:
		return f->k;
	case BPF_JEQ:
		return m->a == v ? f->jt : f->jf;
	case BPF_JGT:
		return m->a > v ? f->jt : f->jf;
	case BPF_JGE:
		return m->a >= v ? f->jt : f->jf;
	case BPF_JSET:
		return m->a & v ? f->jt : f->jf;
	default:
		m->bad = true;
		return 0;
	}
}

/* One instruction that is no return. Jumps go forward only, so every program ends. */
static size_t execute(struct machine *m, const struct sock_filter *f)
{
	switch (BPF_CLASS(f->code)) {
	case BPF_LD:
		m->a = loaded(m, f);
		break;
	case BPF_LDX:
		m->bad |= BPF_MODE(f->code) == BPF_ABS;
		m->x = loaded(m, f);
		break;
	case BPF_ST:
		store_mem(m, f->k, m->a);
		break;
	case BPF_STX:
		store_mem(m, f->k, m->x);
		break;
	case BPF_ALU:
		m->a = computed(m, f);
		break;
	case BPF_JMP:
		return jump(m, f);
	default: /* BPF_MISC */
		if (BPF_MISCOP(f->code) == BPF_TAX)
			m->x = m->a;
		else
			m->a = m->x;
	}
	return 0;
}

uint32_t seccomp_run(const struct sock_filter *insn, size_t n, const struct seccomp_data *data)
{
	struct machine m = { .data = data };

	for (size_t pc = 0; pc < n && !m.bad; pc++) {
		const struct sock_filter *f = &insn[pc];

		if (BPF_CLASS(f->code) == BPF_RET)
			return BPF_RVAL(f->code) == BPF_A ? m.a : f->k;
		pc += execute(&m, f);
	}
	return SECCOMP_RET_KILL_PROCESS;
}

bool seccomp_allows(const struct seccomp_filters *filters, const struct seccomp_data *data)
{
	if (filters->mode == SECCOMP_MODE_STRICT)
		return false;
	for (size_t i = 0; i < filters->n; i++) {
		const struct seccomp_filter *f = &filters->filter[i];
		uint32_t action = seccomp_run(f->insn, f->n, data) & SECCOMP_RET_ACTION_FULL;

		if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG)
			return false;
	}
	return true;
}
