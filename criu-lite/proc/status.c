/* status.c - /proc/PID/status: one row a line that we know. */
#include "criu-lite/proc/status.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "criu-lite/proc/text.h"

#define AT(field) offsetof(struct proc_status, field)

/* Take the value of a line, blanks in front passed over, into the field at @to. */
typedef bool take_fn(struct text *t, void *to);

static bool take_name(struct text *t, void *to)
{
	return text_unescape(t, to, sizeof(((struct proc_status *)0)->name));
}

static bool take_letter(struct text *t, void *to)
{
	if (t->p == t->end)
		return false;
	*(char *)to = *t->p;
	t->p = t->end; /* "(sleeping)" */
	return true;
}

static bool take_u32(struct text *t, void *to)
{
	return text_u32(t, to);
}

static bool take_oct(struct text *t, void *to)
{
	return text_oct32(t, to);
}

static bool take_i32(struct text *t, void *to)
{
	return text_i32(t, to);
}

static bool take_hex(struct text *t, void *to)
{
	return text_hex(t, to);
}

static bool take_0xhex(struct text *t, void *to)
{
	return text_word(t, "0x") && text_hex(t, to);
}

static bool take_kb(struct text *t, void *to)
{
	return text_dec(t, to) && text_word(t, " kB");
}

static bool take_bool(struct text *t, void *to)
{
	uint32_t v;

	if (!text_u32(t, &v) || v > 1)
		return false;
	*(bool *)to = v;
	return true;
}

static bool take_ids(struct text *t, void *to)
{
	uint32_t *ids = to;

	for (int i = 0; i < 4; i++) {
		if (!text_blanks(t) || !text_u32(t, &ids[i]))
			return false;
	}
	return true;
}

/* "0/96365"; the field after sigq is its limit. */
static bool take_sigq(struct text *t, void *to)
{
	uint64_t *q = to;

	return text_dec(t, &q[0]) && text_char(t, '/') && text_dec(t, &q[1]);
}
_Static_assert(AT(sigq_limit) == AT(sigq) + sizeof(uint64_t), "take_sigq fills both");

/* One number a pid namespace, innermost last. */
static bool take_last(struct text *t, void *to)
{
	do {
		if (!text_i32(t, to))
			return false;
		text_blanks(t);
	} while (t->p < t->end);
	return true;
}

static bool take_nspid(struct text *t, void *to)
{
	struct proc_status *s = to;
	struct text first = *t;
	int32_t outer;

	if (!text_i32(&first, &outer))
		return false;
	s->nested = !text_done(&first);
	return take_last(t, &s->ns_pid);
}

static bool take_groups(struct text *t, void *to)
{
	struct proc_status *s = to;
	size_t cap = s->n_groups;

	for (; t->p < t->end; text_blanks(t)) {
		uint32_t gid;

		if (!text_u32(t, &gid))
			return false;
		ARRAY_PUSH(s->groups, s->n_groups, cap, gid);
	}
	return true;
}

/* "shstk wrss " */
static bool take_x86(struct text *t, void *to)
{
	uint32_t bits = 0;

	for (; t->p < t->end; text_blanks(t)) {
		if (text_word(t, "shstk")) {
			bits |= PROC_X86_SHSTK;
		} else if (text_word(t, "wrss")) {
			bits |= PROC_X86_WRSS;
		} else {
			bits |= PROC_X86_OTHER;
			while (t->p < t->end && *t->p != ' ')
				t->p++;
		}
	}
	*(uint32_t *)to = bits;
	return true;
}

/* "ffffffff,00000003": words of 32 CPUs, highest first. */
static bool take_cpus(struct text *t, void *to)
{
	struct proc_status *s = to;
	size_t n_words = 1;
	uint32_t word;

	if (s->cpus_allowed)
		return false;
	for (const char *p = t->p; p < t->end; p++)
		n_words += *p == ',';
	s->n_cpus_bytes = (n_words + 1) / 2 * 8;
	s->cpus_allowed = xcalloc(s->n_cpus_bytes, 1);
	for (size_t i = n_words; i-- > 0;) {
		if (!text_hex32(t, &word) || (i && !text_char(t, ',')))
			return false;
		for (size_t b = 0; b < 4; b++)
			s->cpus_allowed[i * 4 + b] = (uint8_t)(word >> (8 * b));
	}
	return true;
}

enum presence { REQUIRED, OPTIONAL };

