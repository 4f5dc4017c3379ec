# What the cases of fire share. They run in a namespace of their own, one at a time.
. "$(dirname "$0")/../lib/common.sh"
fire=$BUILD/test/fire
work=$dir/work
mkdir -p "$work"

# start_busy NAME PROGRAM [ARG...]: a victim that reports into $work/NAME; its pid in $pid
start_busy()
{
	name=$1
	shift
	program=$1
	shift
	setsid "$program" "$work/$name" "$@" </dev/null >/dev/null 2>&1 &
	pid=$!
	until_true "[ -s $work/$name ]"
	kill -0 "$pid" || fail "$name does not start"
	"$fire/judge" "$work/$name" ready || fail "$name does not begin"
}

end_busy()
{
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
	return 0
}

# until_true CONDITION: comes true within half a minute
until_true()
{
	tries=0
	until eval "$1"; do
		tries=$((tries + 1))
		[ $tries -gt 3000 ] && fail "never: $1 (${moment:-})"
		sleep 0.01
	done
}

# come_back [OPTION...]: sd-restore of $ckpt, $restorer, has written $dir/pid and waits for the tree
come_back()
{
	rm -f "$dir/pid"
	"$BUILD/sd-restore" -D "$ckpt" --pidfile "$dir/pid" "$@" >"$dir/restored" 2>&1 &
	restorer=$!
	until_true '[ -s "$dir/pid" ] || ! kill -0 $restorer 2>/dev/null'
	[ -s "$dir/pid" ] || fail "it does not come back: $moment: $(cat "$dir/restored")"
}

state()
{
	sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null
}

# The last thing a rescue does is to unmap scratch.
unscathed()
{
	until_true "! grep -q ' [r-][w-][x-]s .*/dev/zero' /proc/$pid/maps"
}

# It goes on, nobody holds it, and it finds nothing wrong.
alive()
{
	kill -0 "$pid" 2>/dev/null || fail "$name: it is dead after: $*"
	grep -q '^TracerPid:	0$' "/proc/$pid/status" || fail "$name: still traced after: $*"
	"$fire/judge" "$work/$name" alive || fail "$name: harm after: $*"
}

unharmed()
{
	unscathed
	alive "$@"
}

# --- a grove (grove.c), of $tasks tasks ---

grove_pids()
{
	tr '\n' ',' <"$work/grove.pids" | sed 's/,$//'
}

# Killed, but not reaped, is gone.
grove_living()
{
	ps -o stat= -p "$(grove_pids)" | grep -vc '^[ZX]'
}

# In the end, that is: those that die, or run into the closed gate, may take a moment, and all
# of them be there for so long. Who goes on lives.
grove_all_or_none()
{
	until_true '[ "$(grove_living)" = 0 ] || [ "$(grove_living)" = $tasks ]'
	if [ "$(grove_living)" != 0 ] &&
		! "$fire/judge" "$work/grove" alive "$(head -n 1 "$work/grove.pids")" 2>"$dir/judged"; then
		kill -0 "$(head -n 1 "$work/grove.pids")" 2>/dev/null &&
			fail "harm: $(cat "$dir/judged") after: $moment"
		until_true '[ "$(grove_living)" = 0 ]'
	fi
	all_or_none=none
	[ "$(grove_living)" = 0 ] && return
	[ "$(grove_living)" = "$tasks" ] || fail "$(grove_living) of $tasks tasks live after: $moment"
	all_or_none=all
}

# Who sees his parent go before him takes that for damage: it is forgotten.
grove_end()
{
	xargs -r kill -9 <"$work/grove.pids" 2>/dev/null
	until_true '[ -z "$(ps -o stat= -p "$(grove_pids)")" ]'
	printf '\0\0\0\0' | dd of="$work/grove" bs=1 seek=4 conv=notrunc status=none
}

# A number from 1 to $1.
random()
{
	echo $(($(od -An -N4 -tu4 /dev/urandom) % $1 + 1))
}

