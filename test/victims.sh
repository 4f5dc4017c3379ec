#!/bin/sh
# One victim through one story.
#   victims.sh list MODE TABLE            the cases for test/run
#   victims.sh MODE VICTIM [KEY=VALUE...]
# Modes: alone (no dump at all), thaw (dumped while it goes on), restore (dumped
# thrice, killed, restored), older (the same, restored from the second), refuse.
here=$(cd "$(dirname "$0")" && pwd)

if [ "$1" = list ]; then
	mode=$2
	grep -v '^#' "$3" | while read -r victim params needs; do
		[ -n "$victim" ] || continue
		case $mode$needs in restorethaw | olderthaw) continue ;; esac
		[ "$params" = - ] && params=''
		words=$(echo "$params" | tr , ' ')
		# shellcheck disable=SC2086
		echo "${LIST_PREFIX:-}$mode/$victim${params:+:$params} ${LIMIT:-60} $here/victims.sh $mode $victim $words"
	done
	exit
fi

mode=$1
shift
. "$here/lib/common.sh"
start_victim "$@"

# While a call with a time limit sleeps, go on taking checkpoints: it must end all the same.
until_it_ends()
{
	n=0
	touch "$dir/go"
	while kill -0 $pid 2>/dev/null && [ $n -lt 40 ]; do
		"$BUILD/sd-dump" -q -D "$ckpt" "$pid" 2>"$dir/dump.err" || {
			kill -0 $pid 2>/dev/null || break
			# It may end just now: only the checkpoint of a live task must succeed.
			sleep 0.5
			kill -0 $pid 2>/dev/null && fail "$(cat "$dir/dump.err")"
		}
		n=$((n + 1))
		sleep 0.4
	done
}

refuse()
{
	"$BUILD/sd-dump" -D "$ckpt" "$pid" >"$dir/said" 2>"$dir/refusal"
	rc=$?
	cat "$dir/refusal"
	[ $rc = 3 ] || fail "exit status is $rc, not 3"
	[ -s "$dir/said" ] && fail "something was said on stdout: $(cat "$dir/said")"
	[ "$(wc -l <"$dir/refusal")" = 1 ] || fail "not one line on stderr"
	while read -r words; do
		grep -Eqw "$words" "$dir/refusal" || fail "the message does not say \"$words\""
	done <"$dir/expect"
	for left in "$ckpt"/* "$ckpt"/.[!.]*; do
		[ -d "$left" ] && fail "$left was left behind"
	done
	end_victim
}

case $mode in
alone)
	end_victim
	;;
thaw)
	dump
	dump
	dump
	case "$*" in *limit=*) until_it_ends ;; esac
	end_victim
	;;
restore)
	dump
	dump
	dump --kill
	gone
	restored
	;;
older)
	dump
	dump
	dump --kill
	gone
	restored --at 2
	;;
refuse)
	refuse
	;;
*)
	echo "victims.sh: no mode is named $mode" >&2
	exit 2
	;;
esac
