#!/bin/sh
# Kill the driver at every numbered step, and at random moments, while it holds a
# victim; after each kill the victim must go on as if nothing had been.
#
#	run.sh BUILD [THREADS [RANDOM]]
#
# THREADS of the victim that goes through every step (default 3), RANDOM kills of
# each victim (default 10). Prints counts; exits 1 on any harm.
set -u

build=$1
threads=${2:-3}
random=${3:-10}
workers=4
cd "$(dirname "$0")/../.." || exit 1
out=$build/rescue
mkdir -p "$out"
tmp=$(mktemp -d) || exit 1
victims=""
trap 'for p in $victims; do kill -9 $p 2>/dev/null; done; rm -rf "$tmp"' EXIT

compile() {
	steps=$build/steps
	libs="libremote.a libx86-64.a libproc.a libproto.a libbase.a"
	for l in $libs; do set -- "$@" "$steps/$l"; done
	make -s BUILD="$build" step-programs || return 1
	cc="${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -I. -I$steps"
	$cc -DRESCUE_STEPS test/rescue/driver.c -o "$out/driver" -Wl,--start-group "$@" \
		-Wl,--end-group $(pkg-config --libs libprotobuf-c libbsd-overlay) &&
	$cc test/rescue/victim.c -o "$out/victim" -pthread &&
	$cc test/rescue/judge.c -o "$out/judge" || return 1
	if command -v go >/dev/null; then
		go build -o "$out/victim-go" test/rescue/victim.go || return 1
	fi
}

# start NAME PROGRAM ARGS...: sets $pid, and waits until it works
start() {
	name=$1
	shift
	prog=$1
	shift
	"$prog" "$tmp/$name" "$@" &
	pid=$!
	victims="$victims $pid"
	while [ ! -s "$tmp/$name" ]; do
		kill -0 $pid 2>/dev/null || return 1
		sleep 0.02
	done
	"$out/judge" "$tmp/$name" ready
}

passed=0
failed=0
good() { passed=$((passed + 1)); }
bad() {
	failed=$((failed + 1))
	echo "rescue: $*" >&2
}

# The last thing a rescue does is to unmap scratch.
wait_rescued() {
	n=0
	while grep -q ' [r-][w-][x-]s .*/dev/zero' "/proc/$1/maps" 2>/dev/null; do
		n=$((n + 1))
		[ $n -gt 2000 ] && return 1
		sleep 0.01
	done
	kill -0 "$1" 2>/dev/null
}

# die STEP PID: the driver must have been killed, or have come to its end before that step
die() {
	RESCUE_STEP=$1 "$out/driver" "$2" >/dev/null 2>"$tmp/said.$2"
	rc=$?
	[ $rc = 137 ] || [ $rc = 0 ] && return 0
	cat "$tmp/said.$2" >&2
	return 1
}

# One of $workers victims, each for its share of the steps; counts into a file.
every_step() {
	worker=$1
	steps=$2
	ok=0
	start "step$worker" "$out/victim" "$threads" || exit 1
	step=$worker
	while [ "$step" -le "$steps" ]; do
		if die "$step" $pid && wait_rescued $pid && "$out/judge" "$tmp/step$worker" alive
		then ok=$((ok + 1))
		else
			echo "rescue: harm after step $step" >&2
			break
		fi
		step=$((step + workers))
	done
	kill -9 $pid
	echo $ok >"$tmp/count$worker"
}

count_steps() {
	start count "$out/victim" "$threads" || return 1
	"$out/driver" $pid 3 | sed -n '1s/.*steps \([0-9]*\):.*/\1/p'
	# Undisturbed, not one call may have noticed.
	"$out/judge" "$tmp/count" exact || echo bad
	kill -9 $pid
}

