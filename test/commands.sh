#!/bin/sh
# What the programs say about themselves, and the results that other programs read.
#   commands.sh CASE
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" = list ]; then
	sed -n 's/^case_\([a-z_]*\)()$/\1/p' "$0" | while read -r c; do
		echo "${LIST_PREFIX:-}commands/$(echo "$c" | tr _ -) ${LIMIT:-60} $here/commands.sh $c"
	done
	exit
fi
. "$here/lib/common.sh"

# ends_with STATUS COMMAND...: what it prints is in $dir/stdout and $dir/stderr
ends_with()
{
	want=$1
	shift
	"$@" >"$dir/stdout" 2>"$dir/stderr"
	rc=$?
	[ $rc = "$want" ] || fail "$*: exit status $rc, not $want: $(cat "$dir/stderr")"
}

case_help_and_version()
{
	for program in sd-dump sd-restore sd-image; do
		ends_with 0 "$BUILD/$program" --help
		grep -q "^usage: $program " "$dir/stdout" || fail "$program --help names no usage"
		[ -s "$dir/stderr" ] && fail "$program --help writes to stderr"
		ends_with 0 "$BUILD/$program" --version
		grep -Eq "^$program [0-9]+\.[0-9]+" "$dir/stdout" || fail "$program --version"
	done
}

# Every option of --help has its paragraph in the manual page.
case_manual_pages_name_every_option()
{
	for program in sd-dump sd-restore sd-image; do
		"$BUILD/$program" --help | grep -o -- '--[a-z-]*' | sort -u | while read -r option; do
			sed 's/\\//g' "$BUILD/$program.1" | grep -q -- "$option" ||
				echo "$program.1 does not describe $option"
		done
	done >"$dir/missing"
	[ -s "$dir/missing" ] && fail "$(cat "$dir/missing")"
	true
}

case_wrong_usage()
{
	for words in '' '1 2' 'x' '-1' '0' '--no-such 1' '--stop --kill 1' '--timeout 0 1' \
		'--timeout x 1' '-D'; do
		# shellcheck disable=SC2086
		ends_with 2 "$BUILD/sd-dump" $words
		grep -q '^usage: ' "$dir/stderr" || fail "sd-dump $words: no usage line"
	done
	for words in '' 'a b' '-D a b' '--at 0 a' '--at x a'; do
		# shellcheck disable=SC2086
		ends_with 2 "$BUILD/sd-restore" $words
	done
	for words in '' 'list' 'burn x' 'list a b c'; do
		# shellcheck disable=SC2086
		ends_with 2 "$BUILD/sd-image" $words
	done
}

case_unknown_tracker()
{
	start_victim anon pages=10
	ends_with 1 "$BUILD/sd-dump" --tracker fortune -D "$ckpt" "$pid"
	grep -q "fortune" "$dir/stderr" || fail "the message does not name it"
	end_victim
}

case_json_of_a_dump()
{
	start_victim anon pages=10
	dump --json >"$dir/json"
	for key in checkpoint parent tracker full_reason untracked tasks threads pages_used pages_written \
		pages_parent pages_zero bytes_written frozen_us total_us phases_us; do
		jq -e "has(\"$key\")" "$dir/json" >/dev/null || fail "no key $key"
	done
	jq -e '.checkpoint == 1 and .tasks == 1 and .threads == 1 and .parent == null
		and .pages_written <= .pages_used and .frozen_us <= .total_us
		and ([.phases_us[]] | add) <= .total_us' "$dir/json" || fail "$(cat "$dir/json")"
	[ "$(wc -l <"$dir/json")" = 1 ] || fail "more than one line"
	end_victim
}

case_quiet_says_nothing()
{
	start_victim anon pages=10
	ends_with 0 "$BUILD/sd-dump" -q -D "$ckpt" "$pid"
	[ -s "$dir/stdout" ] || [ -s "$dir/stderr" ] && fail "it said something"
	end_victim
}

case_installed()
{
	command -v make >/dev/null || fail "no make"
	make -s -C "$here/.." BUILD="$BUILD" install DESTDIR="$dir/root" PREFIX=/opt/lite >"$dir/said" 2>&1 ||
		fail "$(cat "$dir/said")"
	at=$dir/root/opt/lite
	for p in sd-dump sd-restore sd-image criu-lite; do
		"$at/bin/$p" --version >"$dir/version" || fail "$p does not run from $at/bin"
		[ -s "$at/share/man/man1/$p.1" ] || fail "no manual page of $p"
	done
	[ "$(find "$dir/root" -type f | wc -l)" = 8 ] || fail "more or less: $(find "$dir/root" -type f)"
}

