#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Would the tests notice?  Break one rule of the code at a time, and see which test says so.
#
#   scripts/mutants.sh [OPTION...] [NAME...]     all of tests/mutants/*.patch, or those named
#
#   -j N         build and test with N jobs at once (default: one for each core)
#   --sample K   only K of them, which ones is up to TALLYFS_SEED (default 1)
#   --check      build and run nothing: only see that every patch applies and names tests that exist
#   --list       print the name and the rule of each
#   --help       print this
#
# Works in a copy of the tree, build/mutants, that the next run uses again.  First the tests named
# must pass without any mutant; then each mutant is built and its tests run one after the other
# until one fails, which is what should happen.  A test that takes ten times as long as before
# (and 30 seconds) hangs, and that counts as noticed.  A patch that does not apply or build is a
# failure.  Exit 0: every mutant was killed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

root=$PWD
scratch=$root/build/mutants
src=$scratch/src
build=$scratch/build
patches=$root/tests/mutants
jobs=$(nproc)
sample=
mode=run
names=()
declare -A limit failing
killed=0
unfit=0 # a test fails by itself
failures=()

say() { echo "mutants: $*"; }
die() {
	echo "mutants.sh: $*" >&2
	exit 1
}
field() { sed -n "s/^$2: //p;/^---/q" "$patches/$1.patch"; }
program() { echo "${1%%:*}"; }

while [ $# -gt 0 ]; do
	case $1 in
	-j) jobs=${2:?} && shift ;;
	--sample) sample=${2:?} && shift ;;
	--check) mode=check ;;
	--list) mode=list ;;
	-h | --help)
		sed -n '4,20s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
		exit 0
		;;
	-*) die "unknown option '$1' (see --help)" ;;
	*) names+=("$(basename "$1" .patch)") ;;
	esac
	shift
done
mapfile -t all < <(cd "$patches" && printf '%s\n' *.patch | sed 's/\.patch$//')
[ ${#names[@]} -gt 0 ] || names=("${all[@]}")
[ -z "$sample" ] ||
	mapfile -t names < <(printf '%s\n' "${names[@]}" | shuf -n "$sample" --random-source=<(yes "${TALLYFS_SEED:-1}"))
for name in "${names[@]}"; do
	[ -f "$patches/$name.patch" ] || die "there is no tests/mutants/$name.patch"
done

if [ $mode = list ]; then
	for name in "${names[@]}"; do printf '%-30s %s\n' "$name" "$(field "$name" Rule)"; done
	exit 0
fi

# tree_apply DIR NAME [OPTION]: from outside of any repository, and at another line if need be
tree_apply() { (cd "$1" && GIT_CEILING_DIRECTORIES=$(dirname "$1") GIT_DIR=/dev/null git apply ${3:-} "$patches/$2.patch"); }

# Whatever is wrong with @1's patch, in a line
what_is_wrong() {
	local test file
	[ -n "$(field "$1" Rule)" ] || { echo "says no Rule" && return; }
	[ -n "$(field "$1" Tests)" ] || { echo "names no Tests" && return; }
	for test in $(field "$1" Tests); do
		case $test in
		test_*) file=unit/$(program "$test").c ;;
		thr_*) file=thread/$(program "$test").c ;;
		integration/*) file=integration/test_${test#*/}.py ;;
		*) file=$test ;;
		esac
		[ -f "tests/$file" ] || { echo "names a test that does not exist: $test" && return; }
	done
	tree_apply "$root" "$1" --check >/dev/null 2>&1 || echo "DOES NOT APPLY"
}

# Stale ones are failures even of a run that does not use them.
good=()
for name in "${all[@]}"; do
	wrong=$(what_is_wrong "$name")
	if [ -n "$wrong" ]; then
		say "$name: $wrong"
		failures+=("$name")
	elif [[ " ${names[*]} " == *" $name "* ]]; then
		good+=("$name")
	fi
