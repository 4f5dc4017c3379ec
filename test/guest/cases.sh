#!/bin/sh
# The guest's cases for test/run, from `list`.
here=$(cd "$(dirname "$0")" && pwd)
echo "guest/soft-dirty-works 60 $BUILD/test/soft-dirty"
for t in soft-dirty wp-async hash; do
	echo "guest/tracker/$t 600 $here/../tracker.sh $t"
done
grep -v '^#' "$here/list" | while read -r story victim params; do
	[ "$params" = - ] && params=''
	run="$here/criu.sh $story"
	[ "$story" = soft-dirty ] &&
		run="SD_DUMP_OPTIONS='--tracker soft-dirty' $here/../victims.sh restore"
	echo "guest/$story/$victim${params:+:$params} 180 $run $victim $(echo "$params" | tr , ' ')"
done
