#!/bin/sh
# The terminal of a job: started as an interactive shell starts it, dumped, and brought
# back on another terminal. The cases are in terminal.py.
#   cases.sh CASE
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" = list ]; then
	sed -n 's/^def case_\([a-z_]*\)().*/\1/p' "$here/terminal.py" | while read -r c; do
		echo "${LIST_PREFIX:-}terminal/$(echo "$c" | tr _ -) ${LIMIT:-90} $here/cases.sh $c"
	done
	exit
fi
exec python3 -B "$here/terminal.py" "$(echo "$1" | tr - _)"
