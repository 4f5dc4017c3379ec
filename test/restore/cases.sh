#!/bin/sh
# sd-restore as a command: what it does for the tree it brought back, and what it says.
#   cases.sh CASE
here=$(cd "$(dirname "$0")/.." && pwd)
if [ "$1" = list ]; then
	sed -n 's/^case_\([a-z_]*\)()$/\1/p' "$0" | while read -r c; do
		echo "${LIST_PREFIX:-}restore/$(echo "$c" | tr _ -) ${LIMIT:-60} $here/restore/cases.sh $c"
	done
	exit
fi
. "$here/lib/common.sh"

# A condition comes true within half a minute.
until_true()
{
	n=0
	until eval "$1"; do
		n=$((n + 1))
		[ $n -gt 600 ] && fail "never: $1"
		sleep 0.05
	done
}

# start_shell SCRIPT: a session of its own that runs it; it makes $dir/ready
start_shell()
{
	name=sh
	export dir
	setsid sh -c "$1" </dev/null >>"$dir/out" 2>&1 &
	pid=$!
	wait_file "$dir/ready" $pid || fail "the shell does not run"
}

restore_in_background()
{
	rm -f "$dir/pid"
	"$BUILD/sd-restore" -D "$ckpt" --pidfile "$dir/pid" "$@" >"$dir/said" 2>&1 &
	restorer=$!
	wait_file "$dir/pid" $restorer || fail "sd-restore: $(cat "$dir/said")"
	until_true "grep -q restored '$dir/said'"
}

state()
{
	sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null
}

waiting='trap "exit 7" TERM; trap "echo got >>$dir/got" USR1; : >"$dir/ready"
while :; do sleep 0.2; done'

case_exits_alike()
{
	start_shell "$waiting"
	dump --kill
	gone
	restore_in_background
	kill -USR1 $restorer
	until_true "[ -s '$dir/got' ]"
	kill -TERM $restorer
	wait $restorer
	[ $? = 7 ] || fail "exit status is $?, not 7"
}

# A signal that is there before it begins: nothing is restored.
case_interrupted()
{
	start_shell "$waiting"
	dump --kill
	gone
	perl -MPOSIX -e 'sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGTERM)); kill("TERM", $$); exec(@ARGV)' \
		"$BUILD/sd-restore" "$ckpt" >"$dir/said" 2>&1
	rc=$?
	[ $rc = 1 ] || fail "exit status is $rc, not 1: $(cat "$dir/said")"
	grep -q interrupted "$dir/said" || fail "said $(cat "$dir/said")"
	[ ! -d "/proc/$pid" ] || fail "a task is left"
}

# Clocks that begin with the machine go on from where they were, whether this machine has been up
# for less than the one before, or for longer.
clocks_go_on()
{
	VICTIM_WORLD="unshare --time --monotonic $1 --boottime $1"
	start_victim clocks
	dump
	dump --kill
	gone
	restored --at 1
	rm -f "$dir/go"
	"$BUILD/sd-restore" -d "$ckpt" || fail "sd-restore"
	dump --kill
	restored
}

case_clocks_of_an_older_machine()
{
	clocks_go_on 100000
}

case_clocks_of_a_younger_machine()
{
	clocks_go_on -$(($(cut -d. -f1 /proc/uptime) / 2))
}

case_dies_alike()
{
	start_shell "$waiting"
	dump --kill
	gone
	restore_in_background
	kill -KILL "$pid"
	wait $restorer
	rc=$?
	[ $rc = 137 ] || fail "exit status is $rc, not 137"
}

case_detaches()
{
	start_shell "$waiting"
	dump --kill
	gone
	"$BUILD/sd-restore" -d --json "$ckpt" >"$dir/said" || fail "sd-restore"
	[ "$(json pid <"$dir/said")" = "$pid" ] || fail "pid: $(cat "$dir/said")"
	[ "$(json total_us <"$dir/said")" -gt 0 ] || fail "no time: $(cat "$dir/said")"
	kill -USR1 "$pid"
	until_true "[ -s '$dir/got' ]"
	kill -TERM "$pid"
	until_true "[ ! -d /proc/$pid ]"
}

# Whatever fails in the end leaves no task.
case_pidfile_fails()
{
	start_shell "$waiting"
	dump --kill
	gone
	"$BUILD/sd-restore" --pidfile "$dir/none/pid" "$ckpt" >"$dir/said" 2>&1
	[ $? = 1 ] || fail "exit status is not 1"
	grep -q "$dir/none/pid: No such file" "$dir/said" || fail "said $(cat "$dir/said")"
	[ "$(wc -l <"$dir/said")" = 1 ] || fail "not one line: $(cat "$dir/said")"
	[ ! -d "/proc/$pid" ] || fail "a task is left"
}

