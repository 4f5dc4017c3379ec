#!/bin/sh
# A victim of the table and two tools: ours, and Debian's criu, in the guest.
#   strangers.sh list TABLE                     the cases for test/run
#   strangers.sh ours VICTIM [KEY=VALUE...]     sd-dump in full and twice more; then sd-restore
#                                               and criu restore each bring back the last and
#                                               the first; images stay for crit (crit.py)
#   strangers.sh theirs VICTIM [KEY=VALUE...]   criu dumps twice, sd-restore brings it back
# What does not work with criu stands in `exceptions`, with the reason.
here=$(cd "$(dirname "$0")" && pwd)

if [ "$1" = list ]; then
	for story in ours theirs; do
		grep -v '^#' "$2" | while read -r victim params needs; do
			[ -n "$victim" ] || continue
			options=''
			case $needs in
			thaw | refused) continue ;;
			unprotected) options="SD_DUMP_OPTIONS=--unprotected" ;;
			esac
			[ "$params" = - ] && params=''
			echo "guest/$story/$victim${params:+:$params} 240 $options $here/strangers.sh" \
				"$story $victim $(echo "$params" | tr , ' ')"
		done
	done
	exit
fi

story=$1
shift
. "$here/../lib/common.sh"
# The victim's folder is put back as it was when the victim was killed.
dir=$CASE_DIR/victim
mkdir -m 777 "$dir"
name=$(echo "$*" | sed 's/ /:/; s/ /,/g')

criu()
{
	LD_LIBRARY_PATH=$CRIU_LIBS "$CRIU" "$@"
}

# What criu finds out about the kernel takes it long: once a guest is enough.
criu_ready()
{
	(
		flock 9
		[ -e /tmp/criu.kept ] && exit
		criu check >/tmp/criu.check 2>&1
		cp /run/criu.kdat /tmp/criu.kept
	) 9>/tmp/criu.lock
	cp /tmp/criu.kept /run/criu.kdat || {
		cat /tmp/criu.check
		fail "criu does not work here"
	}
}

# excepted PART: is this part of the victim's story on the list? Says so, too.
excepted()
{
	while read -r pattern part reason; do
		# shellcheck disable=SC2254
		case $part:$name in
		"$1":$pattern)
			echo "# exception: $1 $name: $reason"
			return 0
			;;
		esac
	done <"$here/exceptions"
	return 1
}

put_back()
{
	# Into the files that are there: a victim may know them by their inode.
	find "$dir" -mindepth 1 -depth | while read -r f; do
		[ -e "$CASE_DIR/kept${f#"$dir"}" ] || rm -rf "$f"
	done
	cp -a "$CASE_DIR/kept/." "$dir/"
}

criu_failed()
{
	grep -E 'Error|Warn' "$CASE_DIR/criu.log" | tail -n 12
	fail "$1"
}

criu_restores()
{
	rm -f "$CASE_DIR/pid"
	LD_LIBRARY_PATH=$CRIU_LIBS "$BUILD/test/adopt" "$CASE_DIR/pid" sh -c '
		"$CRIU" restore -d -D "$1" --pidfile "$2/pid" -v4 -o "$2/criu.log" &&
			touch "$2/victim/go"' restore "$ckpt/$1" "$CASE_DIR"
	rc=$?
	[ $rc = 125 ] && criu_failed "criu does not restore checkpoint $1"
	[ $rc = 0 ] || fail "after criu restore of checkpoint $1: exit status $rc"
}

sd_restores()
{
	rm -f "$CASE_DIR/pid"
	"$BUILD/sd-restore" -D "$1" --pidfile "$CASE_DIR/pid" &
	restorer=$!
	wait_file "$CASE_DIR/pid" $restorer && touch "$dir/go"
	wait $restorer || fail "sd-restore of ${1##*/}: exit status $?"
}

ours()
{
	for end in '' '' --kill; do
		dump --tracker soft-dirty $end
	done
	gone
	cp -a "$dir" "$CASE_DIR/kept"
	mkdir -p "$BUILD/guest/images"
	rm -rf "$BUILD/guest/images/$name"
	cp -a "$ckpt" "$BUILD/guest/images/$name"
	put_back
	sd_restores "$ckpt"
	excepted criu && return
	criu_ready
	for n in 3 1; do
		put_back
		criu_restores $n
	done
}

theirs()
{
	excepted sd && return
	criu_ready
	mkdir -p "$ckpt/1" "$ckpt/2"
	criu dump -t "$pid" -D "$ckpt/1" --track-mem --leave-running -v4 -o "$CASE_DIR/criu.log" ||
		criu_failed "criu does not dump"
	criu dump -t "$pid" -D "$ckpt/2" --track-mem --prev-images-dir ../1 -v4 \
		-o "$CASE_DIR/criu.log" || criu_failed "criu does not dump an increment"
	wait "$pid"
	cp -a "$dir" "$CASE_DIR/kept"
	put_back
	sd_restores "$ckpt/2"
}

start_victim "$@" join=1
name=$(echo "$*" | sed 's/ /:/; s/ /,/g')
$story
