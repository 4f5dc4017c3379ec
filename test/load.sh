#!/bin/sh
# Much of one thing: it is saved thrice and comes back, and the tools take no more memory for
# it than they may. Times are printed only.
#   load.sh list                               the cases for test/run, from victims/load
#   load.sh MIB VICTIM [KEY=VALUE...]
here=$(cd "$(dirname "$0")" && pwd)

# Ten GiB in use, or a quarter of what is free: there are its copy in the checkpoint and a second
# task while it is restored. One page in three is used.
pages_that_fit()
{
	free=$(sed -n 's/^MemAvailable:[^0-9]*\([0-9]*\) kB/\1/p' /proc/meminfo)
	used=$((free / 4 / 4))
	[ "$used" -gt 2621440 ] && used=2621440
	echo $((used * 3))
}

if [ "$1" = list ]; then
	grep -v '^#' "$here/victims/load" | while read -r victim params mib; do
		[ -n "$victim" ] || continue
		[ "$params" = pages=auto ] && params=pages=$(pages_that_fit)
		# shellcheck disable=SC2086
		echo "load/$victim:$params 1800 $here/load.sh $mib $victim $(echo $params | tr , ' ')"
	done
	exit
fi

mib=$1
shift
WAIT_STEPS=12000
. "$here/lib/common.sh"

now_ms()
{
	echo $(($(date +%s%N) / 1000000))
}

# within WHAT KIB
within()
{
	echo "$1: $(($2 / 1024)) MiB at most, $(($(now_ms) - began)) ms"
	[ "$2" -le $(((mib + 16) * 1024)) ] || fail "$1 takes $2 KiB, more than $mib MiB and 16 for itself"
}

measured_dump()
{
	began=$(now_ms)
	"$BUILD/test/peak" "$dir/peak" "$BUILD/sd-dump" -D "$ckpt" --timeout 120 "$@" "$pid" ||
		fail "sd-dump $* of $name: exit status $?"
	within "sd-dump $*" "$(cat "$dir/peak")"
}

# What it maps of images is the page cache's: what it holds itself, looked at again and again
# until the tree runs, which it keeps it for.
held_kib()
{
	most=0
	while [ ! -e "$dir/pid" ]; do
		kib=$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null)
		[ "${kib:-0}" -gt $most ] && most=$kib
		kill -0 "$1" 2>/dev/null || break
		sleep 0.02
	done
	echo $most
}

measured_restore()
{
	rm -f "$dir/go" "$dir/pid"
	began=$(now_ms)
	"$BUILD/sd-restore" -D "$ckpt" --pidfile "$dir/pid" &
	restorer=$!
	held=$(held_kib $restorer)
	[ -e "$dir/pid" ] || fail "sd-restore of $name fails"
	within sd-restore "$held"
	touch "$dir/go"
	wait $restorer || fail "$name after restore: exit status $?"
	[ -s "$dir/out" ] && fail "$name after restore complains"
	return 0
}

start_victim "$@"
measured_dump
measured_dump
measured_dump --kill
gone
measured_restore
