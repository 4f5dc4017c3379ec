#!/bin/sh
# A victim of the table and two tools: ours, and Debian's criu, in the guest.
#   strangers.sh list TABLE                     the cases for test/run
#   strangers.sh ours VICTIM [KEY=VALUE...]     sd-dump in full and twice more; then sd-restore
#                                               brings back the last, criu the last and the first;
#                                               images stay for crit (crit.py)
#   strangers.sh theirs VICTIM [KEY=VALUE...]   criu dumps twice, sd-restore brings it back
#   strangers.sh decode VICTIM [KEY=VALUE...]   sd-dump in full and once more, read by crit here
# What does not work with criu stands in `exceptions`, with the reason, and is tried
# all the same: criu must fail with our checkpoint, and with its own of such a victim.
# Where it succeeds with its own and not with ours, the mistake is ours.
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
			options="$options${KEEP_IMAGES:+ KEEP_IMAGES=$KEEP_IMAGES}"
			[ "$params" = - ] && params=''
			echo "guest/$story/$victim${params:+:$params} 600 $options $here/strangers.sh" \
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
		"$1":$pattern | both:$pattern)
			echo "# exception: $1 $name: $reason"
			return 0
			;;
		esac
	done <"$here/exceptions"
	return 1
}

# The victim's files as they were when it was killed, for each restore to start from.
keep()
{
	rm -rf "$CASE_DIR/kept"
	cp -a "$dir" "$CASE_DIR/kept"
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

criu_dumps()
{
	mkdir -p "$1/1" "$1/2"
	criu dump -t "$pid" -D "$1/1" --track-mem --leave-running -v4 -o "$CASE_DIR/criu.log" ||
		criu_failed "criu does not dump"
	criu dump -t "$pid" -D "$1/2" --track-mem --prev-images-dir ../1 -v4 \
		-o "$CASE_DIR/criu.log" || criu_failed "criu does not dump an increment"
	wait "$pid"
	keep
}

criu_restores()
{
	put_back
	rm -f "$CASE_DIR/pid"
	LD_LIBRARY_PATH=$CRIU_LIBS "$BUILD/test/adopt" "$CASE_DIR/pid" sh -c '
		"$CRIU" restore -d -D "$1" --pidfile "$2/pid" -v4 -o "$2/criu.log" &&
			touch "$3/go"' restore "$1" "$CASE_DIR" "$dir"
	rc=$?
	[ $rc = 125 ] && criu_failed "criu does not restore checkpoint ${1##*/}"
	[ $rc = 0 ] || fail "after criu restore of checkpoint ${1##*/}: exit status $rc"
	[ -s "$dir/out" ] && fail "after criu restore of checkpoint ${1##*/}: it complains"
	return 0
}

sd_restores()
{
	put_back
	rm -f "$CASE_DIR/pid"
	"$BUILD/sd-restore" -D "$1" --pidfile "$CASE_DIR/pid" >"$CASE_DIR/said" &
	restorer=$!
	wait_file "$CASE_DIR/pid" $restorer && touch "$dir/go"
	wait $restorer || fail "sd-restore of ${1##*/}: exit status $?"
	cat "$CASE_DIR/said"
	grep -q ' [1-9][0-9]* pages' "$CASE_DIR/said" || fail "sd-restore counts no pages"
	[ -s "$dir/out" ] && fail "after sd-restore of ${1##*/}: it complains"
	return 0
}

# criu's own checkpoint of another such victim, restored by criu.
criu_alone()
{
	dir=$CASE_DIR/alone
	mkdir -m 777 "$dir"
	start_victim "$@"
	criu_dumps "$CASE_DIR/own"
	criu_restores "$CASE_DIR/own/2"
}

# must_fail WHAT FUNCTION [ARG...]
must_fail()
{
	what=$1
	shift
	("$@") >"$CASE_DIR/limit" 2>&1 && fail "the exception does not hold: $what"
	sed "s/^/# /" "$CASE_DIR/limit"
	end_strays
}

# What a failed restore left: processes of other sessions than ours. The first process reaps them.
end_strays()
{
	mine=$(ps -o sid= -p $$)
	n=0
	while strays=$(ps -e -o pid=,sid= | awk -v mine="$mine" '$1 != 1 && $2 != mine { print $1 }') &&
		[ "$strays" ]; do
		n=$((n + 1))
		[ $n -gt 200 ] && fail "they do not end: $strays"
		kill -KILL $strays 2>/dev/null
		sleep 0.1
	done
}

keep_for_crit()
{
	[ "${KEEP_IMAGES:-}" ] || return
	mkdir -p "$KEEP_IMAGES"
	rm -rf "${KEEP_IMAGES:?}/$name"
	cp -a "$ckpt" "$KEEP_IMAGES/$name"
}

ours()
{
	for end in '' '' --kill; do
		dump --tracker soft-dirty $end
	done
	gone
	keep
	keep_for_crit
	sd_restores "$ckpt"
	criu_ready
	if excepted criu; then
		must_fail "criu restores what sd-dump wrote" criu_restores "$ckpt/3"
		must_fail "criu restores what it dumped itself" criu_alone "$@"
	else
		criu_restores "$ckpt/3"
		criu_restores "$ckpt/1"
	fi
}

# An exception is proven by criu alone: what it cannot dump, or does not keep, nobody can restore.
theirs()
{
	criu_ready
	if excepted sd; then
		end_victim
		must_fail "criu restores what it dumped itself" criu_alone "$@"
	else
		criu_dumps "$CASE_DIR/own"
		sd_restores "$CASE_DIR/own/2"
	fi
}

decode()
{
	dump
	dump
	mkdir "$CASE_DIR/images"
	mv "$ckpt" "$CASE_DIR/images/$name"
	PYTHONPATH=$PYCRIU LD_LIBRARY_PATH=$CRIU_LIBS /usr/bin/python3 "$here/crit.py" "$CASE_DIR/images" "$here/exceptions" ||
		fail "crit cannot read it"
	end_victim
}

start_victim "$@" join=1
name=$(echo "$*" | sed 's/ /:/; s/ /,/g')
$story "$@" join=1
