#!/bin/sh
# criu-lite, called as criu is: every verb, what it leaves, and what it must not.
#   criu-lite.sh CASE
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" = list ]; then
	sed -n 's/^case_\([a-z_]*\)()$/\1/p' "$0" | while read -r c; do
		echo "${LIST_PREFIX:-}criu-lite/$(echo "$c" | tr _ -) ${LIMIT:-60} $here/criu-lite.sh $c"
	done
	exit
fi
. "$here/lib/common.sh"

# No configuration of this machine's is to have a say.
export HOME="$dir"

criu_lite()
{
	"$BUILD/criu-lite" "$@"
}

# cl ARG...: must end well; what it says is in $dir/said
cl()
{
	criu_lite "$@" >"$dir/said" 2>&1 || fail "criu-lite $*: exit status $?: $(cat "$dir/said")"
}

# cl_fails WORDS ARG...: must end with 1 and say WORDS
cl_fails()
{
	words=$1
	shift
	criu_lite "$@" >"$dir/said" 2>&1
	rc=$?
	[ $rc = 1 ] || fail "criu-lite $*: exit status $rc, not 1: $(cat "$dir/said")"
	grep -q -- "$words" "$dir/said" || fail "criu-lite $* does not say \"$words\": $(cat "$dir/said")"
}

# images N...: the directories that a script of a user's would make
images()
{
	for d; do
		mkdir "$dir/$d" || fail "mkdir $d"
	done
}

# stat_of FILE KEY: a figure of stats-dump or stats-restore
stat_of()
{
	"$BUILD/sd-image" show --json "$1" | jq -r "[.. | objects | .$2? // empty][0]"
}

# comes_back DIR [OPTION...]: what is in DIR goes on and has nothing to complain about
comes_back()
{
	from=$1
	shift
	rm -f "$dir/go" "$dir/pid"
	criu_lite restore -D "$from" --pidfile "$dir/pid" "$@" &
	restorer=$!
	wait_file "$dir/pid" $restorer || {
		wait $restorer
		fail "criu-lite restore of $from: exit status $?"
	}
	[ "$(cat "$dir/pid")" = "$pid" ] || fail "restored as $(cat "$dir/pid"), not $pid"
	touch "$dir/go"
	wait $restorer
	rc=$?
	[ $rc = 0 ] || fail "$name after the restore: exit status $rc"
	[ -s "$dir/out" ] && fail "$name after the restore: it complains"
	return 0
}

ended()
{
	n=0
	while kill -0 "$pid" 2>/dev/null; do
		n=$((n + 1))
		[ $n -gt 400 ] && fail "task $pid does not end"
		sleep 0.05
	done
}

figures_are_true()
{
	written=$(stat_of "$1/stats-dump" pages_written)
	shared=$(stat_of "$1/stats-dump" shpages_written)
	bytes=$(cat "$1"/pages-*.img | wc -c)
	[ $(((written + shared) * 4096)) = "$bytes" ] ||
		fail "$1: $written and $shared pages written, but $bytes bytes"
}

case_dump_and_restore()
{
	images a
	start_victim anon pages=9000
	cl dump -t $pid -D "$dir/a"
	[ -s "$dir/said" ] && fail "it is not silent: $(cat "$dir/said")"
	gone
	[ -e "$dir/a/inventory.img" ] || fail "there is no inventory.img"
	[ -e "$dir/a/1" ] || [ -e "$dir/a/lock" ] || [ -e "$dir/a/armed" ] && fail "$(ls "$dir/a")"
	figures_are_true "$dir/a"
	comes_back "$dir/a"
	[ "$(stat_of "$dir/a/stats-restore" pages_restored)" -ge 3000 ] || fail "pages_restored"
}

case_leave_running()
{
	images a
	start_victim anon pages=100
	cl dump --tree $pid --leave-running --images-dir "$dir/a" --pidfile "$dir/a/pid"
	[ "$(cat "$dir/a/pid")" = $pid ] || fail "the pid file"
	[ "$(ls /run/criu-lite 2>/dev/null)" ] && fail "a tracker that nobody asked for"
	end_victim
}

case_leave_stopped()
{
	images a
	start_victim anon pages=100
	cl dump -t$pid -s -D"$dir/a"
	grep -q '^State:.*T' /proc/$pid/status || fail "it is not stopped"
	kill -CONT $pid
	end_victim
}

