#!/bin/sh
# seeds.sh SEEDS: inputs for the fuzzers, from recorded /proc trees and from checkpoints of
# victims, one of a kind. Runs in a namespace of its own, as a case.
. "$(dirname "$0")/../lib/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
seeds=$1

# put NAME FILE...: copies of what is there become seeds of NAME, each under a name of its own
put()
{
	to=$seeds/$1
	mkdir -p "$to"
	shift
	for f; do
		[ -f "$f" ] && cp "$f" "$to/$(cksum <"$f" | tr ' ' -)"
	done
	:
}

seeds_of_proc()
{
	for task in "$here"/../recorded/*/[0-9]*; do
		for name in auxv limits maps smaps stat status timers; do
			put "proc_$name" "$task/$name" "$task"/task/*/"$name"
		done
		put proc_timens "$task"/timens_offsets
		put proc_children "$task"/task/*/children
		put proc_fdinfo "$task"/fdinfo/*
		put proc_values "$task"/task/*/sched "$task"/task/*/syscall "$task"/oom_score_adj \
			"$task"/coredump_filter "$task"/loginuid "$task"/timerslack_ns
	done
}

# seeds_of VICTIM [KEY=VALUE...]: a full checkpoint and an increment
seeds_of()
{
	rm -rf "$ckpt" "$dir/ready" "$dir/go"
	start_victim "$@"
	dump --tracker "$tracker" -q
	dump --tracker "$tracker" -q --kill
	gone
	for n in 1 2; do
		"$BUILD/test/pack" "$ckpt/$n" "$seeds" || fail "$* makes no seeds"
	done
}

# What criu-lite.img and armed say; the target writes head and length itself.
seeds_of_chain()
{
	mkdir -p "$seeds/img_chain"
	for f in "$ckpt"/[12]/criu-lite.img "$ckpt/armed"; do
		{ printf '\0'; tail -c +13 "$f" | head -c -8; } >"$seeds/img_chain/$(cksum <"$f" | tr ' ' -)"
	done
}

rm -rf "$seeds"
mkdir -p "$seeds/img_resolve" "$seeds/track_keeper"
seeds_of_proc
tracker=hash
seeds_of shared-anon
seeds_of anon pages=30
tracker=auto
while read -r victim; do
	case $victim in '#'* | '') continue ;; esac
	# shellcheck disable=SC2086
	seeds_of $victim
done <"$here/seeds"
seeds_of_chain
printf 'aa' >"$seeds/track_keeper/ask"
printf 'ae' >"$seeds/track_keeper/end"
# One task: its number, padding, its start, and a descriptor beside it.
printf '\0\1\0\0\0\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0' >"$seeds/track_keeper/answer"
printf '\0\20\1\1\4\20\1\0\20\2' >"$seeds/img_resolve/some"
