/* criu-options.c - the rows. */
#include "criu-lite/cmd/criu-options.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define NO    TAKES_NONE
#define ONE   TAKES_ONE
#define MAYBE TAKES_MAYBE

/* clang-format off */
const struct criu_verb criu_verbs[] = {
	{ "dump", 'd', CRIU_DONE, "ends the tree unless told otherwise" },
	{ "pre-dump", 'p', CRIU_DONE, "pages only; the tracker stays armed for the next call" },
	{ "restore", 'r', CRIU_DONE, "brings the tree back, waits for it and ends as it does" },
	{ "check", 'c', CRIU_DONE, "every name of --feature" },
	{ "dedup", 'u', CRIU_DONE, "what lost pages to a child is marked as memory only, and refused by restore, as are its other children" },
	{ "cpuinfo", 'i', CRIU_DONE, "dump and check" },
	{ "page-server", 's', CRIU_REFUSED, "pages are written where the task is" },
	{ "lazy-pages", 'l', CRIU_REFUSED, "memory is filled before a task runs" },
	{ "service", 'v', CRIU_REFUSED, "there is no protocol but the command line" },
	{ "swrk", 'w', CRIU_REFUSED, "as service" },
	{ "exec", 'x', CRIU_REFUSED, "" },
	{},
};