# The way of pre-copy: pages thrice, each time fewer, then all the rest.
case_pre_dumps()
{
	images 1 2 3 4
	start_victim anon pages=9000
	cl pre-dump -t $pid -D "$dir/1"
	cl pre-dump -t $pid -D "$dir/2" --prev-images-dir ../1 --track-mem
	cl pre-dump -t $pid -D "$dir/3" --prev-images-dir ../2 --track-mem --pre-dump-mode read
	grep -q '^Warn' "$dir/said" && fail "no increment: $(cat "$dir/said")"
	cl dump -t $pid -D "$dir/4" --prev-images-dir ../3 --track-mem
	gone
	[ "$(readlink "$dir/4/parent")" = ../3 ] || fail "the link to the parent"
	[ "$(stat_of "$dir/1/stats-dump" pages_written)" -ge 3000 ] || fail "the first wrote too little"
	for d in 2 3 4; do
		[ "$(stat_of "$dir/$d/stats-dump" pages_written)" -lt 200 ] || fail "$d wrote too much"
		[ "$(stat_of "$dir/$d/stats-dump" pages_skipped_parent)" -ge 3000 ] || fail "$d"
		figures_are_true "$dir/$d"
	done
	[ -e "$dir/2/mm-$pid.img" ] && fail "a pre-dump holds more than memory"
	cl_fails "holds memory only" restore -d -D "$dir/3"
	comes_back "$dir/4"
}

# Each of them can be restored, by itself.
case_series_of_dumps()
{
	images 1 2 3
	start_victim anon pages=9000
	cl dump -R -t $pid -D "$dir/1" --track-mem
	cl dump -R -t $pid -D "$dir/2" --track-mem --prev-images-dir ../1
	cl dump -t $pid -D "$dir/3" --track-mem --prev-images-dir ../2
	gone
	[ "$(stat_of "$dir/3/stats-dump" pages_written)" -lt 200 ] || fail "no increment"
	for d in 1 2 3; do
		comes_back "$dir/$d"
		"$BUILD/sd-image" verify "$dir/$d" || fail "verify $d"
	done
}

# The tracker speaks of writes since 2: to take 1 for the parent then would lose some.
case_parent_of_another_time()
{
	images 1 2 3 4
	start_victim anon pages=9000
	cl dump -R -t $pid -D "$dir/1" --track-mem
	cl dump -R -t $pid -D "$dir/2" --track-mem --prev-images-dir ../1
	cl dump -R -t $pid -D "$dir/3" --track-mem --prev-images-dir ../1
	grep -q "Warn .*no tracker is armed for the parent" "$dir/said" || fail "$(cat "$dir/said")"
	[ "$(stat_of "$dir/3/stats-dump" pages_written)" -ge 3000 ] || fail "it is no full one"
	[ -e "$dir/3/parent" ] && fail "a full one needs no parent"
	cl dump -t $pid -D "$dir/4" --track-mem --prev-images-dir ../2
	gone
	[ "$(stat_of "$dir/4/stats-dump" pages_written)" -ge 3000 ] || fail "armed by 3, not by 2"
	comes_back "$dir/4"
}

# A copy of a directory is as good as it; but not when the tracker has gone on.
case_parent_copied_and_missing()
{
	images 1 2 3 4
	start_victim anon pages=9000
	cl dump -R -t $pid -D "$dir/1" --track-mem --prev-images-dir ../0
	grep -q "the parent is not there" "$dir/said" || fail "$(cat "$dir/said")"
	cp -a "$dir/1" "$dir/copy"
	cl dump -R -t $pid -D "$dir/2" --track-mem --prev-images-dir ../1
	[ "$(stat_of "$dir/2/stats-dump" pages_written)" -lt 200 ] || fail "no increment"
	cl dump -R -t $pid -D "$dir/3" --track-mem --prev-images-dir ../copy
	grep -q "armed for another" "$dir/said" || fail "$(cat "$dir/said")"
	[ "$(stat_of "$dir/3/stats-dump" pages_written)" -ge 3000 ] || fail "a copy out of date"
	cl_fails "its own parent" dump -R -t $pid -D "$dir/3" --prev-images-dir ../3
	end_victim
}

