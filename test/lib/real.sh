# real.sh - what the tests with real programs share.
#
# A test sources this file, defines
#
#   prepare    make the input files in the current folder (optional)
#   program    exec the program, in the current folder; it ends by itself with status 0
#   progress   print a number that grows while the program works, the same at
#              the end of every run
#   result     print what every run must come to; compare it with what is known, too
#   also       more to check on the restored task $pid while it works (optional)
#
# and ends with `real_test "$@"`. First the program runs undisturbed. Then it
# runs again and is checkpointed four times while it works; the second and the
# fourth time it is held (--stop) while the files that it writes are copied,
# because a checkpoint holds memory and not the disk. It is killed, restored
# from the newest checkpoint, and must end with the same result. Then the same
# from the second checkpoint, with one more increment taken of what was restored.
#
# BUILD names the folder of the programs, CASE_DIR an empty folder to work in,
# TRACKER the tracker (default: auto), and on slow machines SMALLER divides the work
# and PATIENCE multiplies the limits.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
self=$here/$(basename "$0")
programs=$here/programs
BUILD=$(cd "${BUILD:-build}" && pwd)
CASE_DIR=${CASE_DIR:-$(mktemp -d)}
export BUILD CASE_DIR
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
work=$CASE_DIR/work
ckpt=$CASE_DIR/ckpt
increments=yes # no: the tree changes, so a new task's pages make no increment

prepare() { :; }
also() { :; }

say() {
	echo "$(date +%T) $*"
}

fail() {
	echo "FAILED: $*"
	for f in "$CASE_DIR"/*.stderr; do
		[ -s "$f" ] && { echo "--- $f"; tail -n 20 "$f"; }
	done
	kill_tree
	exit 1
}

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds
wait_for() {
	limit=$(($(date +%s) + $1 * ${PATIENCE:-1})) what=$2
	shift 2
	until "$@"; do
		[ "$(date +%s)" -lt "$limit" ] || fail "waited too long for $what"
		sleep 0.02
	done
}

# --- processes ---------------------------------------------------------------
alive() {
	case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in
	'' | Z* | X*) return 1 ;;
	esac
}

gone() {
	! [ -e "/proc/$1" ]
}

# The pids of the tree rooted at $1.
tree() {
	echo "$1"
	for t in /proc/"$1"/task/*/children; do
		kids=
		read -r kids 2>/dev/null <"$t" || :
		for kid in $kids; do
			tree "$kid"
		done
	done
}

# SIGKILL for the whole tree at $pid. Stopped first, so that none is born meanwhile.
kill_tree() {
	[ -n "${pid:-}" ] && [ -e "/proc/$pid" ] || return 0
	doomed=
	while [ "$doomed" != "$(tree "$pid")" ]; do
		doomed=$(tree "$pid")
		kill -STOP $doomed 2>/dev/null || :
	done
	kill -KILL $doomed 2>/dev/null || :
}

# Kill the tree and wait until its pids are free again.
end_tree() {
	kill_tree
	wait "$parent" 2>/dev/null || :
	for p in $doomed; do
		wait_for 20 "the pid $p to be free" gone "$p"
	done
}

# Run the program in the background; its pid is $pid, and we are its parent.
start() {
	rm -rf "$work"
	mkdir "$work"
	(cd "$work" && prepare)
	(cd "$work" && exec setsid "$self" program) \
		</dev/null >"$work/stdout" 2>"$work/stderr" &
	pid=$! parent=$!
}

ended_well() {
	rc=0
	wait "$parent" || rc=$?
	[ "$rc" = 0 ] || fail "$1 ended with status $rc: $(tail -n 5 "$work/stderr")"
	(cd "$work" && result) >"$CASE_DIR/$1.result"
	[ "$1" = undisturbed ] || cmp "$CASE_DIR/undisturbed.result" "$CASE_DIR/$1.result" || {
		diff "$CASE_DIR/undisturbed.result" "$CASE_DIR/$1.result" | head -n 20
		fail "$1: the result differs from that of the undisturbed run"
	}
	say "$1: ended with the right result"
}