done
finish() {
	[ ${#failures[@]} -eq 0 ] || say "failed: ${failures[*]}"
	say "$1, ${#failures[@]} failed, $SECONDS s"
	[ ${#failures[@]} -eq 0 ]
	exit
}
[ $mode = run ] || finish "${#good[@]} of ${#all[@]} can be used"

# ---- the copy ----

mkdir -p "$src"
exec 9>"$scratch/lock"
flock -n 9 || die "another run uses $scratch"

# Make @src what the tree is, touching only what differs.
sync_tree() {
	local f
	list() { (cd "$1" && find . \( -path ./build -o -path ./.git -o -name __pycache__ \) -prune -o -type f -print | sort); }
	list "$root" >"$scratch/want"
	list "$src" | comm -13 "$scratch/want" - | (cd "$src" && xargs -r -d '\n' rm -f)
	while read -r f; do
		cmp -s "$root/$f" "$src/$f" || install -D "$root/$f" "$src/$f"
	done <"$scratch/want"
}

# targets TEST...: what to build for them
targets() {
	local test
	for test in "$@"; do
		case $test in
		integration/*) echo tallyfs mkfs.tallyfs fsck.tallyfs mount.tallyfs umount.fuse.tallyfs tallyctl tallydump exercise dioasync ;;
		*) program "$test" ;;
		esac
	done | tr ' ' '\n' | sort -u
}

compile() { ninja -C "$build" -j "$jobs" $(targets "$@") >"$scratch/build.log" 2>&1; }

# run TEST SECONDS: its exit status, and what it says in $scratch/out
run() {
	local command
	case $1 in
	integration/*) command=(env BIN="$build/bin" python3 -B "$src/tests/integration/test_${1#*/}.py") ;;
	*:*) command=("$build/bin/$(program "$1")" --fail-fast --jobs "$jobs" --filter "${1#*:}") ;;
	test_*) command=("$build/bin/$1" --fail-fast --jobs "$jobs") ;;
	*) command=("$build/bin/$1") ;;
	esac
	timeout -k 20 "$2" "${command[@]}" </dev/null >"$scratch/out" 2>&1
}

plain() { sed 's/\x1b\[[0-9;]*m//g' "$scratch/out"; }
# The first Criterion test that failed, if it was one
which_failed() { plain | sed -n 's/^\[FAIL\] \([a-z0-9_]*::[a-z0-9_]*\).*/ (\1)/p' | head -n 1; }

sync_tree
patches=$src/tests/mutants # the tree may change from here on
# as released, but quicker to build and to link
cmake -S "$src" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_FLAGS_RELWITHDEBINFO="-O1 -DNDEBUG" \
	-DBUILD_TESTING=ON >"$scratch/build.log" 2>&1 ||
	{ tail -n 20 "$scratch/build.log" && exit 1; }

# ---- without any mutant ----

mapfile -t tests < <(for name in "${good[@]}"; do field "$name" Tests; done | tr ' ' '\n' | sort -u)
say "${#good[@]} of ${#all[@]} mutants; building ${#tests[@]} tests"
compile "${tests[@]}" || { tail -n 40 "$scratch/build.log" && exit 1; }
for test in "${tests[@]}"; do
	start=$EPOCHREALTIME
	run "$test" 600
	status=$?
	limit[$test]=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%d", 30 + 10 * (b - a) }')
	# a filter that fits nothing passes, too
	[ $status -ne 0 ] || ! plain | grep -q 'Tested: 0 ' || status=none
	case $status in
	0) ;;
	77) failing[$test]="is skipped here" ;;
	none) failing[$test]="is not there" ;;
	*)
		tail -n 20 "$scratch/out"
		failing[$test]="fails without any mutant"
		;;
	esac
	[ -z "${failing[$test]:-}" ] || say "$test ${failing[$test]}"
	[ $status = 0 ] || [ $status = 77 ] || { failures+=("$test") && unfit=1; }
done
[ $unfit -eq 0 ] || finish "no mutant was run"
say "${#tests[@]} tests pass without any mutant, $SECONDS s"

# ---- one by one ----

# Sets $verdict.
try_mutant() {
	local test status
	verdict="not tried: its tests are skipped here"
	tree_apply "$src" "$1" >/dev/null 2>&1 || { verdict="DOES NOT APPLY" && return 1; }
	for test in $(field "$1" Tests); do
		[ -z "${failing[$test]:-}" ] || continue
		if ! compile "$test"; then
			grep -E -m 3 'error:|undefined' "$scratch/build.log"
			verdict="DOES NOT BUILD" && return 1
		fi
		run "$test" "${limit[$test]}"
		status=$?
		verdict=SURVIVED
		case $status in
		0 | 77) continue ;;
		124 | 137) verdict="killed by $test, which hangs (more than ${limit[$test]} s)" ;;
		*) verdict="killed by $(program "$test")$(which_failed)" ;;
		esac
		killed=$((killed + 1))
		return 0
	done
	[ "$verdict" != SURVIVED ]
}

for name in "${good[@]}"; do
	start=$EPOCHREALTIME
	try_mutant "$name" || failures+=("$name")
	say "$(awk -v n="$name" -v v="$verdict" -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%-30s %5.1f s  %s", n, b - a, v }')"
	[ "$verdict" = "DOES NOT APPLY" ] || tree_apply "$src" "$name" -R || die "$name can't be taken back"
done
finish "$killed killed"
