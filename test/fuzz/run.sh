#!/bin/sh
# run.sh BUILD SECONDS NAME...: each fuzzer for so long, 0 for its known inputs only.
# Inputs that break one are left in BUILD/broken. Exit 1 if any did.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$1 seconds=$2
shift 2

# put NAME FILE...: copies of what is there become seeds of NAME, each under a name of its own
put() {
	to=$build/seeds/$1
	mkdir -p "$to"
	shift
	for f; do
		[ -f "$f" ] && cp "$f" "$to/$(cksum <"$f" | tr ' ' -)"
	done
	:
}

# put_after BYTE NAME FILE...: with one byte in front that says how to take the rest, and
# without the first eight bytes, which the target writes itself
put_after() {
	byte=$1 to=$build/seeds/$2
	shift 2
	mkdir -p "$to"
	for f; do
		[ -f "$f" ] && { printf "\\$(printf %o "$byte")"; tail -c +9 "$f"; } \
			>"$to/$(cksum <"$f" | tr ' ' -)-$byte"
	done
	:
}

seeds_of_proc() {
	for pid in "$here"/../recorded/*/[0-9]*; do
		for name in auxv limits maps smaps stat status timers; do
			put "proc_$name" "$pid/$name" "$pid"/task/*/"$name"
		done
		put proc_timens "$pid"/timens_offsets
		put proc_children "$pid"/task/*/children
		put proc_fdinfo "$pid"/fdinfo/*
		put proc_values "$pid"/task/*/sched "$pid"/task/*/syscall "$pid"/oom_score_adj \
			"$pid"/coredump_filter "$pid"/loginuid "$pid"/timerslack_ns
	done
}

# A checkpoint of a sleeping program, if there are programs here and they can make one.
seeds_of_images() {
	dump=$build/../sd-dump chain=$build/chain
	rm -rf "$chain"
	[ -x "$dump" ] && [ "$(id -u)" = 0 ] || return 0
	# Without what make and others may have left open.
	setsid bash -c 'for fd in /proc/self/fd/*; do
		fd=${fd##*/}
		[ "$fd" -gt 2 ] && eval "exec $fd>&-"
	done; exec sleep 1000' </dev/null >/dev/null 2>&1 &
	pid=$!
	"$dump" -q -D "$chain" "$pid" && "$dump" -q -D "$chain" "$pid" || :
	kill "$pid"
	wait "$pid" 2>/dev/null || :
	for img in "$chain"/1/*.img; do
		case ${img##*/} in pages-*) continue ;; esac
		for byte in $(seq 0 60); do
			put_after "$byte" img_decode "$img"
		done
	done
	put_after 255 img_pagemap "$chain"/[12]/pagemap-*.img
	put_after 0 img_chain "$chain"/[12]/criu-lite.img "$chain"/armed
}

fuzz() {
	name=$1
	mkdir -p "$build/corpus/$name" "$build/seeds/$name" "$build/broken"
	set -- "$build/corpus/$name" "$build/seeds/$name"
	[ -d "$here/corpus/$name" ] && set -- "$@" "$here/corpus/$name"
	known=$(find "$@" -type f | wc -l)
	if [ "$seconds" = 0 ]; then
		set -- -runs=0 "$@"
	else
		set -- "-max_total_time=$seconds" "$@"
	fi
	"$build/bin/$name" -rss_limit_mb=4096 -timeout=20 -max_len=65536 \
		"-artifact_prefix=$build/broken/$name-" "$@" >"$build/$name.log" 2>&1 || {
		echo "$name: broken; its last words:"
		tail -n 40 "$build/$name.log"
		return 1
	}
	runs=$(sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\) .*/\1 runs in \2 s/p' "$build/$name.log")
	echo "$name: $known known inputs, ${runs:-each of them run once}, all well"
}

rm -rf "$build/seeds"
seeds_of_proc
seeds_of_images
broken=0
for name; do
	fuzz "$name" || broken=1
done
exit $broken
