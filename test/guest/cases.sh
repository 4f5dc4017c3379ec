#!/bin/sh
# The guest's cases for test/run, from `list`.
here=$(cd "$(dirname "$0")" && pwd)
echo "guest/soft-dirty-works 60 $BUILD/test/soft-dirty"
# Emulation is slow: restore some of the checkpoints only.
echo "guest/tracker/soft-dirty 900 $here/../tracker.sh soft-dirty 1 4"
echo "guest/tracker/wp-async 900 $here/../tracker.sh wp-async 1 9"
while read -r story victim params; do
	[ "$params" = - ] && params=''
	echo "guest/criu-lite/$story 240 $here/criu-lite.sh $story $victim $(echo "$params" | tr , ' ')"
done <<-END
	ours_by_theirs anon pages=300,holes=0,maps=any
	theirs_by_ours anon pages=300
	dumps_by_theirs threads count=4,maps=any
	their_parent anon pages=300,holes=0,maps=any
	crit shared-anon -
	cpuinfo single -
	precopy single maps=any
END
grep -v '^#' "$here/list" | while read -r story victim params; do
	[ "$params" = - ] && params=''
	run="$here/criu.sh $story"
	case $story in
	soft-dirty) run="SD_DUMP_OPTIONS='--tracker soft-dirty' $here/../victims.sh restore" ;;
	refuse) run="$here/../victims.sh refuse" ;;
	esac
	echo "guest/$story/$victim${params:+:$params} 180 $run $victim $(echo "$params" | tr , ' ')"
done
