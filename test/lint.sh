#!/bin/sh
# Checks of the source itself.
#   lint.sh format|gcc|clang|cppcheck|headers
set -eu
cd "$(dirname "$0")/.."
: "${BUILD:=build}"
sources=$(git ls-files '*.c' '*.h')
room_sources=$(git ls-files 'base/*.c' 'images/*.c' 'criu-lite/**.c')

case $1 in
format)
	# shellcheck disable=SC2086
	clang-format --dry-run -Werror $sources
	;;
gcc | clang)
	make -s CC="$1" BUILD="$BUILD/lint-$1" CFLAGS="-O2 -g -Werror" all units test-programs fire-programs
	;;
cppcheck)
	# shellcheck disable=SC2086
	cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,portability \
		--suppressions-list=test/cppcheck-suppressions -D__x86_64__ -I. $room_sources
	;;
headers)
	flags=$(pkg-config --cflags libprotobuf-c libbsd-overlay libxxhash jansson libcap)
	for h in $(git ls-files 'base/*.h' 'images/*.h' 'criu-lite/**.h'); do
		# shellcheck disable=SC2086
		gcc -std=gnu11 -D_GNU_SOURCE -Wall -Werror -I. -I"$BUILD" $flags -fsyntax-only -x c "$h"
	done
	;;
*)
	echo "lint.sh: no check is named $1" >&2
	exit 2
	;;
esac
