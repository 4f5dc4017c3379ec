#!/bin/sh
# Every victim between our tools and criu's, in one start of the guest, and crit
# over all images that this left. Ends with `N passed, N failed, N skipped`.
#   check.sh [PATTERN]      cases of that name only
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
: "${BUILD:=$top/build}"
BUILD=$(cd "$BUILD" && pwd)
export BUILD KEEP_IMAGES="$BUILD/guest/images"
logs=$BUILD/guest/logs
rm -rf "$logs" "$BUILD/guest/images"
mkdir -p "$logs"

"$here/strangers.sh" list "$top/test/victims/table" >"$logs/list"
"$top/scripts/guest" -t "${GUEST_LIMIT:-3000}" "$BUILD/test/run" -j "${J:-2}" -l "$logs" \
	-s "$top/test/skips" ${1:+-k "$1"} "$logs/list" >"$logs/guest.tap" 2>&1
rc=$?
cat "$logs/guest.tap"
# One that does not start, or not end, has failed whatever went well before.
grep -q '^1\.\.' "$logs/guest.tap" || {
	echo "not ok - guest/ends # exit $rc"
	echo "0 passed, 1 failed, 0 skipped" | tee -a "$logs/guest.tap"
}

root=$BUILD/guest/root
PYTHONPATH=$root/usr/lib/python3/dist-packages LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu \
	python3 "$here/crit.py" "$BUILD/guest/images" "$here/exceptions" 2>&1 | tee "$logs/crit.tap"

awk '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { p += $1; f += $3; s += $5; n++ }
     END { if (n != 2) f++; printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 || p == 0 }' \
	"$logs"/*.tap
