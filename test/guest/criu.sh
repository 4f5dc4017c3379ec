#!/bin/sh
# A stranger's eyes on our images: Debian's criu and crit, in the guest.
#   criu.sh ours VICTIM [KEY=VALUE...]      criu restores what sd-dump wrote, an increment
#   criu.sh theirs VICTIM [KEY=VALUE...]    sd-restore restores what criu dumped, an increment
#   criu.sh decode VICTIM [KEY=VALUE...]    crit decodes every file of ours
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/lib/common.sh"
mode=$1
shift

criu()
{
	LD_LIBRARY_PATH=$CRIU_LIBS "$CRIU" "$@"
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
	decoded=0
	for image in "$ckpt"/[0-9]*/*.img; do
		case $image in */pages-*.img) continue ;; esac
		PYTHONPATH=$PYCRIU /usr/bin/python3 "$CRIT" decode -i "$image" >"$dir/json" 2>"$dir/err" || {
			tail -n 3 "$dir/err"
			fail "crit cannot decode ${image#"$ckpt"/}"
		}
		decoded=$((decoded + 1))
	done
	[ $decoded -gt 10 ] || fail "only $decoded images"
	echo "$decoded images"
	end_victim
}

start_victim "$@"
$mode