static const struct {
	const char *key;
	take_fn *take;
	size_t at; /* 0 for those that take the whole struct */
	enum presence presence;
} fields[] = {
	{ "Name", take_name, AT(name), REQUIRED },
	{ "Umask", take_oct, AT(umask), OPTIONAL },
	{ "State", take_letter, AT(state), REQUIRED },
	{ "Tgid", take_i32, AT(tgid), REQUIRED },
	{ "Ngid", take_i32, AT(ngid), OPTIONAL },
	{ "Pid", take_i32, AT(pid), REQUIRED },
	{ "PPid", take_i32, AT(ppid), REQUIRED },
	{ "TracerPid", take_i32, AT(tracer), REQUIRED },
	{ "Uid", take_ids, AT(uid), REQUIRED },
	{ "Gid", take_ids, AT(gid), REQUIRED },
	{ "Groups", take_groups, 0, REQUIRED },
	{ "NStgid", take_last, AT(ns_tgid), OPTIONAL },
	{ "NSpid", take_nspid, 0, OPTIONAL },
	{ "NSpgid", take_last, AT(ns_pgid), OPTIONAL },
	{ "NSsid", take_last, AT(ns_sid), OPTIONAL },
	{ "Kthread", take_bool, AT(kthread), OPTIONAL },
	{ "VmSize", take_kb, AT(vm_size_kb), OPTIONAL },
	{ "VmLck", take_kb, AT(vm_locked_kb), OPTIONAL },
	{ "VmRSS", take_kb, AT(vm_rss_kb), OPTIONAL },
	{ "VmPTE", take_kb, AT(vm_pte_kb), OPTIONAL },
	{ "VmSwap", take_kb, AT(vm_swap_kb), OPTIONAL },
	{ "CoreDumping", take_bool, AT(core_dumping), OPTIONAL },
	{ "THP_enabled", take_bool, AT(thp_enabled), OPTIONAL },
	{ "untag_mask", take_0xhex, AT(untag_mask), OPTIONAL },
	{ "Threads", take_u32, AT(threads), REQUIRED },
	{ "SigQ", take_sigq, AT(sigq), REQUIRED },
	{ "SigPnd", take_hex, AT(sig_pending), REQUIRED },
	{ "ShdPnd", take_hex, AT(shared_pending), REQUIRED },
	{ "SigBlk", take_hex, AT(sig_blocked), REQUIRED },
	{ "SigIgn", take_hex, AT(sig_ignored), REQUIRED },
	{ "SigCgt", take_hex, AT(sig_caught), REQUIRED },
	{ "CapInh", take_hex, AT(cap_inh), REQUIRED },
	{ "CapPrm", take_hex, AT(cap_prm), REQUIRED },
	{ "CapEff", take_hex, AT(cap_eff), REQUIRED },
	{ "CapBnd", take_hex, AT(cap_bnd), REQUIRED },
	{ "CapAmb", take_hex, AT(cap_amb), REQUIRED },
	{ "NoNewPrivs", take_bool, AT(no_new_privs), REQUIRED },
	{ "Seccomp", take_u32, AT(seccomp), OPTIONAL },
	{ "Seccomp_filters", take_u32, AT(seccomp_filters), OPTIONAL },
	{ "x86_Thread_features", take_x86, AT(x86_features), OPTIONAL },
	{ "x86_Thread_features_locked", take_x86, AT(x86_locked), OPTIONAL },
	{ "Cpus_allowed", take_cpus, 0, REQUIRED },
};

/*
 * The row of this line, or -1: the kernel has many more lines than we need. It writes them in
 * the table's order, so the first one looked at, @next, is most often the one.
 */
static int row_of(const struct text *line, size_t next, struct text *value)
{
	const char *colon = memchr(line->p, ':', text_len(line));
	size_t n;

	if (!colon)
		return -1;
	n = (size_t)(colon - line->p);
	for (size_t k = 0; k < ARRAY_SIZE(fields); k++) {
		size_t i = (next + k) % ARRAY_SIZE(fields);
		const char *key = fields[i].key;

		if (key[0] == line->p[0] && strlen(key) == n && !memcmp(key, line->p, n)) {
			*value = (struct text) { colon + 1, line->end };
			return (int)i;
		}
	}
	return -1;
}

/* A name keeps its blanks: the kernel puts one tab in front of it. */
static bool take_value(int row, struct text *value, struct proc_status *s)
{
	if (fields[row].take == take_name)
		text_char(value, '\t');
	else
		text_blanks(value);
	return fields[row].take(value, (char *)s + fields[row].at) && text_done(value);
}

static int take_lines(struct text *t, struct proc_status *s, struct err *err)
{
	bool seen[ARRAY_SIZE(fields)] = {};
	struct text line, value;
	size_t next = 0;

	while (text_line(t, &line)) {
		int row = row_of(&line, next, &value);

		if (row < 0)
			continue;
		next = (size_t)row + 1;
		if (seen[row] || !take_value(row, &value, s))
			return text_bad(err, "status", &line);
		seen[row] = true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].presence == REQUIRED && !seen[i])
			return err_set(err, -EINVAL, "status: no %s line", fields[i].key);
	}
	return 0;
}

int proc_status_parse(const char *buf, size_t len, struct proc_status *out, struct err *err)
{
	struct proc_status s = {
		.umask = ~0u,
		.thp_enabled = true,
		.untag_mask = ~0ull,
	};
	struct text t = text_of(buf, len);
	int rc = take_lines(&t, &s, err);

	if (rc < 0) {
		proc_status_release(&s);
		return rc;
	}
	*out = s;
	return 0;
}

static int read_named(const struct proc_dir *dir, const char *name, struct proc_status *out,
		      struct err *err)
{
	scoped char *buf = NULL;
	size_t len;
	int rc = proc_read(dir, name, &buf, &len, err);

	return rc < 0 ? rc : proc_status_parse(buf, len, out, err);
}

int proc_status_read(const struct proc_dir *dir, struct proc_status *out, struct err *err)
{
	return read_named(dir, "status", out, err);
}

int proc_status_read_thread(const struct proc_dir *task, pid_t tid, struct proc_status *out,
			    struct err *err)
{
	scoped char *name = xasprintf("task/%d/status", tid);

	return read_named(task, name, out, err);
}

void proc_status_release(struct proc_status *s)
{
	free(s->groups);
	free(s->cpus_allowed);
	*s = (struct proc_status) {};
}

bool proc_was_killed(const struct proc_dir *dir)
{
	struct proc_status st = {};
	bool killed;
	int rc = proc_status_read(dir, &st, NULL);

	if (rc < 0)
		return proc_ended(rc);
	killed = (st.sig_pending | st.shared_pending) >> (SIGKILL - 1) & 1;
	proc_status_release(&st);
	return killed;
}