# A restore arms no tracker, as criu's does not: whatever was armed before was for tasks that are gone.
case_dump_after_restore()
{
	images 1 2 3
	start_victim anon pages=9000
	cl dump -R -t $pid -D "$dir/1" --track-mem
	kill -KILL $pid
	gone
	cl restore -d -D "$dir/1"
	cl dump -R -t $pid -D "$dir/2" --track-mem --prev-images-dir ../1
	[ "$(grep -c . "$dir/said")" = 1 ] || fail "more than one line, or none: $(cat "$dir/said")"
	grep -q "^Warn .*every page was written.*: the pid $pid has a new owner" "$dir/said" || fail "$(cat "$dir/said")"
	[ "$(stat_of "$dir/2/stats-dump" pages_written)" -ge 3000 ] || fail "it is no full one"
	[ -e "$dir/2/parent" ] && fail "a full one needs no parent"
	cl dump -t $pid -D "$dir/3" --track-mem --prev-images-dir ../2
	ended
	[ -s "$dir/said" ] && fail "no increment: $(cat "$dir/said")"
	[ "$(stat_of "$dir/3/stats-dump" pages_written)" -lt 200 ] || fail "it wrote too much"
	comes_back "$dir/3"
}

# The same directory again: one checkpoint or the other, never some of each.
case_same_directory_again()
{
	images a
	start_victim anon pages=9000
	cl dump -R -t $pid -D "$dir/a"
	touch "$dir/a/core-99999.img" "$dir/a/notes"
	cl dump -t $pid -D "$dir/a"
	gone
	[ -e "$dir/a/core-99999.img" ] && fail "an image of the first is left"
	[ -e "$dir/a/notes" ] || fail "a file of the user's is gone"
	comes_back "$dir/a"
}

case_refused_leaves_nothing()
{
	images a
	start_victim unsupported kind=socketpair
	cl_fails "socket" dump -t $pid -D "$dir/a" --tcp-established --ext-unix-sk
	kill -0 $pid || fail "the task is gone"
	[ -z "$(ls -A "$dir/a")" ] || fail "left behind: $(ls -A "$dir/a")"
	end_victim
}

case_verbs_that_are_not()
{
	for verb in page-server lazy-pages service 'swrk 3' 'exec -t 1 x'; do
		# shellcheck disable=SC2086
		cl_fails "${verb%% *} is not supported" $verb
	done
	for option in '--page-server' '--lazy-pages' '--stream' '--tls'; do
		cl_fails "$option is not supported" dump -t 1 -D "$dir" "$option"
	done
	cl_fails "no verb 'burn'" burn
	cl_fails "one word too many" dump -t 1 extra
	cl_fails "-t PID is missing" dump -D "$dir"
	cl_fails "no option" dump --no-such
	cl_fails "No such file" dump -t 1 -D "$dir/nowhere"
	cl_fails "^usage"
}

case_log_file()
{
	images a w
	start_victim anon pages=10
	cl dump -R -t $pid -D "$dir/a" -W "$dir/w" -o dump.log
	[ -e "$dir/w/dump.log" ] && [ ! -s "$dir/w/dump.log" ] || fail "a log of nothing is empty"
	[ "$(stat -c %a "$dir/w/dump.log")" = 600 ] || fail "its mode"
	[ -e "$dir/w/stats-dump" ] && [ ! -e "$dir/a/stats-dump" ] || fail "stats-dump"
	cl dump -R -t $pid -D "$dir/a" -W "$dir/w" -o dump.log -v4
	grep -q '^([0-9]*\.[0-9]\{6\}) Dumping finished successfully' "$dir/w/dump.log" ||
		fail "$(cat "$dir/w/dump.log")"
	criu_lite dump -t 99999999 -D "$dir/a" -o bad.log 2>/dev/null && fail "no such pid"
	criu_lite dump -t 4194303 -D "$dir/a" -o bad.log && fail "no such task"
	grep -q '^Error ([a-z/.-]*:[0-9]*): .*no task 4194303' "$dir/a/bad.log" ||
		fail "$(cat "$dir/a/bad.log")"
	end_victim
}

