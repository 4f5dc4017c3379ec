#!/bin/sh
# The cases of fire for test/run. FIRE=stress-fire: all that there is, else a choice: 200
# kills in all, every 20th call.
cd "$(dirname "$0")" || exit 1
here=$PWD
case ${FIRE:-fire} in
fire) kills=50 restores=10 step=20 images=20 writes=23 syncs=3 rounds=15 turns=60 times=1 limit=600 ;;
stress-fire) kills=${KILLS:-250} restores=200 step=8 images=1 writes=1 syncs=1 rounds=300 turns=3 times=10 limit=7200 ;;
*) exit 2 ;;
esac

for victim in avx go stopped seccomp; do
	echo "fire/kill-dump-$victim $limit $here/kill-dump $victim $kills"
done
# The steps of sd-dump: all of them in full dumps and in increments, or some of each victim's.
if [ "${FIRE:-fire}" = fire ]; then
	first=3
	for each in avx:increment go:full stopped:full seccomp:increment; do
		first=$((first + 7))
		echo "fire/kill-steps-${each%:*} $limit $here/kill-steps ${each%:*} ${each#*:} 30 $first"
	done
else
	for victim in avx go stopped seccomp; do
		for whole in full increment; do
			echo "fire/kill-steps-$victim-$whole $limit $here/kill-steps $victim $whole"
		done
	done
fi
echo "fire/kill-restore $limit $here/kill-restore $restores"
for how in verify list show; do
	echo "fire/fail-calls-image-$how $limit $here/fail-calls $how $images"
done
# A call that nobody expects to fail: uname.
echo "fire/fail-calls-dump-uname $limit $here/fail-calls dump 1 1 63"
# What a newborn is held, let go and asked by.
echo "fire/fail-calls-restore-ptrace $limit $here/fail-calls restore 2 1 101"
# Under stress eight at a time go through every call.
first=1
while [ $first -le 8 ]; do
	for tool in dump increment restore; do
		echo "fire/fail-calls-$tool-$first $limit $here/fail-calls $tool $step $first"
	done
	[ "${FIRE:-fire}" = fire ] && break
	first=$((first + 1))
done
for how in noroom broken short partly syncs tmpfs; do
	for whole in full increment; do
		every=$writes
		[ $how = syncs ] && every=$syncs
		echo "fire/full-disk-$how-$whole $limit $here/full-disk $how $whole $every"
	done
done
for how in exit killed exec fork thread leader advise; do
	echo "fire/turn-$how $limit $here/turn $how $turns"
done
for how in stop alarms; do
	echo "fire/meanwhile-$how $limit $here/meanwhile $how $turns"
done
echo "fire/meanwhile-late $limit $here/meanwhile late 1"
for how in exit exec fork thread leader; do
	echo "fire/vanish-$how $limit $here/vanish $how $rounds"
done
"$here/two" list | while read -r c; do
	echo "fire/two-$(echo "$c" | tr _ -) $limit $here/two $c"
done
echo "fire/rearmed-wp-async $limit $here/rearmed wp-async"
for how in cut flipped lying missing linked; do
	# What is gone is gone: that is the same each time.
	case $how in missing | linked) times=1 ;; esac
	echo "fire/bad-images-$how $limit $here/bad-images $how $times"
done
for how in fields files links; do
	echo "fire/hostile-$how $limit $here/hostile $how"
done
