# What the real-program tests share. A script sets up, then calls
#   real_run DIR CMD...      the undisturbed run; leaves what it printed in DIR/result
#   real_story CMD...        the same, checkpointed three times while working and killed;
#                            restored from the last and from the second checkpoint
# The program works in $work, which is copied while it is held and put back before a
# restore, because a checkpoint holds memory, not the disk. It prints its result, and
# says how far it is by lines in $work/progress.
. "$(dirname "$0")/../lib/common.sh"
work=$dir/work

steps()
{
	if [ -e "$work/progress" ]; then wc -l <"$work/progress"; else echo 0; fi
}

# Wait until the program is at least @1 steps far.
wait_steps()
{
	n=0
	while [ "$(steps)" -lt "$1" ]; do
		n=$((n + 1))
		[ $n -gt 2400 ] && fail "the program does not come to step $1"
		kill -0 "$pid" 2>/dev/null || fail "the program ended before step $1"
		sleep 0.05
	done
}

start_program()
{
	rm -rf "$work"
	mkdir "$work"
	cd "$work" || exit 1
	: >"$work/result"
	setsid "$@" </dev/null >>"$work/result" 2>>"$work/errors" &
	pid=$!
	name=$1
}

undisturbed()
{
	start_program "$@"
	wait $pid || fail "the undisturbed run failed: $(cat "$work/errors")"
	cp "$work/result" "$dir/expected"
	[ -s "$dir/expected" ] || fail "the undisturbed run printed nothing"
}

# Hold it, keep the files as they are now, let it go on.
held_checkpoint()
{
	"$BUILD/sd-dump" -D "$ckpt" --stop "$pid" || fail "sd-dump, checkpoint $1: exit status $?"
	rm -rf "$dir/files.$1"
	cp -a "$work" "$dir/files.$1"
	[ "$1" = 3 ] || continue_tree
}

# --stop stops every task of the tree; a stopped one among them stays as it is.
continue_tree()
{
	for t in $(tree_of "$pid"); do
		kill -CONT "$t" 2>/dev/null || :
	done
}

tree_of()
{
	echo "$1"
	for kid in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
		tree_of "$kid"
	done
}

kill_tree()
{
	# shellcheck disable=SC2046
	kill -KILL $(tree_of "$pid")
	wait "$pid"
}

restored_result()
{
	# The same inodes: put content back, do not replace the folder.
	find "$work" -mindepth 1 -delete
	cp -a "$dir/files.$1/." "$work/"
	"$BUILD/sd-restore" -D "$ckpt" --at "$1" || fail "restored from $1: exit status $?"
	cmp "$dir/expected" "$work/result" || {
		diff "$dir/expected" "$work/result" | head -n 5
		fail "restored from checkpoint $1, the result differs"
	}
}

# disturbed STEP1 STEP2 STEP3 CMD...: a checkpoint when each step is reached
disturbed()
{
	first=$1 second=$2 third=$3
	shift 3
	start_program "$@"
	wait_steps "$first"
	held_checkpoint 1
	wait_steps "$second"
	held_checkpoint 2
	wait_steps "$third"
	held_checkpoint 3
	kill_tree
	restored_result 3
	restored_result 2
}