# hooks: a script that notes what it is told, and fails where $dir/fail-on says so
hooks()
{
	cat >"$dir/hook" <<-EOF
		#!/bin/sh
		state=\$(sed -n 's/^State:.//p' /proc/$pid/status 2>/dev/null)
		inventory=\$(ls "\$CRTOOLS_IMAGE_DIR/inventory.img" 2>/dev/null)
		echo "\$CRTOOLS_SCRIPT_ACTION \${CRTOOLS_INIT_PID:-none} \${state%% *} \${inventory:+images}" >>$dir/hooked
		[ "\$(cat $dir/fail-on 2>/dev/null)" != "\$CRTOOLS_SCRIPT_ACTION" ]
	EOF
	chmod +x "$dir/hook"
}

hooked_was()
{
	printf '%s\n' "$@" >"$dir/want"
	cmp -s "$dir/want" "$dir/hooked" || fail "the script was called so: $(cat "$dir/hooked")"
	rm -f "$dir/hooked"
}

case_action_script()
{
	images a
	start_victim anon pages=100
	hooks
	cl dump -t $pid -D "$dir/a" --action-script "$dir/hook"
	gone
	# It may run just now, or wait for a page.
	sed -i "s/ [RSD] / S /" "$dir/hooked"
	hooked_was "pre-dump $pid S " "post-dump $pid t images"
	cl restore -d -D "$dir/a" --action-script "$dir/hook"
	# What is not let go yet is in a stop, or walks one of our plans: polls the gate.
	sed -i "s/ [RSDt] / S /" "$dir/hooked"
	hooked_was "pre-restore none  images" "post-restore $pid S images" "pre-resume $pid S images" \
		"post-resume $pid S images"
	touch "$dir/go"
	ended
}

case_action_script_fails()
{
	images a
	start_victim anon pages=100
	hooks
	for at in pre-dump post-dump; do
		echo $at >"$dir/fail-on"
		cl_fails "$at: action script .*: exit status 1" dump -t $pid -D "$dir/a" \
			--action-script "$dir/hook"
		[ -e "$dir/a/inventory.img" ] && fail "$at: it is a checkpoint"
		kill -0 $pid || fail "$at: the task is gone"
	done
	rm "$dir/fail-on"
	cl dump -t $pid -D "$dir/a" --action-script "$dir/hook"
	gone
	for at in pre-restore post-restore pre-resume; do
		echo $at >"$dir/fail-on"
		cl_fails "$at: action script" restore -d -D "$dir/a" --action-script "$dir/hook"
		kill -0 $pid 2>/dev/null && fail "$at: there is a task"
	done
	rm "$dir/fail-on"
	comes_back "$dir/a"
}

case_status_fd()
{
	images a
	start_victim anon pages=10
	cl dump -t $pid -D "$dir/a" --status-fd 7 7>"$dir/dumped"
	gone
	[ "$(od -An -tx1 "$dir/dumped")" = " 00" ] || fail "dump: $(od -An -tx1 "$dir/dumped")"
	cl restore -d -D "$dir/a" --status-fd 7 7>"$dir/restored"
	[ "$(od -An -tx1 "$dir/restored")" = " 00" ] || fail "restore"
	touch "$dir/go"
	ended
}

case_display_stats()
{
	images a
	start_victim anon pages=500
	cl dump -R -t $pid -D "$dir/a" --display-stats
	shown=$(sed -n 's/^Memory pages written: \([0-9]*\) .*/\1/p' "$dir/said")
	[ "$shown" = "$(stat_of "$dir/a/stats-dump" pages_written)" ] || fail "$(cat "$dir/said")"
	for key in freezing_time frozen_time memdump_time pages_scanned; do
		[ "$(stat_of "$dir/a/stats-dump" $key)" -gt 0 ] || fail "$key is 0"
	done
	end_victim
}

case_shared_pages_are_counted_apart()
{
	images a
	start_victim shared-anon
	cl dump -R -t $pid -D "$dir/a" --display-stats
	[ "$(stat_of "$dir/a/stats-dump" shpages_written)" -gt 0 ] || fail "$(cat "$dir/said")"
	figures_are_true "$dir/a"
	end_victim
}

# The root is then a child of whoever called us.
case_restore_sibling()
{
	images a
	start_victim anon pages=100
	cl dump -t $pid -D "$dir/a"
	gone
	cl_fails "restore-detached" restore -S -D "$dir/a"
	cl restore -d -S -D "$dir/a"
	[ "$(awk '{print $4}' /proc/$pid/stat)" = $$ ] || fail "its parent is $(awk '{print $4}' /proc/$pid/stat)"
	touch "$dir/go"
	ended
}

