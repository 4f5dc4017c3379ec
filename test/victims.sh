#!/bin/sh
# One victim through one story.
#   victims.sh list MODE TABLE            the cases for test/run
#   victims.sh MODE VICTIM [KEY=VALUE...]
# Modes: alone (no dump at all), thaw (dumped while it goes on), restore (dumped
# thrice, killed, restored), older (the same, restored from the second), again (restored,
# and dumped while sd-restore is there), refuse.
here=$(cd "$(dirname "$0")" && pwd)

if [ "$1" = list ]; then
	mode=$2
	grep -v '^#' "$3" | while read -r victim params needs; do
		[ -n "$victim" ] || continue
		options=''
		case $needs:$mode in
		thaw:restore | thaw:older | refused:restore | refused:older) continue ;;
		refused:thaw) options="REFUSED=yes" ;;
		unprotected:*) options="SD_DUMP_OPTIONS=--unprotected" ;;
		esac
		[ "$params" = - ] && params=''
		words=$(echo "$params" | tr , ' ')
		# shellcheck disable=SC2086
		echo "${LIST_PREFIX:-}$mode/$victim${params:+:$params} ${LIMIT:-60} ${options:+$options }$here/victims.sh $mode $victim $words"
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
	most=40
	case "$*" in
	# These are restarted in full after each freeze; the manual says so.
	*recv* | *semtimedop* | *sigtimedwait* | *pwait2*) most=4 ;;
	esac
	touch "$dir/go"
	while kill -0 $pid 2>/dev/null && [ $n -lt $most ]; do
		"$BUILD/sd-dump" -q -D "$ckpt" "$pid" 2>"$dir/dump.err" || dump_may_fail
		n=$((n + 1))
		sleep 0.4
	done
}

# The task may end just now: only the checkpoint of a live one must succeed.
dump_may_fail()
{
	[ "${REFUSED:-}" ] && grep -q 'not supported' "$dir/dump.err" && return
	kill -0 $pid 2>/dev/null || return
	sleep 0.5
	kill -0 $pid 2>/dev/null && fail "$(cat "$dir/dump.err")"
	return 0
}

# sd-restore is a moment longer in the directory than its pid file takes to appear.
dump_when_free()
{
	tries=0
	until "$BUILD/sd-dump" -D "$ckpt" "$pid" 2>"$dir/dump.err"; do
		tries=$((tries + 1))
		[ $tries -lt 400 ] && grep -q 'is writing here' "$dir/dump.err" ||
			fail "sd-dump of what was restored: $(cat "$dir/dump.err")"
		sleep 0.05
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
	for i in 1 2 3; do
		if [ "${REFUSED:-}" ]; then
			"$BUILD/sd-dump" -D "$ckpt" $pid
			[ $? = 3 ] || fail "not refused"
		else
			dump
		fi
	done
	case "$*" in *limit=*) until_it_ends "$@" ;; esac
	end_victim
	;;
restore)
	dump
	dump
	dump --kill
	gone
	restored
	;;
again)
	dump --kill
	gone
	begin_restored
	dump_when_free
	end_restored
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
