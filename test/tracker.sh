#!/bin/sh
# A victim that writes its memory in every way there is, one way a round, with a
# checkpoint after each; then every checkpoint is restored, and its memory must
# be what it was then.
#   tracker.sh TRACKER [CYCLES [EVERY]]; EVERY=4 restores only each fourth
# WITHOUT names what the kernel is to lack when it dumps (see lib/without.c).
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib/common.sh"
tracker=$1
mkdir -p "$dir/list"
"$BUILD/test/victim" tracker "$dir/list" ways=1 >"$dir/ways"
rounds=$(($(wc -l <"$dir/ways") * ${2:-1}))

way()
{
	sed -n "$((($1 - 1) % $(wc -l <"$dir/ways") + 1))p" "$dir/ways"
}

# What a round without writing costs: the few pages every task dirties by running.
idle_is_small()
{
	[ "$tracker" != none ] && [ "$2" = idle ] && [ "$1" -gt 1 ] || return 0
	written=$(json pages_written <"$dir/json.$1")
	[ -n "$written" ] || fail "no pages_written in the JSON: $(cat "$dir/json.$1")"
	[ "$written" -lt 64 ] || fail "nothing was written, yet $written pages are in the increment"
}

start_victim tracker
round=1
while [ $round -le $rounds ]; do
	touch "$dir/step.$round"
	wait_file "$dir/did.$round" $pid || fail "the victim ended in round $round ($(way $round))"
	rm -f "$dir/step.$round" "$dir"/sibling* # a restored copy must not act on them again
	end=''
	[ $round = $rounds ] && end=--kill
	${WITHOUT:+"$BUILD/test/without" "$WITHOUT"} "$BUILD/sd-dump" -q --json --tracker "$tracker" -D "$ckpt" $end "$pid" >"$dir/json.$round" ||
		fail "dump $round ($(way $round)): exit status $?"
	if [ $round -gt 1 ] && [ "$tracker" != none ]; then
		why=$(json full_reason <"$dir/json.$round")
		case $why in '' | null) ;; *) fail "dump $round ($(way $round)) is full: $why" ;; esac
	fi
	idle_is_small $round "$(way $round)"
	round=$((round + 1))
done
gone

wrong=0
round=$rounds
while [ $round -ge 1 ]; do
	rm -f "$dir/again"
	restored --at $round
	if ! diff "$dir/sum.$round" "$dir/again"; then
		echo "checkpoint $round, after $(way $round): memory differs as above"
		wrong=$((wrong + 1))
	fi
	round=$((round - ${3:-1}))
done
[ $wrong = 0 ] || fail "$wrong of $rounds checkpoints restore other memory than they saw"
echo "$rounds rounds with $tracker${WITHOUT:+, no $WITHOUT}"
