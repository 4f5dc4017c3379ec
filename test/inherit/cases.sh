#!/bin/sh
# What a caller hands on to a tree that is restored: --inherit-fd and --external. The cases are in inherit.py.
#   cases.sh CASE
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" = list ]; then
	sed -n 's/^def case_\([a-z_]*\)().*/\1/p' "$here/inherit.py" | while read -r c; do
		echo "${LIST_PREFIX:-}inherit/$(echo "$c" | tr _ -) ${LIMIT:-90} $here/cases.sh $c"
	done
	exit
fi
exec python3 -B "$here/inherit.py" "$@"
