#!/bin/sh
# criu-lite and Debian's criu take turns, in the guest, with the images of one another.
#   criu-lite.sh STORY VICTIM [KEY=VALUE...]
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/lib/common.sh"
export HOME="$dir"
story=$1
shift

# What criu finds out about the kernel takes it long: once a guest is enough.
cat >"$dir/criu" <<EOF
#!/bin/sh
[ -e /tmp/criu.kdat ] && cp /tmp/criu.kdat /run/criu.kdat
LD_LIBRARY_PATH=$CRIU_LIBS "$CRIU" "\$@"
rc=\$?
[ -e /tmp/criu.kdat ] || [ ! -e /run/criu.kdat ] || { cp /run/criu.kdat /tmp/criu.kdat.\$\$ && mv /tmp/criu.kdat.\$\$ /tmp/criu.kdat; }
exit \$rc
EOF
chmod +x "$dir/criu"
theirs=$dir/criu
ours=$BUILD/criu-lite

# by PROGRAM ARG...: must end well
by()
{
	"$@" >"$dir/said" 2>&1 || {
		cat "$dir/said"
		find "$dir" -name '*.log' -exec grep -hE 'Error|Warn' {} +
		fail "$*"
	}
}

# comes_back PROGRAM DIR
comes_back()
{
	rm -f "$dir/go" "$dir/pid"
	"$1" restore -D "$2" --pidfile "$dir/pid" -v4 -o "$dir/restore.log" &
	restorer=$!
	wait_file "$dir/pid" $restorer || {
		wait $restorer
		grep -E 'Error|Warn' "$dir/restore.log"
		fail "$1 restore of $2"
	}
	touch "$dir/go"
	wait $restorer || fail "$name after $1 restore: exit status $?"
	[ -s "$dir/out" ] && fail "$name after $1 restore: it complains"
	return 0
}

images()
{
	for d; do
		mkdir "$dir/$d" || fail "mkdir $d"
	done
}

killed()
{
	wait "$pid"
	[ $? = 137 ] || fail "$name was to be killed"
}

# series PRE-DUMPER DUMPER: pre-dump, pre-dump, dump
series()
{
	images 1 2 3
	by "$1" pre-dump -t "$pid" -D "$dir/1" -o pre.log
	by "$1" pre-dump -t "$pid" -D "$dir/2" --prev-images-dir ../1 --track-mem -o pre.log
	by "$2" dump -t "$pid" -D "$dir/3" --prev-images-dir ../2 --track-mem -v2 -o dump.log
	killed
}

is_increment()
{
	[ -L "$1/parent" ] || fail "$1 is no increment: $(cat "$1"/*.log)"
}

ours_by_theirs()
{
	series "$ours" "$ours"
	is_increment "$dir/3"
	comes_back "$theirs" "$dir/3"
}

theirs_by_ours()
{
	series "$theirs" "$theirs"
	comes_back "$ours" "$dir/3"
}

dumps_by_theirs()
{
	images 1 2
	by "$ours" dump -R -t "$pid" -D "$dir/1" --track-mem
	by "$ours" dump -t "$pid" -D "$dir/2" --track-mem --prev-images-dir ../1
	killed
	is_increment "$dir/2"
	comes_back "$theirs" "$dir/2"
	comes_back "$theirs" "$dir/1"
}

# Nobody can know what was written since a pre-dump of criu: all is, and the log says so.
their_parent()
{
	series "$theirs" "$ours"
	grep -q 'Warn .*another program wrote the parent' "$dir/3/dump.log" || fail "it is not said"
	[ -L "$dir/3/parent" ] && fail "it depends on it all the same"
	comes_back "$theirs" "$dir/3"
}

# Every file of ours goes through crit and comes out as it was.
crit()
{
	images 1 2
	by "$ours" pre-dump -t "$pid" -D "$dir/1" --display-stats
	by "$ours" dump -R -t "$pid" -D "$dir/2" --track-mem --prev-images-dir ../1 --cpu-cap=all
	PYTHONPATH=$PYCRIU /usr/bin/python3 "$here/guest/encode.py" "$dir/1" "$dir/2" ||
		fail "crit loses something"
	end_victim
}

cpuinfo()
{
	images 1 2
	by "$theirs" cpuinfo dump -D "$dir/1"
	by "$ours" cpuinfo check -D "$dir/1"
	by "$ours" cpuinfo dump -D "$dir/2"
	by "$theirs" cpuinfo check -D "$dir/2"
	for d in 1 2; do
		"$BUILD/sd-image" show --json "$dir/$d/cpuinfo.img" | jq '.entries[0].x86_entry[0].xfeatures_mask' \
			>"$dir/mask-$d"
	done
	cmp "$dir/mask-1" "$dir/mask-2" || fail "other components: $(cat "$dir"/mask-?)"
	end_victim
}

# What a script hands on to a job that it restores, whoever dumps and whoever restores.
inherit()
{
	end_victim
	for pair in "$theirs $theirs" "$ours $theirs" "$theirs $ours" "$ours $ours"; do
		mkdir "$dir/case"
		# shellcheck disable=SC2086
		CASE_DIR=$dir/case PATIENCE=100 /usr/bin/python3 -B "$here/inherit/inherit.py" script $pair || {
			cat "$dir"/case/images/*.log
			fail "inherit: $pair"
		}
		rm -r "$dir/case"
	done
}

# A person's script, with the one and the other: the same directories, and what is in them. The
# victim has written a third of its pages before, and writes few afterwards.
precopy()
{
	pages=$(echo "$params" | sed -n 's/.*pages=\([0-9]*\).*/\1/p')
	for program in "$theirs" "$ours"; do
		by "$here/../scripts/precopy-criu" -n 3 "$program" "$pid" "$dir/by-${program##*/}"
		killed
		comes_back "$program" "$dir/by-${program##*/}/last"
		rm -f "$dir/ready" "$dir/go"
		start_victim $params
		# Names with the pid in them differ; criu writes an empty seccomp.img, too.
		(cd "$dir/by-${program##*/}" && find . -name '*.img' ! -name 'criu-lite*' ! -name 'timens*' ! -name seccomp.img |
			sed 's/-[0-9]*\.img/-N.img/' | sort) >"$dir/list-${program##*/}"
		ls "$dir/by-${program##*/}" >"$dir/dirs-${program##*/}"
	done
	diff "$dir/list-criu" "$dir/list-criu-lite" || fail "different images"
	diff "$dir/dirs-criu" "$dir/dirs-criu-lite" || fail "different rounds"
	for d in 1 last; do
		a=$(cat "$dir/by-criu/$d"/pages-*.img | wc -c)
		b=$(cat "$dir/by-criu-lite/$d"/pages-*.img | wc -c)
		echo "$d: criu $((a / 4096)) pages, criu-lite $((b / 4096))"
		[ $b -le $((a + a / 4 + 65536)) ] || fail "$d: criu wrote $a bytes, we wrote $b"
		[ $d = 1 ] && [ $((b / 4096)) -lt $((pages / 3)) ] && fail "$d: pages are missing"
		[ $d = last ] && [ $((b / 4096)) -gt $((pages / 3)) ] && fail "$d: no increment"
	done
	end_victim
}

params=$*
start_victim "$@"
$story