case_wrong_use()
{
	"$BUILD/sd-restore" 2>/dev/null
	[ $? = 2 ] || fail "no DIR: exit status is not 2"
	"$BUILD/sd-restore" --at 0 "$dir" 2>/dev/null
	[ $? = 2 ] || fail "--at 0: exit status is not 2"
	"$BUILD/sd-restore" "$dir/none" 2>"$dir/said"
	[ $? = 1 ] || fail "no such DIR: exit status is not 1"
	grep -q "$dir/none.*No such file" "$dir/said" || fail "said $(cat "$dir/said")"
	mkdir "$ckpt"
	chmod 700 "$ckpt"
	"$BUILD/sd-restore" "$ckpt" 2>"$dir/said"
	[ $? = 1 ] || fail "an empty DIR: exit status is not 1"
	grep -q "no checkpoint" "$dir/said" || fail "said $(cat "$dir/said")"
	"$BUILD/sd-restore" "$dir/none" 2>"$dir/said"
	[ $? = 1 ] || fail "no such DIR: exit status is not 1"
	grep -q "$dir/none: No such file" "$dir/said" || fail "said $(cat "$dir/said")"
}

# Its session is led by somebody else, who lives.
case_session_taken()
{
	name=session
	export dir waiting
	# shellcheck disable=SC2016
	setsid sh -c 'sh -c "$waiting" </dev/null >/dev/null 2>&1 & echo $! >"$dir/pids"
		echo $$ >"$dir/sid"; wait; while :; do sleep 0.2; done' </dev/null >/dev/null 2>&1 &
	until_true "[ -s '$dir/sid' ] && [ -e '$dir/ready' ]"
	pid=$(cat "$dir/pids")
	dump --kill
	until_true "[ ! -d /proc/$pid ]"
	"$BUILD/sd-restore" -d "$ckpt" >"$dir/said" 2>&1 && fail "it was restored"
	cat "$dir/said"
	grep -q -e --shell-job "$dir/said" || fail "no way out is named"
	restore_in_background --shell-job
	[ "$(ps -o sid= -p "$pid")" = "$(ps -o sid= -p $$)" ] || fail "it is in another session"
	kill -TERM $restorer
	wait $restorer
	[ $? = 7 ] || fail "exit status is $?, not 7"
	kill -9 "$(cat "$dir/sid")"
}

case_stopped_threads()
{
	start_victim threads count=20
	kill -STOP "$pid"
	until_true "[ \"\$(state $pid)\" = T ]"
	dump --kill
	gone
	restore_in_background
	for task in /proc/"$pid"/task/*; do
		until_true "[ \"\$(sed 's/.*) \(.\).*/\1/' $task/stat)\" = T ]"
	done
	touch "$dir/go"
	kill -CONT "$pid"
	wait $restorer || fail "exit status $?"
}

# Without what we add to them, images are as another program writes them.
case_stranger()
{
	start_victim vdso
	dump --tracker none --kill
	gone
	cp -r "$ckpt/1" "$dir/images"
	rm "$dir"/images/criu-lite*
	ckpt=$dir/images
	restored
}

# The same, from a kernel with another vdso: its pages tell.
case_strange_vdso()
{
	start_victim vdso
	vdso=$(sed -n 's/-.*\[vdso\]$//p' "/proc/$pid/maps")
	dump --tracker none --kill
	gone
	cp -r "$ckpt/1" "$dir/images"
	rm "$dir"/images/criu-lite*
	page=$(pages_before "$dir/images" "$vdso") || fail "the vdso is in no pagemap"
	printf changed | dd of="$dir/images/pages-1.img" bs=1 seek=$((page * 4096 + 2000)) conv=notrunc \
		2>/dev/null
	"$BUILD/sd-restore" -d "$dir/images" >"$dir/said" 2>&1
	[ $? = 3 ] || fail "exit status is not 3: $(cat "$dir/said")"
	grep -q "vdso of this kernel" "$dir/said" || fail "said $(cat "$dir/said")"
	[ ! -d "/proc/$pid" ] || fail "a task is left"
}

# pages_before DIR HEX: how many pages of pages-1.img lie before address HEX
pages_before()
{
	"$BUILD/sd-image" show --json "$1/pagemap-$pid.img" | tr -d ' \n' | tr '{' '\n' |
		sed -n 's/.*"vaddr":"*\([0-9a-fx]*\).*"nr_pages":"*\([0-9]*\).*/\1 \2/p' | {
		before=0
		while read -r at n; do
			at=$((at))
			[ $((0x$2)) -ge $at ] && [ $((0x$2)) -lt $((at + n * 4096)) ] &&
				echo $((before + (0x$2 - at) / 4096)) && exit 0
			before=$((before + n))
		done
		exit 1
	}
}

case_many_threads()
{
	start_victim threads count=1000
	dump
	dump --kill
	gone
	restored
}

# A deep chain is many open folders: none may stand where a newborn wants its own.
case_many_open_files()
{
	start_victim single
	dump --kill
	gone
	for n in 50 55 56 57 58 59 60 61 62 63 64 65 100; do
		rm -f "$dir/go" "$dir/pid"
		python3 -c 'import os, sys
for fd in range(3, int(sys.argv[1])):
	os.dup2(0, fd)
os.execv(sys.argv[2], sys.argv[2:])' $n "$BUILD/sd-restore" -D "$ckpt" --pidfile "$dir/pid" &
		restorer=$!
		wait_file "$dir/pid" $restorer && touch "$dir/go"
		wait $restorer || fail "with $n open files: exit status $?"
	done
}

# What is restored has its own nice values, not that of whoever restores.
case_under_nice()
{
	start_victim scheduling
	dump --kill
	gone
	renice -n 7 -p $$ >/dev/null
	restored
}

"case_$(echo "$1" | tr - _)"