const struct criu_option criu_options[] = {
	{ "action-script", 0, ONE, false, NULL, CRIU_DONE, "dr", "the actions of a tree without namespaces; several are run in turn" },
	{ "address", 0, ONE, false, NULL, CRIU_REFUSED, "s", "page server" },
	{ "all", 0, NO, false, NULL, CRIU_DONE, "c", "" },
	{ "allow-uprobes", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "dr", "a mapping of uprobes is refused by name" },
	{ "auto-dedup", 0, NO, true, NULL, CRIU_DONE, "dpr", "dump and pre-dump: as dedup, after the images are safe. On restore it would destroy what is restored from: no effect" },
	{ "cgroup-dump-controller", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "d", "a tree in another cgroup than the caller is refused by name" },
	{ "cgroup-props", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "d", "a tree in another cgroup than the caller is refused by name" },
	{ "cgroup-props-file", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "d", "a tree in another cgroup than the caller is refused by name" },
	{ "cgroup-root", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "dr", "a tree in another cgroup than the caller is refused by name" },
	{ "cgroup-yard", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "dr", "a tree in another cgroup than the caller is refused by name" },
	{ "close", 0, ONE, false, "#", CRIU_DONE, "", "" },
	{ "config", 0, ONE, false, NULL, CRIU_DONE, "", "" },
	{ "cpu-cap", 0, MAYBE, false, ",all cpu fpu ins none image op ^all ^cpu ^fpu ^ins ^none", CRIU_DONE, "dri", "dump: writes cpuinfo.img for all but none. What a restore needs is checked always" },
	{ "daemon", 0, NO, true, NULL, CRIU_REFUSED, "s", "page server" },
	{ "deprecated", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "r", "images that old are refused by name" },
	{ "display-stats", 0, NO, true, NULL, CRIU_DONE, "dpr", "" },
	{ "empty-ns", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "dr", "a namespace of its own is refused by name" },
	{ "enable-external-masters", 0, NO, false, NULL, CRIU_WHEN_NEEDED, "d", "a mount namespace is refused by name" },
	{ "enable-external-sharing", 0, NO, false, NULL, CRIU_WHEN_NEEDED, "d", "a mount namespace is refused by name" },
	{ "enable-fs", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "dr", "a mount namespace is refused by name" },
	{ "evasive-devices", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "dr", "a device without its path is refused by name" },
	{ "exec-cmd", 0, NO, false, NULL, CRIU_REFUSED, "r", "the restorer does not turn into another program" },
	{ "experimental", 0, NO, true, NULL, CRIU_DONE, "c", "there are none" },
	{ "ext-mount-map", 'M', ONE, false, NULL, CRIU_WHEN_NEEDED, "dr", "a mount namespace is refused by name" },
	{ "ext-unix-sk", 'x', MAYBE, false, NULL, CRIU_WHEN_NEEDED, "dr", "a unix socket is refused by name" },
	{ "external", 0, ONE, false, NULL, CRIU_DONE, "dr", "file[mnt:inode] and tty[rdev:dev], which a restore is then given; pipe[inode] says that a pipe is known to lead out. Mounts, namespaces, devices and sockets are refused by name, declared or not" },
	{ "extra", 0, NO, true, NULL, CRIU_DONE, "c", "" },
	{ "feature", 0, ONE, false, NULL, CRIU_DONE, "c", "" },
	{ "file-locks", 'l', NO, true, NULL, CRIU_WHEN_NEEDED, "dr", "a lock is refused by name" },
	{ "file-validation", 0, ONE, false, "filesize buildid", CRIU_DONE, "dr", "size and mode are compared always; buildid is refused where images have one, which criu writes" },
	{ "force-irmap", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "dp", "inotify and fanotify are refused by name" },
	{ "freeze-cgroup", 0, ONE, false, NULL, CRIU_NO_EFFECT, "dp", "every thread is stopped by itself, until no new one appears" },
	{ "ghost-fiemap", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "d", "a deleted file is refused by name" },
	{ "ghost-limit", 0, ONE, false, "#KMG", CRIU_WHEN_NEEDED, "d", "a deleted file is refused by name, however small" },
	{ "help", 'h', NO, false, NULL, CRIU_DONE, "", "" },
	{ "images-dir", 'D', ONE, false, NULL, CRIU_DONE, "", "nobody but its owner, root or the caller, may be able to write it" },
	{ "inherit-fd", 0, ONE, false, NULL, CRIU_DONE, "r", "pipes, FIFOs, terminals and whatever is opened by a path; a warning where no descriptor of the tree is of that name. Images with a socket are refused by name" },
	{ "irmap-scan-path", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "dp", "inotify and fanotify are refused by name" },
	{ "join-ns", 'J', ONE, false, NULL, CRIU_WHEN_NEEDED, "r", "a tree is restored in the namespaces of the caller: any other is refused by name" },
	{ "lazy-pages", 0, NO, false, NULL, CRIU_REFUSED, "dr", "memory is filled before a task runs" },
	{ "leave-running", 'R', NO, false, NULL, CRIU_DONE, "d", "" },
	{ "leave-stopped", 's', NO, false, NULL, CRIU_DONE, "dr", "every task is stopped as by SIGSTOP" },
	{ "libdir", 'L', ONE, false, NULL, CRIU_NO_EFFECT, "", "there are no plugins; what one would save is refused by name" },
	{ "link-remap", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "dr", "a deleted file is refused by name" },
	{ "log-file", 'o', ONE, false, NULL, CRIU_DONE, "", "" },
	{ "log-pid", 0, NO, true, NULL, CRIU_NO_EFFECT, "r", "one process does the work and writes one log" },
	{ "lsm-mount-context", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "r", "a mount namespace is refused by name" },
	{ "lsm-profile", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "r", "a tree is restored with the label of the caller: any other is refused by name" },
	{ "manage-cgroups", 0, MAYBE, false, "none props soft full strict ignore", CRIU_WHEN_NEEDED, "dr", "a tree in another cgroup than the caller is refused by name, but for ignore; without the option a restored tree is in the cgroup of the caller" },
	{ "mntns-compat-mode", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "r", "a mount namespace is refused by name" },
	{ "ms", 0, NO, false, NULL, CRIU_DONE, "c", "" },
	{ "network-lock", 0, ONE, false, "iptables nftables skip", CRIU_WHEN_NEEDED, "dr", "a connection is refused by name" },
	{ "no-default-config", 0, NO, false, NULL, CRIU_DONE, "", "" },
	{ "page-server", 0, NO, true, NULL, CRIU_REFUSED, "dp", "pages are written where the task is" },
	{ "pidfile", 0, ONE, false, NULL, CRIU_DONE, "dr", "" },
	{ "port", 0, ONE, false, "#", CRIU_REFUSED, "s", "page server" },
	{ "pre-dump-mode", 0, ONE, false, "splice read", CRIU_NO_EFFECT, "p", "pages are read in one way, which holds no memory of the task" },
	{ "prev-images-dir", 0, ONE, false, NULL, CRIU_DONE, "dp", "an increment only where the tracker was armed for that directory; else full, and the log says why" },
	{ "ps-socket", 0, ONE, false, "#", CRIU_REFUSED, "s", "page server" },
	{ "restore-detached", 'd', NO, true, NULL, CRIU_DONE, "r", "" },
	{ "restore-sibling", 'S', NO, true, NULL, CRIU_DONE, "r", "" },
	{ "root", 'r', ONE, false, NULL, CRIU_WHEN_NEEDED, "dr", "a mount namespace is refused by name" },
	{ "shell-job", 'j', NO, true, NULL, CRIU_DONE, "dr", "" },
	{ "skip-file-rwx-check", 0, NO, true, NULL, CRIU_DONE, "r", "" },
	{ "skip-in-flight", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "d", "a connection is refused by name" },
	{ "skip-mnt", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "d", "a mount namespace is refused by name" },
	{ "status-fd", 0, ONE, false, "#", CRIU_DONE, "dr", "one NUL byte when the checkpoint is safe, or the tree runs" },
	{ "stream", 0, NO, true, NULL, CRIU_REFUSED, "dr", "images are files" },
	{ "tcp-close", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "dr", "a connection is refused by name" },
	{ "tcp-established", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "dr", "a connection is refused by name" },
	{ "timeout", 0, ONE, false, "#", CRIU_DONE, "dp", "of the freeze; 0 is the default" },
	{ "tls", 0, NO, true, NULL, CRIU_REFUSED, "s", "page server" },
	{ "tls-cacert", 0, ONE, false, NULL, CRIU_REFUSED, "s", "page server" },
	{ "tls-cacrl", 0, ONE, false, NULL, CRIU_REFUSED, "s", "page server" },
	{ "tls-cert", 0, ONE, false, NULL, CRIU_REFUSED, "s", "page server" },
	{ "tls-key", 0, ONE, false, NULL, CRIU_REFUSED, "s", "page server" },
	{ "tls-no-cn-verify", 0, NO, false, NULL, CRIU_REFUSED, "s", "page server" },
	{ "track-mem", 0, NO, true, NULL, CRIU_DONE, "dp", "by the best tracker that works here, soft-dirty or not" },
	{ "tree", 't', ONE, false, "#", CRIU_DONE, "dp", "" },
	{ "unprivileged", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "", "what the caller may not do fails by name" },
	{ "verbosity", 'v', MAYBE, false, "#v", CRIU_DONE, "", "" },
	{ "version", 'V', NO, false, NULL, CRIU_DONE, "", "" },
	{ "veth-pair", 0, ONE, false, NULL, CRIU_WHEN_NEEDED, "r", "a net namespace is refused by name" },
	{ "weak-sysctls", 0, NO, true, NULL, CRIU_WHEN_NEEDED, "r", "a namespace with sysctls is refused by name" },
	{ "work-dir", 'W', ONE, false, NULL, CRIU_DONE, "", "" },
	{},
};
/* clang-format on */

