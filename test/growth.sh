#!/bin/sh
# Of twice as much the tools make no more than a bit more than twice as many system calls:
# full dump, increment and restore.
#   growth.sh list                               the cases for test/run
#   growth.sh VICTIM COUNT [KEY=VALUE...]        COUNT of it, and twice that
#
# Calls that wait are not counted: how many there are depends on who gets the processor.
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" = list ]; then
	while read -r what; do
		echo "growth/${what%% *} 300 $here/growth.sh $what"
	done <<-'END'
		threads 100
		many-mappings 1000
		many-files 300 step=1
		children 30
	END
	exit
fi
. "$here/lib/common.sh"
what=$1
count=$2
shift 2

# calls WHAT TOOL...: how many it makes; also in $dir/calls.WHAT
calls()
{
	to=$dir/calls.$1
	shift
	"$BUILD/test/fire/trap" -b -D "$ckpt" -o "$dir/trapped" "$@" || fail "$*: exit status $?"
	sed -n '1s/^calls \([0-9]*\) .*/\1/p' "$dir/trapped" >"$to"
}

# measure COUNT [KEY=VALUE...]
measure()
{
	n=$1
	shift
	rm -rf "$ckpt" "$dir/ready" "$dir/go" "$dir/pid"
	start_victim "$what" "count=$n" "$@"
	calls full.$n "$BUILD/sd-dump" -q -D "$ckpt" "$pid"
	dump -q
	calls increment.$n "$BUILD/sd-dump" -q -D "$ckpt" --kill "$pid"
	gone
	calls restore.$n "$BUILD/sd-restore" -q -d -D "$ckpt" --pidfile "$dir/pid"
	touch "$dir/go"
	tries=0
	while kill -0 "$pid" 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 1200 ] || fail "the restored $what does not end"
		sleep 0.05
	done
}

measure "$count" "$@"
measure $((2 * count)) "$@"
for tool in full increment restore; do
	once=$(cat "$dir/calls.$tool.$count")
	twice=$(cat "$dir/calls.$tool.$((2 * count))")
	echo "$tool: $once calls for $count $what, $twice for twice as many"
	[ "$once" -gt 100 ] || fail "$tool: that is not all of its calls"
	[ "$twice" -le $((once * 22 / 10)) ] || fail "$tool: the calls grow faster than the $what"
done
