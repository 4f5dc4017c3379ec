#!/bin/sh
# A stranger's eyes on our images: Debian's criu and crit, in the guest.
#   criu.sh ours VICTIM [KEY=VALUE...]      criu restores what sd-dump wrote, an increment
#   criu.sh theirs VICTIM [KEY=VALUE...]    sd-restore restores what criu dumped, an increment
#   criu.sh decode VICTIM [KEY=VALUE...]    crit decodes every file of ours
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/lib/common.sh"
mode=$1
shift

# What criu finds out about the kernel takes it long; keep it between the cases.
kept=/tmp/criu.kdat
criu()
{
	[ -e $kept ] && cp $kept /run/criu.kdat
	LD_LIBRARY_PATH=$CRIU_LIBS "$CRIU" "$@"
	criu_rc=$?
	[ -e $kept ] || [ ! -e /run/criu.kdat ] || { cp /run/criu.kdat $kept.$$ && mv $kept.$$ $kept; }
	return $criu_rc
}

criu_failed()
{
	grep -E 'Error|Warn' "$1" | tail -n 12
	fail "criu failed"
}

ours()
{
	dump
	dump
	dump --kill
	gone
	rm -f "$dir/pid"
	criu restore -D "$ckpt/3" --pidfile "$dir/pid" -v4 -o "$dir/criu.log" &
	restorer=$!
	wait_file "$dir/pid" $restorer || criu_failed "$dir/criu.log"
	touch "$dir/go"
	wait $restorer || criu_failed "$dir/criu.log"
	[ -s "$dir/out" ] && fail "$name after criu restore: it complains"
	return 0
}

theirs()
{
	mkdir -p "$ckpt/1" "$ckpt/2"
	criu dump -t "$pid" -D "$ckpt/1" --track-mem --leave-running -v4 -o "$dir/criu.log" ||
		criu_failed "$dir/criu.log"
	criu dump -t "$pid" -D "$ckpt/2" --track-mem --prev-images-dir ../1 -v4 -o "$dir/criu.log" ||
		criu_failed "$dir/criu.log"
	wait "$pid"
	restored
}

decode()
{
	dump
	dump
	set --
	for image in "$ckpt"/[0-9]*/*.img; do
		case $image in
		*/pages-*.img) ;;     # no messages
		*/criu-lite*.img) ;; # additions that only we know
		*) set -- "$@" "$image" ;;
		esac
	done
	[ $# -gt 10 ] || fail "only $# images"
	PYTHONPATH=$PYCRIU /usr/bin/python3 "$here/guest/decode.py" "$@" || fail "crit cannot decode"
	end_victim
}

# criu lets neighbouring mappings merge.
[ "$mode" = ours ] && set -- "$@" maps=any
start_victim "$@"
$mode