# draw_call FILE: a call, $at, of the whole run whose phases trap wrote to FILE. Half of
# the moments are any call; half are any phase first, so that short ones are hit too.
draw_call()
{
	at=$(awk -v any="$(random 2)" -v a="$(random 100000)" -v b="$(random 100000)" '
		NR > 1 && $2 > 0 { calls[n++] = $2; all += $2 }
		END { if (any == 2) { print int(1 + (all - 1) * a / 100000); exit }
			phase = int((n - 1) * a / 100000 + 0.5)
			for (i = 0; i < phase; i++) before += calls[i]
			print int(before + 1 + (calls[phase] - 1) * b / 100000) }' "$1")
}

newest()
{
	ls "$ckpt" 2>/dev/null | sed -n '/^[0-9][0-9]*$/p' | sort -n | tail -n 1
}

# What is published is whole; prints nothing when it is.
whole()
{
	[ -z "$(newest)" ] && return 0
	"$BUILD/sd-image" verify "$ckpt" >"$dir/verified" 2>&1 || {
		cat "$dir/verified"
		fail "damaged after: $*"
	}
}

# The newest checkpoint comes back, in another world with files of its own, and is unharmed.
comes_back()
{
	[ -z "$(newest)" ] && return 0
	rm -rf "$dir/ckpt2" "$dir/work2"
	cp -r "$ckpt" "$dir/ckpt2"
	cp -r "$work" "$dir/work2"
	"$BUILD/test/nsinit" -t 60 "$0" restore-elsewhere "$dir" "$name" >"$dir/restored" 2>&1 || {
		cat "$dir/restored"
		"$BUILD/sd-image" --json list "$ckpt" | grep -e seq -e parent -e reason -e tracker
		fail "$name: checkpoint $(newest) does not come back after: $*"
	}
}

# A dump that must work. While the victim reads its own mappings it is refused by name.
dump_it()
{
	tries=0
	while ! "$BUILD/sd-dump" -q -D "$ckpt" ${2:-} "$pid" 2>"$dir/said"; do
		tries=$((tries + 1))
		grep -q "a file of a task" "$dir/said" && [ $tries -lt 50 ] || fail "$1: $(cat "$dir/said")"
	done
}

# What is said is one line, and tells whose it is once.
one_line()
{
	[ "$(wc -l <"$1")" = 1 ] || {
		cat "$1"
		fail "not one line on stderr: $2"
	}
	! grep -Eq '(^|[:;] )([^:;]+: )\2' "$1" || fail "said twice: $(cat "$1") ($2)"
}

restore_elsewhere()
{
	mount --bind "$1/work2" "$1/work" || exit 1
	# The pids of the tree must be free.
	echo 20000 >/proc/sys/kernel/ns_last_pid
	"$BUILD/sd-restore" -q -d -D "$1/ckpt2" --pidfile "$1/pid" || exit 1
	root=$(cat "$1/pid")
	rm "$1/pid"
	[ "$(sed 's/.*) \(.\).*/\1/' "/proc/$root/stat")" = T ] && kill -CONT "$root"
	"$fire/judge" "$1/work/$2" alive
	rc=$?
	kill -9 "$root"
	[ ! -e "$1/work/$2.pids" ] || xargs kill -9 <"$1/work/$2.pids" 2>/dev/null
	exit $rc
}

# --- kills of sd-dump, and what must be so afterwards ---

# start_kind avx|go|stopped|seccomp: a busy victim
start_kind()
{
	kind=$1
	case $kind in
	avx) start_busy avx "$fire/victim" 6 ;;
	go) start_busy go "$fire/victim-go" ;;
	stopped) start_busy stopped "$fire/victim" 5 ;;
	seccomp) start_busy seccomp "$fire/victim" 3 allow ;;
	*) exit 2 ;;
	esac
}

before_kill()
{
	case $kind in
	stopped)
		kill -STOP "$pid"
		until_true "[ \"\$(state $pid)\" = T ]"
		;;
	esac
}

after_kill()
{
	case $kind in
	stopped)
		until_true "[ \"\$(state $pid)\" = T ]"
		kill -CONT "$pid"
		;;
	esac
}

# The task goes on, what is published is whole and comes back, the next dump works.
judge_kill()
{
	unharmed "$moment"
	whole "$moment"
	[ "$(newest)" = "$before" ] || comes_back "$moment"
	dump_it "the dump right after $moment"
	unharmed "the dump after $moment"
	comes_back "the dump after $moment"
}

if [ "$1" = restore-elsewhere ]; then
	restore_elsewhere "$2" "$3"
fi