# What a program of ours does step by step goes to its standard error; the result stays alone.
case_verbose()
{
	start_victim anon pages=10
	ends_with 0 "$BUILD/sd-dump" -v -D "$ckpt" "$pid"
	grep -q "tracker: " "$dir/stderr" || fail "-v says nothing: $(cat "$dir/stderr")"
	[ "$(wc -l <"$dir/stdout")" = 1 ] || fail "the result is not alone: $(cat "$dir/stdout")"
	end_victim
}

case_keeper_gone()
{
	start_victim anon pages=10
	dump --tracker wp-async
	keeper=$(pgrep -x sd-keeper) || fail "there is no keeper"
	kill -KILL "$keeper"
	ends_with 0 "$BUILD/sd-dump" -D "$ckpt" "$pid"
	grep -q '^full dump: the keeper of the tracker is gone' "$dir/stdout" || fail "$(cat "$dir/stdout")"
	dump --json >"$dir/json"
	jq -e '.parent == 2 and .full_reason == null' "$dir/json" >/dev/null || fail "$(cat "$dir/json")"
	end_victim
}

# Giving back much memory takes the kernel a while.
case_killed_is_ended()
{
	start_victim anon pages=80000
	dump --kill
	state=$(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat")
	[ "${state:-Z}" = Z ] || fail "after sd-dump --kill it is still there, in state $state"
	gone
}

case_why_a_dump_is_full()
{
	start_victim anon pages=10
	ends_with 0 "$BUILD/sd-dump" -D "$ckpt" "$pid"
	grep -q '^full dump' "$dir/stdout" && fail "the first dump has nothing to explain"
	ends_with 0 "$BUILD/sd-dump" --full -D "$ckpt" "$pid"
	grep -q '^full dump: --full was given' "$dir/stdout" || fail "$(cat "$dir/stdout")"
	ends_with 0 "$BUILD/sd-dump" --tracker hash -D "$ckpt" "$pid"
	grep -q '^full dump: ' "$dir/stdout" || fail "$(cat "$dir/stdout")"
	ends_with 0 "$BUILD/sd-dump" -D "$ckpt" "$pid"
	grep -q '^full dump: the last checkpoint used the tracker hash' "$dir/stdout" ||
		fail "$(cat "$dir/stdout")"
	end_victim
}

# Another chain of the same task arms the tracker anew: the first chain must notice.
case_armed_by_another_chain()
{
	start_victim anon pages=10
	dump
	dump
	"$BUILD/sd-dump" -D "$dir/other" "$pid" || fail "the other chain"
	ends_with 0 "$BUILD/sd-dump" -D "$ckpt" "$pid"
	grep -q '^full dump: .*armed' "$dir/stdout" || fail "not noticed: $(cat "$dir/stdout")"
	dump --json >"$dir/json"
	jq -e '.parent == 3' "$dir/json" >/dev/null || fail "no increment after that"
	end_victim
}

case_images_are_private()
{
	umask 0
	start_victim anon pages=10
	dump
	find "$ckpt" -type d ! -perm 0700 >"$dir/loose"
	find "$ckpt" -type f ! -perm 0600 >>"$dir/loose"
	[ -s "$dir/loose" ] && fail "others may read $(cat "$dir/loose")"
	end_victim
}

case_sd_image()
{
	start_victim anon pages=10
	dump
	dump
	end_victim
	ends_with 0 "$BUILD/sd-image" list "$ckpt"
	[ "$(grep -c wp-async "$dir/stdout")" = 2 ] || fail "list: $(cat "$dir/stdout")"
	ends_with 0 "$BUILD/sd-image" list --json "$ckpt"
	jq -e . "$dir/stdout" >/dev/null || fail "list --json is no JSON"
	for image in "$ckpt"/2/*.img; do
		case $image in */pages-*) continue ;; esac
		ends_with 0 "$BUILD/sd-image" show "$image"
		[ -s "$dir/stdout" ] || fail "show $image says nothing"
		ends_with 0 "$BUILD/sd-image" show --json "$image"
		jq -e . "$dir/stdout" >/dev/null || fail "show --json $image is no JSON"
	done
	ends_with 0 "$BUILD/sd-image" verify "$ckpt"
	printf X | dd of="$ckpt/1/pages-1.img" bs=1 seek=5000 conv=notrunc 2>/dev/null
	ends_with 1 "$BUILD/sd-image" verify "$ckpt"
	cat "$dir/stdout" "$dir/stderr" >"$dir/both"
	grep -q 'pages-1.img.*offset' "$dir/both" || fail "verify: $(cat "$dir/both")"
}