# are_stopped N: all tasks of the victim's session, which are N; they are in $tree afterwards
are_stopped()
{
	tree=$(ps -o pid= -s $pid)
	states=$(ps -o stat= -s $pid | cut -c1 | sort | uniq -c)
	[ "$(echo $states)" = "$1 T" ] || fail "not stopped, all $1 of them: $states"
}

# Threads, children and their children; with somebody who waits for the root, and without.
case_restore_leave_stopped()
{
	images a
	for victim in 'generations depth=3' 'threads count=4'; do
		rm -f "$dir/ready" "$dir/go"
		start_victim $victim
		count=$(ps -o pid= -s $pid | wc -l)
		cl dump -t $pid -D "$dir/a"
		gone
		cl restore -d -s -D "$dir/a"
		are_stopped "$count"
		kill -KILL $tree
		ended
		rm -f "$dir/status"
		criu_lite restore --leave-stopped -D "$dir/a" --status-fd 7 7>"$dir/status" &
		restorer=$!
		until [ -s "$dir/status" ]; do
			kill -0 $restorer || fail "criu-lite restore ends"
			sleep 0.05
		done
		touch "$dir/go"
		are_stopped "$count"
		kill -CONT $tree
		wait $restorer || fail "$name: exit status $?"
		[ ! -s "$dir/out" ] || fail "$name complains"
	done
}

case_exit_status()
{
	images a
	start_victim anon pages=10
	cl dump -t $pid -D "$dir/a"
	gone
	rm -f "$dir/pid"
	criu_lite restore -D "$dir/a" --pidfile "$dir/pid" &
	restorer=$!
	wait_file "$dir/pid" $restorer || fail "restore"
	kill -KILL "$(cat "$dir/pid")"
	wait $restorer
	rc=$?
	[ $rc = 137 ] || fail "exit status $rc"
}

