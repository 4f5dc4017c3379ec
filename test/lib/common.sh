# What the test scripts share; they run in a namespace of their own (nsinit.c)
# with an empty folder $CASE_DIR, and the programs in $BUILD.
set -u
: "${BUILD:?}" "${CASE_DIR:?}"
dir=$CASE_DIR
ckpt=$dir/ckpt
chmod 777 "$dir"

fail()
{
	echo "FAIL: $*"
	[ -s "$dir/out" ] && { echo "--- the victim said:"; cat "$dir/out"; }
	exit 1
}

# A file appears, or the process that should make it ends, or patience does (WAIT_STEPS of 50 ms).
wait_file()
{
	waited=0
	while [ ! -e "$1" ]; do
		waited=$((waited + 1))
		[ $waited -gt "${WAIT_STEPS:-600}" ] && fail "$1 did not appear"
		kill -0 "$2" 2>/dev/null || [ -e "$1" ] || return 1
		sleep 0.05
	done
}

# start_victim NAME [KEY=VALUE...]: leaves its pid in $pid, once its state is complete.
# VICTIM_WORLD: a command that starts it somewhere else and becomes it.
start_victim()
{
	name=$1
	shift
	: >"$dir/out"
	# shellcheck disable=SC2086
	setsid ${VICTIM_WORLD:-} "$BUILD/test/victim" "$name" "$dir" "$@" </dev/null >>"$dir/out" 2>&1 &
	pid=$!
	if ! wait_file "$dir/ready" $pid; then
		wait $pid
		rc=$?
		cat "$dir/out"
		[ $rc = 0 ] && rc=1
		exit $rc
	fi
}

# dump [OPTION...]: one checkpoint of $pid. WITHOUT: what the kernel is to lack (see without.c).
dump()
{
	# shellcheck disable=SC2086
	${WITHOUT:+"$BUILD/test/without" "$WITHOUT"} "$BUILD/sd-dump" -D "$ckpt" ${SD_DUMP_OPTIONS:-} "$@" "$pid" ||
		fail "sd-dump $* of $name: exit status $?"
}

# end_victim: what the victim that was never killed says about itself
end_victim()
{
	touch "$dir/go"
	wait $pid || fail "$name: exit status $?"
}

# gone: after --kill, reap it
gone()
{
	wait $pid
	[ $? = 137 ] || fail "$name was to be killed, but ended otherwise"
}

# begin_restored [OPTION...]: bring it back
begin_restored()
{
	rm -f "$dir/go" "$dir/pid"
	"$BUILD/sd-restore" -D "$ckpt" --pidfile "$dir/pid" "$@" &
	restorer=$!
	wait_file "$dir/pid" $restorer || {
		wait $restorer
		fail "sd-restore $* of $name: exit status $?"
	}
	[ "$(cat "$dir/pid")" = "$pid" ] || fail "restored as pid $(cat "$dir/pid"), not $pid"
}

# end_restored: let it go on, and check what it says
end_restored()
{
	touch "$dir/go"
	wait $restorer
	rc=$?
	[ $rc = 0 ] || fail "$name after restore $*: exit status $rc"
	[ -s "$dir/out" ] && fail "$name after restore $*: it complains"
	return 0
}

restored()
{
	begin_restored "$@"
	end_restored "$@"
}

# json KEY <FILE: one number or word of a flat JSON object
json()
{
	tr ',{}' '\n\n\n' | sed -n "s/^ *\"$1\": *\"\{0,1\}\([^\"]*\)\"\{0,1\} *$/\1/p" | head -n 1
}
