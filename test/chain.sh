#!/bin/sh
# What holds between checkpoints, and what must be said when one cannot be restored.
#   chain.sh CASE
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" = list ]; then
	sed -n 's/^case_\([a-z_]*\)()$/\1/p' "$0" | while read -r c; do
		echo "${LIST_PREFIX:-}chain/$(echo "$c" | tr _ -) ${LIMIT:-60} $here/chain.sh $c"
	done
	exit
fi
. "$here/lib/common.sh"

# A restore that must fail with a message that has these words, and leave no task.
must_not_restore()
{
	"$BUILD/sd-restore" -D "$ckpt" >"$dir/said" 2>&1 && fail "it was restored"
	cat "$dir/said"
	for words; do
		grep -q "$words" "$dir/said" || fail "the message does not say \"$words\""
	done
	kill -0 "$pid" 2>/dev/null && [ "${taken:-}" != yes ] && fail "pid $pid is alive"
	return 0
}

case_increments_are_small()
{
	start_victim anon pages=9000
	dump --json >"$dir/1.json"
	dump --json >"$dir/2.json"
	dump --json --full >"$dir/3.json"
	first=$(json pages_written <"$dir/1.json")
	second=$(json pages_written <"$dir/2.json")
	third=$(json pages_written <"$dir/3.json")
	[ "$first" -ge 3000 ] && [ "$third" -ge 3000 ] || fail "full dumps of $first and $third pages"
	[ "$second" -lt 100 ] || fail "an increment of $second pages"
	[ "$(json checkpoint <"$dir/2.json")" = 2 ] || fail "the second is not number 2"
	"$BUILD/sd-image" verify "$ckpt" || fail "sd-image verify"
	"$BUILD/sd-image" list "$ckpt" || fail "sd-image list"
	end_victim
}

# After --at 2 of 3 the next is 4, an increment on 2.
case_goes_on_from_older()
{
	start_victim anon pages=9000
	dump
	dump
	dump --kill
	gone
	rm -f "$dir/pid"
	"$BUILD/sd-restore" -d -D "$ckpt" --at 2 --pidfile "$dir/pid" || fail "sd-restore"
	dump --json >"$dir/4.json"
	[ "$(json checkpoint <"$dir/4.json")" = 4 ] || fail "the next number is not 4"
	[ "$(json pages_written <"$dir/4.json")" -lt 200 ] || fail "not an increment: $(cat "$dir/4.json")"
	[ "$(readlink "$ckpt/4/parent")" = ../2 ] || fail "its parent is $(readlink "$ckpt/4/parent")"
	touch "$dir/go"
	n=0
	while kill -0 "$pid" 2>/dev/null; do
		n=$((n + 1))
		[ $n -gt 400 ] && fail "the restored task does not end"
		sleep 0.05
	done
	[ -s "$dir/out" ] && fail "the restored task complains"
	return 0
}

# Restored by its own restored self's checkpoint: two generations.
case_twice()
{
	start_victim threads count=4
	dump --kill
	gone
	"$BUILD/sd-restore" -d -D "$ckpt" || fail "first restore"
	dump
	dump --kill
	n=0
	while kill -0 "$pid" 2>/dev/null; do
		n=$((n + 1))
		[ $n -gt 400 ] && fail "the killed task does not go"
		sleep 0.05
	done
	restored
}

case_file_changed()
{
	start_victim regular
	dump --kill
	gone
	echo more >>"$dir/data"
	must_not_restore "$dir/data"
}

# Pages of a private mapping that were armed and then cut off, its copies among them, are nothing
# to save: however the next checkpoint looks, and first of all not because the last one was armed.
case_mapped_file_cut()
{
	start_victim private-file-cut
	dump
	truncate -s 8192 "$dir/data"
	dump
	dump --full --tracker none
	dump --full
	dump --kill
	gone
	for at in 2 3 4 5; do
		restored --at $at
	done
}

# A read goes past all caches into pages that are pinned, and so takes no fault when it comes to its end
# after those pages were armed and read: read_during_dump DIRECT HOW
read_during_dump()
{
	mkdir "$dir/mnt"
	"$BUILD/test/held" "$dir/mnt" "$dir" $2 &
	server=$!
	wait_file "$dir/held.ready" $server || { wait $server; exit; }
	start_victim held-read direct="$1"
	dump --tracker wp-async
	touch "$dir/step"
	wait_file "$dir/held.reading" "$pid" || fail "it ended"
	dump --tracker wp-async &
	dumper=$!
	until grep -q '^TracerPid:	[1-9]' "/proc/$pid/status"; do # what is read early was read
		kill -0 $dumper || fail "no freeze"
		sleep 0.01
	done
	[ -e "$dir/did" ] && fail "the read is over"
	touch "$dir/held.go"
	wait $dumper || fail "sd-dump: exit status $?"
	wait_file "$dir/did" "$pid" || fail "it ended"
	dump --tracker wp-async --kill
	gone
	restored --at 3
	restored --at 2
	kill $server
	wait $server
	return 0
}

