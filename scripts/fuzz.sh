#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Fuzz for a while.
#
#   scripts/fuzz.sh TIME [TARGET...]     TIME: 90s, 30m, 8h; targets: image log node options ioctls
#   scripts/fuzz.sh --replay BIN         the corpora through the programs in BIN, which need no libFuzzer
#   scripts/fuzz.sh --minimise           the corpora in the tree from all that was found (build/fuzz/kept)
#
# Two cores: image has one to itself, the others share the second.  PRESET=fuzz-asan fuzzes under AddressSanitizer and UBSan
# (default fuzz: asserts only, much faster).  SEED= (random) is printed.  What crashes, hangs for 25 seconds or takes memory is
# kept in build/PRESET/kept/crashes, and the target is started again.  New inputs stay in build/PRESET/kept/TARGET and are where
# the next run begins.  Exit 1 if anything was found, 77 without libFuzzer.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ALL=(image log node options ioctls)
PRESET=${PRESET:-fuzz}
SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
LIMITS=(-timeout=25 -rss_limit_mb=1500 -malloc_limit_mb=64 -max_len=700 -entropic=0)

say() { echo "fuzz.sh: $*"; }

has_libfuzzer() {
	local scratch
	scratch=$(mktemp -d)
	echo 'int LLVMFuzzerTestOneInput(const char *p, long n); int LLVMFuzzerTestOneInput(const char *p, long n) { return !p && n; }' >"$scratch/t.c"
	clang -fsanitize=fuzzer -o "$scratch/t" "$scratch/t.c" 2>/dev/null
	local ret=$?
	rm -rf "$scratch"
	return $ret
}

build() {
	mkdir -p "build/$PRESET"
	if ! cmake --preset "$PRESET" -G Ninja -DBUILD_TESTING=ON >"build/$PRESET.log" 2>&1 ||
		! cmake --build "build/$PRESET" --target fuzzers >>"build/$PRESET.log" 2>&1; then
		tail -n 40 "build/$PRESET.log"
		exit 1
	fi
}

seconds() {
	case $1 in
	*s) echo "${1%s}" ;;
	*m) echo $((${1%m} * 60)) ;;
	*h) echo $((${1%h} * 3600)) ;;
	*) return 1 ;;
	esac
}

# one TARGET SECONDS LANE: again and again until the time is over
one() {
	local target=$1 end=$((SECONDS + $2)) n=0 left runs found log kept=build/$PRESET/kept ret
	mkdir -p "$kept/$target" "$kept/crashes"
	log=$kept/$target.$3.log
	: >"$log"
	while left=$((end - SECONDS)) && [ "$left" -gt 0 ]; do
		"build/$PRESET/bin/fuzz_$target" "${LIMITS[@]}" -seed=$((SEED + n)) -max_total_time="$left" -print_final_stats=1 \
			-artifact_prefix="$kept/crashes/$target-" "$kept/$target" "tests/fuzz/corpus/$target" >"$log.last" 2>&1
		ret=$?
		cat "$log.last" >>"$log"
		n=$((n + 1))
		if [ $ret -ne 0 ]; then
			say "$target: $(grep -m 1 -E '^fuzz: |ERROR|SUMMARY|runtime error' "$log.last" | cut -c 1-300)"
			found=$(sed -n 's/.*Test unit written to //p' "$log.last" | tail -n 1)
			[ ! -f "$found" ] || say "$target: $found is, in base64: $(base64 -w 0 "$found")"
			echo x >>"$kept/found"
			[ $n -lt 500 ] || break
		fi
	done
	runs=$(awk '/^stat::number_of_executed_units/ { n += $2 } END { print n + 0 }' "$log")
	say "$target: $runs executions, $((runs / ($2 ? $2 : 1))) a second, $((n - 1)) restarts, $(ls "$kept/$target" | wc -l) inputs of its own"
	echo "$runs" >>"$kept/total"
}

# lane NAME TIME TARGET...: one after the other
lane() {
	local name=$1 time=$2 t
	shift 2
	for t in "$@"; do one "$t" $((time / $#)) "$name"; done
}

# On one core the image, on the other one the rest; where that makes no sense, the targets by turns.
campaign() {
	local time=$1 a=() b=() t
	shift
	rm -f "build/$PRESET/kept/total" "build/$PRESET/kept/found"
	for t in "$@"; do
		if [ "$t" = image ]; then a+=("$t"); else b+=("$t"); fi
	done
	[ ${#a[@]} -gt 0 ] || a=("${b[@]:0:${#b[@]}/2}") b=("${b[@]:${#b[@]}/2}")
	[ ${#a[@]} -gt 0 ] || a=("${b[@]}")
	[ ${#b[@]} -gt 0 ] || b=("${a[@]}")
	lane a "$time" "${a[@]}" &
	lane b "$time" "${b[@]}" &
	wait
	say "$(awk '{ n += $1 } END { print n + 0 }' "build/$PRESET/kept/total") executions in all"
	[ ! -e "build/$PRESET/kept/found" ] || { say "something was found: build/$PRESET/kept/crashes" && return 1; }
}

replay() {
	local t pids=() pid ret=0
	for t in "${ALL[@]}"; do
		# the name and the number in one line, whoever else prints
		(out=$("$1/fuzz_$t" "tests/fuzz/corpus/$t" 2>&1) && say "$t: $out" || { say "$t: $out" && exit 1; }) &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid" || ret=1; done
	return $ret
}

minimise() {
	local t merged
	for t in "${ALL[@]}"; do
		merged=$(mktemp -d)
		# those of mended bugs stay, under their names; of the rest, what no other reaches
		cp "tests/fuzz/corpus/$t"/bug-* "$merged" 2>/dev/null
		"build/$PRESET/bin/fuzz_$t" "${LIMITS[@]}" -use_counters=0 -merge=1 "$merged" "tests/fuzz/corpus/$t" "build/$PRESET/kept/$t" >/dev/null 2>&1
		rm -rf "tests/fuzz/corpus/$t"
		mkdir -p "tests/fuzz/corpus/$t"
		cp "$merged"/* "tests/fuzz/corpus/$t"
		rm -rf "$merged"
		say "$t: $(ls "tests/fuzz/corpus/$t" | wc -l) inputs"
	done
}

case ${1:-} in
--replay)
	replay "$2"
	exit
	;;
--minimise)
	build
	minimise
	exit
	;;
esac
time=$(seconds "${1:-}") || { sed -n '3,14s/^# \{0,1\}//p' "$0" && exit 1; }
shift
has_libfuzzer || { say "clang has no libFuzzer here (scripts/setup.sh test installs it): not fuzzed" && exit 77; }
[ $# -gt 0 ] || set -- "${ALL[@]}"
say "building"
build
say "seed $SEED"
campaign "$time" "$@"
