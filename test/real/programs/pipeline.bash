# A pipeline: a shell loop, two filters, a loop that starts a child for each block of lines.
declare -A seen

numbers() {
	local i x=1
	for ((i = 0; i < 90000; i++)); do
		x=$(((x * 1103515245 + 12345) % 2147483648))
		seen[$((x % 5000))]=$i
		echo "$i $x ${#seen[@]}"
	done
}

blocks() {
	local line n=0 text=
	while read -r line; do
		text+=$line$'\n'
		if ((++n % 600 == 0)); then
			printf '%d %s\n' "$n" "$(cksum <<<"$text")"
			text=$line
		fi
	done
	echo "$n lines" >total
}

numbers | sed 's/7/seven/g' | tr 0-4 a-e | blocks