case_read_during_dump_direct()
{
	read_during_dump 1 ''
}

case_read_during_dump_by_fuse()
{
	read_during_dump 0 direct
}

case_read_during_dump_cached()
{
	read_during_dump 0 ''
}

case_file_gone()
{
	start_victim regular
	dump --kill
	gone
	rm "$dir/data"
	must_not_restore "$dir/data"
}

case_pid_taken()
{
	start_victim single
	dump --kill
	gone
	echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
	sleep 1000 &
	other=$!
	[ $other = "$pid" ] || fail "could not take pid $pid"
	tries=0
	until [ "$(cat /proc/$other/comm)" = sleep ]; do
		tries=$((tries + 1))
		[ $tries -lt 2000 ] || fail "the shell's child does not become sleep"
		sleep 0.01
	done
	taken=yes
	must_not_restore "$pid" sleep
	kill $other
	wait $other
	restored
}

# Nobody has the pid, but somebody is in the session of that number, whose leader has ended.
case_session_in_use()
{
	start_victim single
	dump --kill
	gone
	echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
	setsid sh -c 'sleep 1000 & echo $!' >"$dir/other" &
	[ $! = "$pid" ] || fail "could not take pid $pid"
	wait $!
	other=$(cat "$dir/other")
	must_not_restore "pid $pid is in use as the session of task $other"
	kill "$other"
	while kill -0 "$other" 2>/dev/null; do sleep 0.01; done
	restored
}

# The rights to choose pids and to make time namespaces are missing, and it is root all the same.
case_without_rights()
{
	start_victim single
	dump --kill
	gone
	setpriv --bounding-set -sys_admin,-checkpoint_restore "$BUILD/sd-restore" -v -D "$ckpt" \
		>"$dir/said" 2>&1 && fail "it was restored"
	cat "$dir/said"
	grep -q "choosing pid $pid needs root, or CAP_CHECKPOINT_RESTORE" "$dir/said" || fail "that is not why"
	kill -0 "$pid" 2>/dev/null && fail "pid $pid is alive"
	restored
}

# Without room for frames, and without room for more, it could not be restored: no option helps.
case_no_room_in_stack()
{
	start_victim deep-stack
	prlimit --pid "$pid" --stack=300000:
	for option in -q --unprotected; do
		"$BUILD/sd-dump" $option -D "$ckpt" "$pid" 2>"$dir/said"
		rc=$?
		[ $rc = 3 ] && grep -q "no unused page in its stack, which may not grow" "$dir/said" ||
			fail "$option: exit status $rc: $(cat "$dir/said")"
	done
	prlimit --pid "$pid" --stack=8000000:
	dump --kill
	gone
	restored
}

# A shell that waits for its program: the root has few pages, and is not armed early.
case_large_child()
{
	: >"$dir/out"
	setsid sh -c '"$0" anon "$1" pages=2000; :' "$BUILD/test/victim" "$dir" </dev/null >>"$dir/out" 2>&1 &
	pid=$!
	wait_file "$dir/ready" $pid
	dump
	for i in 2 3; do
		dump --json >"$dir/json"
		[ "$(jq .full_reason "$dir/json")" = null ] && [ "$(jq .pages_written "$dir/json")" -lt 1000 ] ||
			fail "dump $i: $(cat "$dir/json")"
	done
	dump_that_is_refused
	dump --json >"$dir/json"
	[ "$(jq .full_reason "$dir/json")" = null ] || fail "after one that was refused: $(cat "$dir/json")"
	name=large-child
	end_victim
}

# Refused when it is armed early already: somebody traces a task.
dump_that_is_refused()
{
	child=$(cat "/proc/$pid/task/$pid/children")
	strace -q -e trace=none -e signal=none -o /dev/null -p "${child% }" &
	tracer=$!
	until grep -q "^TracerPid:	$tracer" "/proc/${child% }/status"; do sleep 0.01; done
	"$BUILD/sd-dump" -q -D "$ckpt" "$pid" 2>"$dir/said" && fail "a traced task was dumped"
	grep -q "traced by" "$dir/said" || fail "$(cat "$dir/said")"
	kill $tracer
	wait $tracer
}

