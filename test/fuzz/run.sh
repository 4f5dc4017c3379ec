#!/bin/sh
# run.sh list              the cases for test/run
# run.sh NAME              one fuzzer for FUZZ_SECONDS, from all inputs that are known
# Inputs that break it are left in $BUILD/fuzz/broken.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${BUILD:?}" "${FUZZ_SECONDS:=5}"
build=$BUILD/fuzz

if [ "$1" = list ]; then
	for source in "$here"/*_*.c; do
		name=$(basename "$source" .c)
		echo "fuzz/$name $((FUZZ_SECONDS + 240)) FUZZ_SECONDS=$FUZZ_SECONDS $here/run.sh $name"
	done
	exit
fi

# The first case to come makes the seeds for all; the others wait for it.
mkdir -p "$build"
exec 9>"$build/lock"
flock 9
if [ ! -e "$build/seeds/made" ] || [ "$build/seeds/made" -ot "$BUILD/sd-dump" ]; then
	"$here/seeds.sh" "$build/seeds" 9>&-
	: >"$build/seeds/made"
fi
exec 9>&-

name=$1
mkdir -p "$build/corpus/$name" "$build/broken"
set -- "$build/corpus/$name" "$build/seeds/$name"
[ -d "$here/corpus/$name" ] && set -- "$@" "$here/corpus/$name"
known=$(find "$@" -type f | wc -l)
[ "$known" -gt 0 ] || { echo "FAIL: $name has no seeds"; exit 1; }
"$build/bin/$name" "-max_total_time=$FUZZ_SECONDS" -rss_limit_mb=2048 -timeout=20 -max_len=65536 \
	"-artifact_prefix=$build/broken/$name-" "$@" >"$CASE_DIR/said" 2>&1 || {
	tail -n 40 "$CASE_DIR/said"
	exit 1
}
echo "$name: $known inputs known, $(sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\) .*/\1 runs in \2 s/p' "$CASE_DIR/said")"
