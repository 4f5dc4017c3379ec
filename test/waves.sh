#!/bin/sh
# A victim that writes, or maps, all the time is checkpointed again and again; what each checkpoint
# holds of it must be of one moment.
# Before one of them a dump fails, because somebody else traces the victim, which is stopped and
# so writes nothing any more: the next is none the less an increment, and has all that was written.
#   waves.sh VICTIM TRACKER [CHECKPOINTS]
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib/common.sh"
tracker=$2
last=${3:-10}
stopped=5

until_true()
{
	tries=0
	until eval "$1"; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || fail "waited in vain for: $1"
		sleep 0.05
	done
}

is_stopped()
{
	grep -q '^State:	T' "/proc/$pid/status"
}

fails_once()
{
	kill -STOP "$pid"
	until_true is_stopped
	strace -q -e trace=none -e signal=none -o /dev/null -p "$pid" &
	tracer=$!
	until_true "grep -q '^TracerPid:	$tracer' /proc/$pid/status"
	"$BUILD/sd-dump" -q --tracker "$tracker" -D "$ckpt" "$pid" 2>"$dir/said" &&
		fail "a traced task was dumped"
	grep -q "traced by" "$dir/said" || fail "$(cat "$dir/said")"
	kill $tracer
	wait $tracer
}

start_victim "$1"
n=1
while [ "$n" -le "$last" ]; do
	end=''
	[ "$n" = "$last" ] && end=--kill
	[ "$n" = $stopped ] && fails_once
	"$BUILD/sd-dump" -q --json --tracker "$tracker" -D "$ckpt" $end "$pid" >"$dir/json" ||
		fail "dump $n: exit status $?"
	[ "$n" = $stopped ] && kill -CONT "$pid"
	why=$(json full_reason <"$dir/json")
	[ "$n" = 1 ] || [ "$why" = null ] || fail "dump $n is full: $why"
	n=$((n + 1))
done
gone
while [ "$n" -gt 1 ]; do
	n=$((n - 1))
	begin_restored --at "$n"
	[ "$n" = $stopped ] && until_true is_stopped && kill -CONT "$pid"
	end_restored --at "$n"
done
echo "$last checkpoints with $tracker, each of one moment"