# A whole checkpoint, by its number or the newest; one that another program wrote has no line.
case_sd_image_of_a_chain()
{
	start_victim anon pages=10
	dump
	dump
	end_victim
	ends_with 0 "$BUILD/sd-image" show "$ckpt"
	grep -q 'parent' "$dir/stdout" || fail "show of the newest: $(cat "$dir/stdout")"
	ends_with 0 "$BUILD/sd-image" show --json "$ckpt" 1
	jq -e 'map(.file) | index("pstree.img")' "$dir/stdout" >/dev/null ||
		fail "show --json: $(head -c 300 "$dir/stdout")"
	ends_with 1 "$BUILD/sd-image" show "$ckpt" 3
	grep -q 'there is no checkpoint of this number' "$dir/stderr" || fail "$(cat "$dir/stderr")"
	ends_with 1 "$BUILD/sd-image" verify "$ckpt" 3
	ends_with 2 "$BUILD/sd-image" show "$ckpt" x
	ends_with 0 "$BUILD/sd-image" verify --json "$ckpt"
	jq -e '.ok and .faults == []' "$dir/stdout" >/dev/null || fail "$(cat "$dir/stdout")"
	truncate -s 10 "$ckpt/2/pstree.img"
	ends_with 1 "$BUILD/sd-image" verify --json "$ckpt"
	jq -e '(.ok | not) and any(.faults[]; .checkpoint == 2 and (.fault | contains("pstree.img")))' \
		"$dir/stdout" >/dev/null || fail "$(cat "$dir/stdout")"
	ends_with 1 "$BUILD/sd-image" show "$ckpt"
	grep -q 'pstree.img' "$dir/stderr" || fail "show of a cut image: $(cat "$dir/stderr")"
	ends_with 0 "$BUILD/sd-image" list "$ckpt"
	rm "$ckpt/1/criu-lite.img"
	ends_with 1 "$BUILD/sd-image" list "$ckpt"
	grep -q "^ *1 criu-lite.img: is missing" "$dir/stdout" || fail "list: $(cat "$dir/stdout")"
	rm "$ckpt"/1/criu-lite*.img
	ends_with 0 "$BUILD/sd-image" list "$ckpt"
	grep -q '^ *1 written by another program' "$dir/stdout" || fail "list: $(cat "$dir/stdout")"
	ends_with 0 "$BUILD/sd-image" list --json "$ckpt"
	jq -e . "$dir/stdout" >/dev/null || fail "list --json: $(cat "$dir/stdout")"
}

# What `make bench` measures and writes, of small rows once; how long it takes is no matter.
case_bench()
{
	out=$dir/bench
	ends_with 0 env OUT="$out" RUNS=1 SMALL=1 SCRATCH="$dir" CRIU="$BUILD/criu-lite" \
		python3 "$here/bench/bench.py" small threads increment
	jq -e '.small["1"], .threads["1"] | .["criu dump"] and .["criu restore"]' "$out/results.json" >/dev/null ||
		fail "the other program is not in it: $(cat "$out/results.json")"
	jq -e '[.small, .threads, .increment | to_entries[].value] | length > 5 and all(.[];
		[.dump, .frozen, .["longest gap"] | .[1] <= .[0] and .[0] <= .[2] and .[1] > 0] | all)' \
		"$out/results.json" >/dev/null || fail "no median with least and most: $(cat "$out/results.json")"
	jq -e '[.["small limits", "threads limits", "increment limits"] | .memcpy and .process_vm_readv and
		.process_vm_writev and .write and .fork] | all' "$out/results.json" >/dev/null ||
		fail "no limits of the machine: $(cat "$out/results.json")"
	for row in threads increment; do
		grep -q '<svg' "$out/$row.svg" && grep -q '</svg>' "$out/$row.svg" || fail "no plot of $row"
	done
}

# Without -D the chain is ./sd-PID.
case_default_directory()
{
	start_victim anon pages=10
	cd "$dir" || exit 1
	ends_with 0 "$BUILD/sd-dump" --timeout 60 "$pid"
	[ -f "sd-$pid/1/inventory.img" ] || fail "there is no sd-$pid/1: $(ls)"
	ends_with 0 "$BUILD/sd-dump" --kill "$pid"
	gone
	ckpt=$dir/sd-$pid
	restored -v
}

"case_$(echo "$1" | tr - _)"