# Without room for a descriptor its writes are not tracked, which is said; with room they are.
case_cannot_be_tracked()
{
	start_victim anon
	prlimit --pid "$pid" --nofile=0:
	dump --tracker wp-async >"$dir/said"
	grep -q "^not tracked, all written each time: task $pid: userfaultfd: Too many open files$" "$dir/said" ||
		fail "said: $(cat "$dir/said")"
	dump --tracker wp-async --json >"$dir/json"
	[ "$(jq -r .full_reason "$dir/json")" = "no task of the tree could be tracked" ] || fail "$(cat "$dir/json")"
	[ "$(jq '.untracked | length' "$dir/json")" = 1 ] || fail "$(cat "$dir/json")"
	"$BUILD/sd-image" list --json "$ckpt" | grep -q "task $pid: userfaultfd" || fail "the image does not say it"
	prlimit --pid "$pid" --nofile=1000:
	dump --tracker wp-async --json >"$dir/json"
	[ "$(jq '.untracked | length' "$dir/json")" = 0 ] || fail "$(cat "$dir/json")"
	dump --tracker wp-async --json --kill >"$dir/json"
	[ "$(jq .full_reason "$dir/json")" = null ] || fail "$(cat "$dir/json")"
	gone
	restored
}

# A child of another user, hidden from those who may dump what is their own.
case_hidden_child()
{
	mount -t proc -o hidepid=2 proc /proc || fail "no /proc that hides"
	as_user='setpriv --reuid=65534 --regid=65534 --clear-groups'
	setsid sh -c "sleep 1000 & exec $as_user sleep 1000" </dev/null >/dev/null 2>&1 &
	pid=$!
	until grep -q '^Uid:	65534' "/proc/$pid/status" && child=$(cat "/proc/$pid/task/$pid/children") &&
		[ -n "$child" ]; do sleep 0.01; done
	cp "$BUILD/sd-dump" "$dir"
	$as_user --inh-caps=-all,+checkpoint_restore --ambient-caps=-all,+checkpoint_restore \
		"$dir/sd-dump" --tracker none -D "$ckpt" "$pid" 2>"$dir/said"
	rc=$?
	[ $rc = 3 ] || fail "exit status $rc: $(cat "$dir/said")"
	grep -q "task ${child% }: /proc hides it" "$dir/said" || fail "said: $(cat "$dir/said")"
	[ ! -e "$ckpt/1" ] || fail "something was written"
	kill -9 "$pid" $child
}

# One byte of the pages is damaged: both programs say where.
case_damaged()
{
	start_victim anon
	dump
	dump --full --kill
	gone
	pages=$(ls "$ckpt"/2/pages-*.img | head -n 1)
	printf '\377' | dd of="$pages" bs=1 seek=5000 conv=notrunc status=none
	"$BUILD/sd-image" verify "$ckpt" >"$dir/verified" 2>&1 && fail "verify finds nothing"
	cat "$dir/verified"
	grep -q "pages-" "$dir/verified" || fail "verify does not name the file"
	must_not_restore "pages-"
	restored --at 1
}

case_exit_status()
{
	start_victim fails
	dump --kill
	gone
	rm -f "$dir/pid"
	"$BUILD/sd-restore" -D "$ckpt" --pidfile "$dir/pid" &
	restorer=$!
	wait_file "$dir/pid" $restorer || fail "sd-restore ended"
	touch "$dir/go"
	wait $restorer
	rc=$?
	[ $rc = 42 ] || fail "exit status is $rc, not the task's 42"
}

# sd-restore as the parent passes signals on.
case_signal_passed_on()
{
	start_victim sleeps
	dump --kill
	gone
	rm -f "$dir/pid"
	"$BUILD/sd-restore" -D "$ckpt" --pidfile "$dir/pid" &
	restorer=$!
	wait_file "$dir/pid" $restorer || fail "sd-restore ended"
	kill -TERM $restorer
	wait $restorer
	rc=$?
	[ $rc = 143 ] || fail "exit status is $rc, not 128 + SIGTERM"
	kill -0 "$pid" 2>/dev/null && fail "pid $pid is alive"
	return 0
}

case_stop()
{
	start_victim threads count=3
	dump --stop
	state=$(sed 's/.*) //; s/ .*//' "/proc/$pid/stat")
	[ "$state" = T ] || fail "the task is in state $state"
	kill -CONT "$pid"
	end_victim
}

case_no_such_pid()
{
	"$BUILD/sd-dump" -D "$ckpt" 30000 2>"$dir/said" && fail "dumped a task that is not there"
	cat "$dir/said"
	grep -q 30000 "$dir/said" || fail "the message does not name the pid"
	[ -e "$ckpt/1" ] && fail "a checkpoint appeared"
	return 0
}

# Each link is an open folder; the limit that a shell gives is no limit of chains.
case_deeper_than_the_limit_of_open_files()
{
	start_victim single
	n=0
	while [ $n -lt 44 ]; do
		dump -q --tracker hash
		n=$((n + 1))
	done
	dump --tracker hash --kill
	gone
	[ "$(readlink "$ckpt/45/parent")" = ../44 ] || fail "this is no chain"
	ulimit -Sn 40
	"$BUILD/sd-image" verify "$ckpt" >"$dir/said" || fail "sd-image verify: $(tail -n 1 "$dir/said")"
	restored
}

"case_$1"
