#!/bin/sh
# Kill a restore at every numbered step, and at RANDOM random moments: all of the
# tree lives afterwards, or none of it.
#
#	run.sh BUILD [RANDOM]
set -u
build=$1
random=${2:-40}
cd "$(dirname "$0")/../.." || exit 1
out=$build/restore-steps
mkdir -p "$out"
steps=$build/steps
libs=""
for room in restore dump task file track remote x86-64 proc images proto base; do
	libs="$libs $steps/lib$room.a"
done
make -s BUILD="$build" step-programs || exit 1
cc="${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -I. -I$steps"
$cc -pthread test/restore/tree.c -o "$out/tree" || exit 1
# shellcheck disable=SC2046,SC2086
$cc -DRESCUE_STEPS test/restore/all-or-none.c -o "$out/all-or-none" \
	-Wl,--start-group $libs -Wl,--end-group \
	$(pkg-config --libs libprotobuf-c libbsd-overlay libxxhash jansson libcap) -pthread ||
	exit 1
dir=$(mktemp -d) || exit 1
"$build/test/nsinit" -t 300 "$out/all-or-none" "$out/tree" "$build/sd-dump" "$dir" "$random"
rc=$?
rm -rf "$dir"
exit $rc
