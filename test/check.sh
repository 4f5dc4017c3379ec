#!/bin/sh
# All tests, suite by suite; the last line counts them all.
#   check.sh [SUITE...]       units lint victims chain criu-lite sanitized trackers real fire fuzz guest; stress load stress-fire stress-guest
# BUILD is the build folder; everything must be built already. K, a pattern,
# chooses cases: K='*/pipe*' check.sh victims
set -u
cd "$(dirname "$0")/.." || exit 2
: "${BUILD:=build}"
BUILD=$(cd "$BUILD" && pwd) || exit 2
export BUILD
here=$PWD/test
logs=$BUILD/test-logs
mkdir -p "$logs"
rm -f "$logs"/*.tap
[ $# -gt 0 ] || set -- units lint victims chain criu-lite sanitized trackers real fire fuzz guest

cases()
{
	case $1 in
	units)
		for unit in "$BUILD"/test/unit/*/*; do
			[ -x "$unit" ] && [ -f "$unit" ] && echo "unit/${unit#"$BUILD"/test/unit/} 120 cd $here/.. && $unit"
		done
		echo "rescue/every-step 300 $here/rescue/run.sh $BUILD"
		echo "restore/all-or-none 300 $here/restore/run.sh $BUILD"
		;;
	lint)
		for check in format gcc clang cppcheck headers; do
			echo "lint/$check 900 $here/lint.sh $check"
		done
		;;
	victims)
		for table in table refused; do
			"$here/victims.sh" list alone "$here/victims/$table"
		done
		"$here/victims.sh" list thaw "$here/victims/table"
		"$here/victims.sh" list restore "$here/victims/table"
		"$here/victims.sh" list again "$here/victims/again"
		for victim in "children count=40" threads-in-children; do
			echo "without-children/${victim%% *} 60 WITHOUT=children $here/victims.sh restore $victim"
		done
		"$here/victims.sh" list refuse "$here/victims/refused"
		;;
	chain)
		"$here/chain.sh" list
		echo "guest/travel 1200 $here/guest/travel.sh"
		"$here/restore/cases.sh" list
		"$here/commands.sh" list
		"$here/terminal/cases.sh" list
		;;
	criu-lite)
		"$here/criu-lite.sh" list
		"$here/inherit/cases.sh" list
		;;
	sanitized)
		for unit in "$BUILD"/sanitize/test/unit/*/*; do
			[ -x "$unit" ] && [ -f "$unit" ] &&
				echo "sanitized/unit/${unit#"$BUILD"/sanitize/test/unit/} 240 cd $here/.. && $unit"
		done
		for list in commands chain restore/cases; do
			LIST_PREFIX=sanitized/ LIMIT=120 "$here/$list.sh" list
		done
		for mode in thaw restore; do
			LIST_PREFIX=sanitized/ LIMIT=120 "$here/victims.sh" list $mode "$here/victims/sanitized"
		done
		;;
	trackers)
		for tracker in wp-async hash none; do
			echo "tracker/$tracker 200 $here/tracker.sh $tracker"
		done
		for victim in waves remaps; do
			echo "tracker/$victim 200 $here/waves.sh $victim wp-async"
		done
		# Before Linux 6.7.
		for tracker in hash none; do
			echo "tracker/$tracker-without-pagemap-scan 200 WITHOUT=pagemap-scan" \
				"$here/tracker.sh $tracker 1 4"
		done
		;;
	real)
		for program in "$here"/real/*; do
			[ -x "$program" ] && [ -f "$program" ] && echo "real/${program##*/} 300 $program"
		done
		;;
	load)
		"$here/load.sh" list
		;;
	fuzz)
		"$here/fuzz/run.sh" list
		;;
	fire | stress-fire)
		FIRE=$1 "$here/fire/cases.sh"
		[ $1 = stress-fire ] || "$here/growth.sh" list
		;;
	guest | stress-guest)
		GUEST=$1 "$here/guest/cases.sh"
		;;
	stress)
		for tracker in wp-async hash none; do
			echo "stress/tracker/$tracker 1200 $here/tracker.sh $tracker 2"
		done
		LIST_PREFIX=stress/ LIMIT=600 "$here/victims.sh" list restore "$here/victims/stress"
		LIST_PREFIX=stress/ "$here/victims.sh" list older "$here/victims/table"
		;;
	*)
		echo "check.sh: no suite is named $1" >&2
		exit 2
		;;
	esac
}

# A guest that does not start is a failure.
guest()
{
	scripts/guest -t "$GUEST_LIMIT" "$@" || {
		rc=$?
		grep -q '^1\.\.' "$logs/$suite.tap" 2>/dev/null ||
			echo "not ok 1 - guest/starts # exit $rc
0 passed, 1 failed, 0 skipped"
	}
}

for suite; do
	cases "$suite" >"$logs/$suite.list"
	echo "# $suite"
	run="$BUILD/test/run -j ${J:-2} -l $logs -s $here/skips ${K:+-k $K} $logs/$suite.list"
	set -f
	# shellcheck disable=SC2086
	case $suite in
	guest) GUEST_LIMIT=1500 guest $run ;;
	stress-guest) GUEST_LIMIT=7200 guest $run ;;
	sanitized) BUILD=$BUILD/sanitize $run ;;
	*) $run ;;
	esac | tee "$logs/$suite.tap"
	set +f
done

awk '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { p += $1; f += $3; s += $5; n++ }
     END { if (n != suites) f++; printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 || p == 0 }' \
	suites=$# "$logs"/*.tap
