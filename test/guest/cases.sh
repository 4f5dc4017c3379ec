#!/bin/sh
# The guest's cases for test/run: the suites guest (some victims) and, with
# GUEST=stress-guest, what takes longer.
here=$(cd "$(dirname "$0")" && pwd)

tracker()
{
	echo "$1 $2 ${5:+WITHOUT=$5 }$here/../tracker.sh $3 $4"
}

if [ "${GUEST:-guest}" = stress-guest ]; then
	for tracker in soft-dirty wp-async hash none; do
		tracker stress-guest/tracker/$tracker 3600 $tracker 2
	done
	tracker stress-guest/tracker/soft-dirty-without-pagemap-scan 3600 soft-dirty 2 pagemap-scan
	for program in python xz; do
		echo "stress-guest/real/$program 1800 TRACKER=soft-dirty PATIENCE=10" \
			"$here/../real/$program"
	done
	exit
fi

echo "guest/soft-dirty-works 60 $BUILD/test/soft-dirty"
# Emulation is slow: restore some of the checkpoints only.
tracker guest/tracker/soft-dirty 900 soft-dirty "1 4"
tracker guest/tracker/wp-async 900 wp-async "1 9"
echo "guest/rearmed-soft-dirty 600 $here/../fire/rearmed soft-dirty"
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
	precopy anon pages=300,holes=0,maps=any
	inherit single -
END
grep -v '^#' "$here/list" | while read -r story victim params; do
	[ "$params" = - ] && params=''
	run="$here/strangers.sh $story"
	case $story in
	soft-dirty) run="SD_DUMP_OPTIONS='--tracker soft-dirty' $here/../victims.sh restore" ;;
	refuse) run="$here/../victims.sh refuse" ;;
	esac
	echo "guest/$story/$victim${params:+:$params} 600 $run $victim $(echo "$params" | tr , ' ')"
done