case_changed_mode()
{
	images a
	start_victim same-file-twice
	file=$(readlink /proc/$pid/fd/* | grep "^$dir/" | grep -v "/out$" | head -n 1)
	cl dump -t $pid -D "$dir/a"
	gone
	chmod 751 "$file"
	cl_fails "its mode is" restore -d -D "$dir/a"
	comes_back "$dir/a" --skip-file-rwx-check
}

# The tree has ended, its checkpoint is whole: that is no failed dump, whatever comes behind it.
case_told_in_vain()
{
	images a w
	mount -t tmpfs -o size=64k none "$dir/w" || fail "mount"
	dd if=/dev/zero of="$dir/w/fill" bs=1k 2>/dev/null
	start_victim anon pages=10
	cl dump -R -t $pid -D "$dir/a" -W "$dir/w"
	grep -q "whole, but: stats-dump: .*No space" "$dir/said" || fail "$(cat "$dir/said")"
	cl dump -t $pid -D "$dir/a" -W "$dir/w" --pidfile "$dir/none/pid" --status-fd 1
	grep -q "whole, but: .*none/pid: No such" "$dir/said" || fail "$(cat "$dir/said")"
	gone
	umount "$dir/w"
	comes_back "$dir/a"
}

case_dedup()
{
	images 1 2
	start_victim anon pages=9000
	cl dump -R -t $pid -D "$dir/1" --track-mem
	cl dump -t $pid -D "$dir/2" --prev-images-dir ../1 --track-mem
	gone
	before=$(stat -c %b "$dir"/1/pages-1.img)
	cl dedup -D "$dir/2"
	[ "$(stat -c %b "$dir"/1/pages-1.img)" -lt "$before" ] || fail "nothing was given back"
	"$BUILD/sd-image" verify "$dir/1" || fail "verify 1"
	"$BUILD/sd-image" verify "$dir/2" || fail "verify 2"
	cl_fails "memory only" restore -d -D "$dir/1"
	comes_back "$dir/2"
}

case_auto_dedup()
{
	images 1 2 3
	start_victim anon pages=9000
	cl pre-dump -t $pid -D "$dir/1"
	before=$(stat -c %b "$dir"/1/pages-1.img)
	cl pre-dump -t $pid -D "$dir/2" --prev-images-dir ../1 --track-mem --auto-dedup
	[ "$(stat -c %b "$dir"/1/pages-1.img)" -lt "$before" ] || fail "nothing was given back"
	cl dump -t $pid -D "$dir/3" --prev-images-dir ../2 --track-mem --auto-dedup
	gone
	[ "$(stat_of "$dir/3/stats-dump" pages_written)" -lt 200 ] || fail "no increment"
	comes_back "$dir/3"
}

# hash_dump DIR [OPTION...]: by contents, as on a kernel without PAGEMAP_SCAN
hash_dump()
{
	to=$1
	shift
	"$BUILD/test/without" pagemap-scan "$BUILD/criu-lite" dump -R -t $pid --track-mem -D "$dir/$to" "$@" >"$dir/said" 2>&1 ||
		fail "dump $to: exit status $?: $(cat "$dir/said")"
}

# 1 loses pages that 3 does not need. 2 has none to lose, and all of it is in 1; so is that of 4.
case_dedup_between()
{
	images 1 2 3 4 5
	start_victim tracker
	read -r sibling <"/proc/$pid/task/$pid/children"
	kill -STOP $pid "$sibling"
	hash_dump 1
	hash_dump 2 --prev-images-dir ../1
	hash_dump 4 --prev-images-dir ../1
	kill -CONT $pid "$sibling"
	touch "$dir/step.1"
	wait_file "$dir/did.1" $pid || fail "the victim ended"
	rm "$dir/step.1"
	before=$(stat -c %b "$dir"/1/pages-1.img)
	hash_dump 3 --prev-images-dir ../2 --auto-dedup
	[ "$(stat -c %b "$dir"/1/pages-1.img)" -lt "$before" ] || fail "nothing was given back"
	for d in 1 2; do
		hash_dump 5 --prev-images-dir ../$d
		grep -q "every page was written.*gave pages back" "$dir/said" || fail "$(cat "$dir/said")"
		"$BUILD/sd-image" verify "$dir/5" || fail "verify 5"
	done
	kill -9 $pid "$sibling"
	gone
	while kill -0 "$sibling" 2>/dev/null; do sleep 0.01; done
	"$BUILD/sd-image" verify "$dir/3" || fail "verify 3"
	cl_fails "memory only" restore -d -D "$dir/1"
	for d in 2 4; do
		cl_fails "parent: .* given back" restore -d -D "$dir/$d"
		"$BUILD/sd-image" verify "$dir/$d" >"$dir/said" && fail "verify $d: $(cat "$dir/said")"
	done
	comes_back "$dir/3"
}

case_cpuinfo()
{
	images a b
	cl cpuinfo dump -D "$dir/a"
	cl cpuinfo check -D "$dir/a"
	cl_fails "No such file" cpuinfo check -D "$dir/b"
	cl_fails "dump or check" cpuinfo -D "$dir/b"
	"$BUILD/sd-image" show "$dir/a/cpuinfo.img" | grep -q xfeatures_mask || fail "cpuinfo.img"
	start_victim anon pages=10
	cl dump -R -t $pid -D "$dir/b" --cpu-cap=all
	cmp "$dir/a/cpuinfo.img" "$dir/b/cpuinfo.img" || fail "--cpu-cap"
	"$BUILD/sd-image" verify "$dir/b" || fail "verify"
	end_victim
}

case_check()
{
	cl check
	grep -q '^Looks good' "$dir/said" || fail "$(cat "$dir/said")"
	cl check --feature mem_dirty_track --feature clone3_set_tid
	[ "$(grep -c ' is supported$' "$dir/said")" = 2 ] || fail "$(cat "$dir/said")"
	cl_fails "no feature 'nonsense'" check --feature nonsense
	criu_lite check --all >"$dir/said" 2>&1
	grep -q '^Looks good' "$dir/said" || fail "$(cat "$dir/said")"
}

# What an option is about is there: then it is said that it is not done.
case_options_that_are_needed()
{
	images a
	start_victim anon pages=10
	cl dump -R -t $pid -D "$dir/a" --manage-cgroups=full --cgroup-root /x
	cl dump -t $pid -D "$dir/a" --external 'mnt[]' --root / --file-locks
	gone
	unshare --uts "$BUILD/criu-lite" restore -d -D "$dir/a" --join-ns uts:1 >"$dir/said" 2>&1 && fail "another namespace"
	grep -q -- "--join-ns uts:1: .*that is another one" "$dir/said" || fail "$(cat "$dir/said")"
	cl_fails "not of the form NS:PID" restore -D "$dir/a" -J net
	cl_fails "nowhere: No such file" restore -D "$dir/a" -J "net:$dir/nowhere"
	cl_fails "--lsm-profile selinux:strange: labels are not set" restore -D "$dir/a" --lsm-profile selinux:strange
	cl_fails "not of the form TYPE:LABEL" restore -D "$dir/a" --lsm-profile strange
	touch "$dir/a/cgroup.img"
	cl_fails "--manage-cgroups: cgroup.img" restore -d -D "$dir/a" --manage-cgroups
	rm "$dir/a/cgroup.img"
	comes_back "$dir/a" --inherit-fd 'fd[1]:pipe:[1]' --file-validation filesize \
		--manage-cgroups=ignore --join-ns uts:1 -J "net:/proc/1/ns/net" -J ipc:1,more
}

# What they would save is no kind that is saved; they do not make it disappear either.
case_options_that_cannot_help()
{
	images a
	start_victim unsupported kind=deleted
	cl_fails "deleted file" dump -t $pid -D "$dir/a" --ghost-limit 1M --link-remap
	end_victim
	rm -f "$dir/ready" "$dir/go"
	start_victim unsupported kind=inotify
	cl_fails "inotify" dump -t $pid -D "$dir/a" --force-irmap --irmap-scan-path /
	end_victim
}

# With --close, nobody is told; every other descriptor of the caller's stays open.
case_close()
{
	images a
	start_victim anon pages=10
	cl dump -R -t $pid -D "$dir/a" --close 7 --status-fd 7 7>"$dir/status"
	grep -q "^Warn .*status descriptor 7" "$dir/said" || fail "$(cat "$dir/said")"
	[ -s "$dir/status" ] && fail "it was not closed"
	cl dump -R -t $pid -D "$dir/a" --close 8 --status-fd 7 7>"$dir/status"
	[ -s "$dir/status" ] || fail "it was closed"
	end_victim
}

# The exit code answers, whatever the answer is; without extras all that `check` asks of a kernel.
case_features()
{
	for feature in mnt_id mem_dirty_track aio_remap timerfd tun tun_ns userns fdinfo_lock \
		seccomp_suspend seccomp_filters loginuid cgroupns autofs tcp_half_closed compat_cr \
		uffd uffd-noncoop can_map_vdso sk_ns sk_unix_file net_diag_raw nsid link_nsid \
		kcmp_epoll timens external_net_ns clone3_set_tid newifindex nftables has_ipt_legacy \
		pidfd_store ns_pid apparmor_stacking network_lock_nftables sockopt_buf_lock \
		memfd_hugetlb move_mount_set_group openat2 get_rseq_conf ipv6_freebind pagemap_scan \
		timer_cr_ids overlayfs_maps breakpoints pagemap_scan_guard_pages; do
		criu_lite check --feature $feature >"$dir/said" 2>&1
		case $?:$(cat "$dir/said") in
		"0:$feature is supported" | "1:$feature is not supported") ;;
		*) fail "$feature: $(cat "$dir/said")" ;;
		esac
	done
	for feature in mnt_id timerfd ns_pid seccomp_filters mem_dirty_track; do
		cl check --feature $feature
	done
}

case_config_files()
{
	images a
	start_victim anon pages=10
	mkdir "$dir/.criu"
	printf '# of a user\nleave-running\nlog-file "from config.log"\nverbosity 4\n' >"$dir/.criu/default.conf"
	cl dump -t $pid -D "$dir/a"
	grep -q 'finished' "$dir/a/from config.log" || fail "the configuration was not read"
	printf 'no-such\n' >"$dir/bad.conf"
	cl_fails "no-such" dump -t $pid -D "$dir/a" --config "$dir/bad.conf"
	cl dump -t $pid -D "$dir/a" --no-default-config -R -o none.log
	[ -s "$dir/a/none.log" ] && fail "it was read all the same"
	end_victim
}

case_version_and_help()
{
	cl -V
	grep -q '^Version: [0-9.]* ' "$dir/said" || fail "$(cat "$dir/said")"
	cl --help
	grep -q -- '--prev-images-dir ARG' "$dir/said" || fail "$(cat "$dir/said")"
}

"case_$1"