const struct criu_option *criu_option_find(const char *name)
{
	for (const struct criu_option *o = criu_options; o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

const struct criu_verb *criu_verb_find(const char *name)
{
	for (const struct criu_verb *v = criu_verbs; v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

/* --- as a document ------------------------------------------------------------------------ */

static const char *const status_text[] = {
	[CRIU_DONE] = "done",
	[CRIU_WHEN_NEEDED] = "refused when needed",
	[CRIU_NO_EFFECT] = "accepted without effect",
	[CRIU_REFUSED] = "refused",
};

static void print_option(FILE *f, const struct criu_option *o)
{
	fprintf(f, "| `--%s%s`", o->name,
		o->takes == TAKES_ONE	  ? " ARG"
		: o->takes == TAKES_MAYBE ? "[=ARG]"
					  : "");
	if (o->letter)
		fprintf(f, ", `-%c`", o->letter);
	if (o->negatable)
		fprintf(f, ", `--no-%s`", o->name);
	fprintf(f, " | %s | %s |\n", status_text[o->status], o->note);
}

char *criu_compat_text(void)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		abort();
	fputs("# What of criu 4.2 criu-lite does\n\n"
	      "Made from the table in criu-lite/cmd/criu-options.c by `make compat`; a unit test compares.\n\n"
	      "*refused when needed*: parsed, and where what it is about is met in a tree, that is refused by\n"
	      "name before anything is written. *refused*: asks for another way of working, and is refused\n"
	      "as soon as it is given.\n\n## Verbs\n\n| verb | | |\n|---|---|---|\n",
	      f);
	for (const struct criu_verb *v = criu_verbs; v->name; v++)
		fprintf(f, "| `%s` | %s | %s |\n", v->name, status_text[v->status], v->note);
	fputs("\n## Options\n\n| option | | |\n|---|---|---|\n", f);
	for (const struct criu_option *o = criu_options; o->name; o++)
		print_option(f, o);
	fclose(f);
	return text;
}