test_every_step() {
	steps=$(count_steps)
	case $steps in
	*[!0-9]* | "") bad "a dump that nobody disturbs: $steps" ; return ;;
	esac
	w=0
	jobs=""
	while [ $w -lt $workers ]; do
		(every_step $w "$steps") &
		jobs="$jobs $!"
		w=$((w + 1))
	done
	for j in $jobs; do wait "$j"; done
	total=$(cat "$tmp"/count[0-9]* | awk '{ n += $1 } END { print n + 0 }')
	passed=$((passed + total))
	[ "$total" = $((steps + 1)) ] || bad "$((steps + 1 - total)) of $((steps + 1)) steps failed"
	echo "rescue: $threads threads, $total of $((steps + 1)) steps survived"
}

# random_kills NAME: of victim $pid, which reports under NAME
random_kills() {
	i=0
	while [ $i -lt "$random" ]; do
		"$out/driver" $pid 1000 >/dev/null 2>&1 &
		driver=$!
		sleep "0.0$(od -An -N1 -tu1 /dev/urandom | awk '{ printf "%03d", $1 * 3 }')"
		kill -9 $driver 2>/dev/null
		wait $driver 2>/dev/null
		if wait_rescued $pid && "$out/judge" "$tmp/$1" alive
		then good
		else bad "$1: harm after a random kill"; return; fi
		i=$((i + 1))
	done
	echo "rescue: $1: $random random kills survived"
}

# A tree: the killed driver held several tasks at once.
test_tree() {
	sh -c "'$out/victim' '$tmp/left' 3 & '$out/victim' '$tmp/right' 4 & wait" &
	root=$!
	until [ -s "$tmp/left" ] && [ -s "$tmp/right" ]; do sleep 0.02; done
	"$out/judge" "$tmp/left" ready
	"$out/judge" "$tmp/right" ready
	tree="$root $(cat /proc/$root/task/$root/children)"
	victims="$victims $tree"
	step=0
	while [ $step -lt 250 ]; do
		die $step $root && for p in $tree; do wait_rescued "$p" || break; done
		if "$out/judge" "$tmp/left" alive && "$out/judge" "$tmp/right" alive
		then good
		else bad "tree: harm after step $step"; return; fi
		step=$((step + 11))
	done
	echo "rescue: a tree of three tasks survived"
}

state() { sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status"; }

# A stopped task stays stopped, and goes on after SIGCONT.
test_stopped() {
	start stopped "$out/victim" 5 || return
	step=0
	while [ $step -lt 120 ]; do
		kill -STOP $pid
		until [ "$(state $pid)" = T ]; do sleep 0.01; done
		die $step $pid && wait_rescued_stopped $pid || { bad "stopped: step $step"; return; }
		kill -CONT $pid
		if wait_rescued $pid && "$out/judge" "$tmp/stopped" alive
		then good
		else bad "stopped: harm after step $step"; return; fi
		step=$((step + 7))
	done
	echo "rescue: a stopped task survived"
}

# While stopped it cannot let itself go: that waits for SIGCONT.
wait_rescued_stopped() {
	n=0
	until [ "$(state "$1")" = T ]; do
		n=$((n + 1))
		[ $n -gt 2000 ] && return 1
		sleep 0.01
	done
}

test_seccomp() {
	start allow "$out/victim" 3 allow || { echo "rescue: no seccomp here"; return; }
	if "$out/driver" $pid >/dev/null && "$out/judge" "$tmp/allow" exact
	then good
	else bad "seccomp: a filter that allows a rescue"; fi
	random_kills allow
	start deny "$out/victim" 3 deny || return
	"$out/driver" $pid 2>/dev/null >&2
	[ $? = 3 ] && good || bad "seccomp: a filter that forbids a rescue was not refused"
	if RESCUE_UNPROTECTED=1 "$out/driver" $pid >/dev/null && "$out/judge" "$tmp/deny" exact
	then good
	else bad "seccomp: --unprotected"; fi
}

compile || { echo "rescue: does not compile" >&2; exit 1; }
test_every_step
start random "$out/victim" 24 && random_kills random
[ -x "$out/victim-go" ] && start go "$out/victim-go" && random_kills go
test_tree
test_stopped
test_seccomp
echo "rescue: $passed passed, $failed failed"
[ $failed = 0 ]
