#!/bin/sh
# A victim that writes its memory in every way there is, one way a round, with a
# checkpoint after each; then every checkpoint is restored, and its memory must
# be what it was then.
#   tracker.sh TRACKER [CYCLES]
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
n=1
while [ $n -le $rounds ]; do
	touch "$dir/step.$n"
	wait_file "$dir/did.$n" $pid || fail "the victim ended in round $n ($(way $n))"
	rm "$dir/step.$n"
	end=''
	[ $n = $rounds ] && end=--kill
	"$BUILD/sd-dump" -q --json --tracker "$tracker" -D "$ckpt" $end "$pid" >"$dir/json.$n" ||
		fail "dump $n ($(way $n)): exit status $?"
	if [ $n -gt 1 ]; then
		why=$(json full_reason <"$dir/json.$n")
		case $why in '' | null) ;; *) fail "dump $n ($(way $n)) is full: $why" ;; esac
	fi
	idle_is_small $n "$(way $n)"
	n=$((n + 1))
done
gone

wrong=0
n=$rounds
while [ $n -ge 1 ]; do
	rm -f "$dir/again"
	restored --at $n
	if ! diff "$dir/sum.$n" "$dir/again"; then
		echo "checkpoint $n, after $(way $n): memory differs as above"
		wrong=$((wrong + 1))
	fi
	n=$((n - 1))
done
[ $wrong = 0 ] || fail "$wrong of $rounds checkpoints restore other memory than they saw"
echo "$rounds rounds with $tracker"
