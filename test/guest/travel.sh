#!/bin/sh
# A checkpoint travels between this machine and the guest, both ways: it is
# restored, or refused by the name of what differs (CPU feature, kernel, vdso).
here=$(cd "$(dirname "$0")/.." && pwd)
: "${BUILD:?}"
if [ "${1:-}" = inside ]; then
	CASE_DIR=$2/guest
	. "$here/lib/common.sh"
	start_victim anon
	dump --kill
	gone
	CASE_DIR=$2/host
else
	# A folder that both sides see and may write.
	travel=$(mktemp -d "$BUILD/travel.XXXXXX")
	trap 'rm -rf "$travel"' EXIT
	mkdir "$travel/host" "$travel/guest"
	CASE_DIR=$travel/host
	. "$here/lib/common.sh"
	start_victim anon
	dump --kill
	gone
	"$here/../scripts/guest" -t 300 "$BUILD/test/nsinit" -t 200 "$0" inside "$travel" || exit 1
	CASE_DIR=$travel/guest
fi

# Now restore what the other side left.
. "$here/lib/common.sh"
pid=$(cat "$dir/ready")
name=anon
rm -f "$dir/pid"
"$BUILD/sd-restore" -D "$ckpt" --pidfile "$dir/pid" 2>"$dir/refusal" &
restorer=$!
if wait_file "$dir/pid" $restorer; then
	touch "$dir/go"
	wait $restorer || fail "restored, but it ended with $?"
	exit 0
fi
wait $restorer
rc=$?
cat "$dir/refusal"
[ $rc = 3 ] || [ $rc = 1 ] || fail "exit status $rc"
grep -Eiq 'vdso|kernel|cpu|processor' "$dir/refusal" || fail "the message does not name what differs"
