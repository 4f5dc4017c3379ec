#!/bin/sh
# A checkpoint travels between this machine, the guest, and the guest with a
# lesser processor: it is restored where kernel and processor have all that it
# was made with, and refused elsewhere by the names of all that differs. What
# differs is known from /proc/cpuinfo and uname(1).
#   travel.sh                           the whole journey
#   travel.sh make DIR...               in the guest: leave a checkpoint in each DIR
#   travel.sh judge DIR EXPECTED...     there: what becomes of the checkpoint in DIR
#   travel.sh cannot                    where a dump is refused because there is no XSAVE
# EXPECTED is "restored", or words of the refusal.
here=$(cd "$(dirname "$0")/.." && pwd)
: "${BUILD:?}"

# Instructions that a program may well have looked for.
known="pni ssse3 sse4_1 sse4_2 popcnt aes avx avx2 fma bmi1 bmi2 movbe f16c rdrand rdseed adx
	abm sse4a 3dnow 3dnowext xsave xsavec xsaveopt sha_ni avx512f avx512bw avx512vl clzero vaes"

flags()
{
	sed -n 's/^flags[^:]*://p' /proc/cpuinfo | head -n 1
}

has_word()
{
	case " $1 " in *" $2 "*) return 0 ;; esac
	return 1
}

make_checkpoint()
{
	CASE_DIR=$1
	. "$here/lib/common.sh"
	start_victim anon maps=any # device numbers are of one boot
	dump --kill
	gone
	flags >"$1/flags"
	uname -r >"$1/kernel"
}

# Every line of $dir/differs is in the refusal, and it names no instructions but these.
check_refusal()
{
	while read -r words; do
		grep -Fqw -e "$words" "$dir/refusal" || fail "the message does not say \"$words\""
	done <"$dir/differs"
	for feature in $(sed -n 's/.*lacks: \([^;]*\).*/\1/p' "$dir/refusal"); do
		has_word "$(cat "$dir/flags")" "$feature" || fail "$feature was not there"
		has_word "$(flags)" "$feature" && fail "$feature is here"
	done
	[ -e "/proc/$pid" ] && fail "a task was left"
	return 0
}

find_differences()
{
	for feature in $known; do
		has_word "$(cat "$dir/flags")" "$feature" && ! has_word "$(flags)" "$feature" &&
			echo "$feature"
	done
	[ "$(cat "$dir/kernel")" = "$(uname -r)" ] || {
		echo "the vdso of kernel $(cat "$dir/kernel")"
		echo "this kernel ($(uname -r))"
	}
}

judge()
{
	CASE_DIR=$1
	shift
	. "$here/lib/common.sh"
	pid=$(cat "$dir/ready")
	name=anon
	find_differences >"$dir/differs"
	if [ "$1" = restored ]; then
		[ -s "$dir/differs" ] && fail "this was to be the same machine: $(cat "$dir/differs")"
		restored
		return
	fi
	printf '%s\n' "$@" >>"$dir/differs"
	"$BUILD/sd-restore" -D "$ckpt" 2>"$dir/refusal"
	rc=$?
	cat "$dir/refusal"
	[ $rc = 3 ] || fail "exit status $rc"
	check_refusal
}

# Without XSAVE nothing is written, and what was to be saved goes on.
cannot()
{
	CASE_DIR=$(mktemp -d)
	. "$here/lib/common.sh"
	has_word "$(flags)" xsave && fail "this processor has XSAVE"
	start_victim anon maps=any
	"$BUILD/sd-dump" -D "$ckpt" "$pid" 2>"$dir/refusal"
	rc=$?
	cat "$dir/refusal"
	[ $rc = 3 ] || fail "exit status $rc"
	grep -q 'refused, nothing was written, the task goes on: .*XSAVE' "$dir/refusal" ||
		fail "the message does not say so"
	[ -e "$ckpt" ] && fail "it has begun a chain"
	end_victim
}

journey()
{
	# A folder that both sides see and may write.
	travel=$(mktemp -d "$BUILD/travel.XXXXXX") || exit 1
	trap 'rm -rf "$travel"' EXIT
	mkdir "$travel/host" "$travel/guest" "$travel/lesser"
	(make_checkpoint "$travel/host") || exit 1
	guest "make $travel/guest" "judge $travel/host vdso" || exit 1
	GUEST_CPU=max,la57=off,-avx2,-bmi2,-fma guest "make $travel/lesser" \
		"judge $travel/guest avx2 bmi2 fma" "judge $travel/host vdso" || exit 1
	GUEST_CPU=max,la57=off,-xsave guest cannot "judge $travel/guest xsave 'has no XSAVE'" || exit 1
	guest "judge $travel/guest restored" "judge $travel/lesser restored" || exit 1
	(judge "$travel/guest" vdso) || exit 1
	(judge "$travel/lesser" vdso) || exit 1
}

# guest STEP...: one start of it, each step in a namespace of its own
guest()
{
	steps=''
	for step; do
		steps="${steps:+$steps && }'$BUILD/test/nsinit' -t 200 '$here/guest/travel.sh' $step"
	done
	"$here/../scripts/guest" -t 400 sh -c "$steps"
}

step=${1:-journey}
[ $# = 0 ] || shift
case $step in
make) make_checkpoint "$@" ;;
judge) judge "$@" ;;
cannot) cannot ;;
*) journey ;;
esac