# --- how far it is -------------------------------------------------------------
done_so_far() {
	sofar=$(cd "$work" && progress 2>/dev/null) || :
	echo "${sofar:-0}"
}

reached() {
	alive "$pid" || fail "the program is gone: $(tail -n 5 "$work/stderr")"
	[ "$(done_so_far)" -ge "$1" ]
}

# at PERCENT: wait until so much of the work is done
at() {
	wait_for 60 "$1 % of the work" reached $((total * $1 / 100))
}

# --- checkpoints ---------------------------------------------------------------
# dump SEQ PARENT OPTION...: take checkpoint SEQ of $pid, which must be an increment on PARENT
dump() {
	seq=$1 from=$2
	shift 2
	before=$(done_so_far)
	"$BUILD/sd-dump" --json --tracker "${TRACKER:-auto}" -D "$ckpt" "$@" "$pid" \
		>"$CASE_DIR/dump" 2>"$CASE_DIR/dump.stderr" || fail "sd-dump: status $?"
	cat "$CASE_DIR/dump"
	[ "$before" -lt "$total" ] || fail "the work was done before checkpoint $seq"
	[ "$(jq .checkpoint "$CASE_DIR/dump")" = "$seq" ] || fail "this is not checkpoint $seq"
	[ "$from" = null ] || [ $increments = no ] || [ "${TRACKER:-}" = none ] || an_increment "$from"
}

an_increment() {
	[ "$(jq .full_reason "$CASE_DIR/dump")" = null ] || fail "checkpoint $seq is full"
	[ "$(jq .parent "$CASE_DIR/dump")" = "$1" ] || fail "the parent of $seq is not $1"
	jq -e '.pages_parent > 0 and .pages_written < .pages_used' "$CASE_DIR/dump" >/dev/null ||
		fail "checkpoint $seq holds every page again"
}

# The files of the program as they are at checkpoint $1.
keep_files() {
	cp -a "$work" "$CASE_DIR/files.$1"
}

put_files_back() {
	find "$work" -mindepth 1 -delete
	cp -a "$CASE_DIR/files.$1/." "$work/"
}

# --- the story -----------------------------------------------------------------
undisturbed() {
	start
	ended_well undisturbed
	total=$(done_so_far)
	[ "$total" -gt 3 ] || fail "the program says that its work is $total"
}

checkpoints() {
	start
	at 10
	dump 1 null
	at 25
	dump 2 1 --stop
	keep_files 2
	kill -CONT $(tree "$pid") 2>/dev/null || : # one that was dead may be reaped meanwhile
	at 40
	dump 3 2
	at 55
	dump 4 3 --stop
	keep_files 4
	end_tree
	"$BUILD/sd-image" verify "$ckpt" 2>"$CASE_DIR/verify.stderr" || fail "sd-image verify: status $?"
}

restored() {
	alive "$parent" || fail "sd-restore gave up"
	[ -s "$CASE_DIR/pidfile" ]
}

# From the newest, sd-restore staying as the parent and ending as the program does.
restore_newest() {
	put_files_back 4
	"$BUILD/sd-restore" -D "$ckpt" --pidfile "$CASE_DIR/pidfile" 2>"$CASE_DIR/restore.stderr" &
	parent=$!
	wait_for 60 "the pid file" restored
	at 60
	also
	ended_well newest
}


# From a middle one, detached; and the next checkpoint is an increment on that.
restore_middle() {
	put_files_back 2
	"$BUILD/sd-restore" -D "$ckpt" --at 2 --detach --pidfile "$CASE_DIR/pidfile" \
		2>"$CASE_DIR/restore.stderr" || fail "sd-restore --at 2: status $?"
	[ "$(cat "$CASE_DIR/pidfile")" = "$pid" ] || fail "the pid file does not say $pid"
	at 35
	dump 5 2
	wait_for 60 "the restored program to end" gone "$pid"
	(exit 0) &
	parent=$! # its own status went to the first process
	ended_well middle
}

real_test() {
	if [ "${1:-}" = program ]; then
		cd "$work"
		program
	fi
	undisturbed
	[ "${1:-}" != undisturbed ] || exit 0
	checkpoints
	restore_newest
	restore_middle
	say passed
}
