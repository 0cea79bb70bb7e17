#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build tallyfs every way and run every test.
#
#   ./test.sh [STEP...]
#
# Steps: format imports references man scripts release clang asan tsan fuzz mutants integration integration-asan (default: all of them, in this order).
# Installs what is missing.  LONG=1 runs the integration tests at full size, those marked "by hand" included.
# Closes with "N passed, N failed"; exit 0 when nothing failed.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here" || exit 1
passed=0
failed=0
failures=()

say() { echo "test.sh: $*"; }
ok() { passed=$((passed + 1)); }
bad() {
	failed=$((failed + 1))
	failures+=("$1")
	say "FAILED: $1"
}

case "${1:-}" in
-h | --help)
	sed -n '3,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
	exit 0
	;;
esac
steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(format imports references man scripts release clang asan tsan fuzz mutants integration integration-asan)

# build PRESET: one result for "builds without a warning"
build() {
	local log=build/$1.log
	mkdir -p build
	say "building $1"
	if cmake --preset "$1" -G Ninja -DBUILD_TESTING=ON >"$log" 2>&1 && cmake --build "build/$1" >>"$log" 2>&1; then
		ok
	else
		tail -n 40 "$log"
		bad "build $1"
		return 1
	fi
}

# counted NAME COMMAND...: a runner whose last line is "COUNT passed failed"
counted() {
	local name=$1 out line
	shift
	out=$(mktemp)
	"$@" </dev/null 2>&1 | tee "$out" | grep -v '^COUNT '
	line=$(grep '^COUNT ' "$out" | tail -n 1)
	rm -f "$out"
	if [ -z "$line" ]; then
		bad "$name (its runner died)"
		return
	fi
	read -r _ p f <<<"$line"
	passed=$((passed + p))
	failed=$((failed + f))
	[ "$f" -eq 0 ] || failures+=("$name: $f")
}

./scripts/setup.sh test || exit 1
[ -e /proc/self/mountinfo ] || { say "/proc is not mounted here; mount it first (mount -t proc proc /proc)" && exit 1; }

for step in "${steps[@]}"; do
	case $step in
	format)
		say "checking the format of the C files"
		./scripts/format.sh --check 2>&1 | tail -n 40
		case ${PIPESTATUS[0]} in
		0) ok ;;
		77) ;; # another clang-format: it has said so
		*) bad "format (./scripts/format.sh puts it right)" ;;
		esac
		;;
	imports)
		say "checking that imports point down"
		if ./scripts/imports.py; then ok; else bad "imports"; fi
		# and that the check would notice
		scratch=$(mktemp -d)
		mkdir -p "$scratch/core/lib"
		echo '#include "fs/vfs/vfs.h"' >"$scratch/core/lib/planted.c"
		if ./scripts/imports.py "$scratch" >/dev/null; then bad "imports: a planted upward include was not noticed"; else ok; fi
		rm -rf "$scratch"
		say "checking that files and functions are of a size to be read"
		if ./scripts/sizes.py; then ok; else bad "sizes"; fi
		;;
	references)
		say "checking that comments and documents point at what is there"
		if ./scripts/references.py; then ok; else bad "references"; fi
		# and that the check would notice: one of each kind, a line each
		scratch=$(mktemp -d)
		cat >"$scratch/planted.md" <<-'END'
			Rule 99 is none.
			Row B99 is none.
			No fs/inode/nowhere.c and no docs/NOWHERE.md.
			No man/nowhere.8, no tallynowhere(8), no `nowhere_at_all`, no nowhere_either().
			No test_nowhere, no `trans::nowhere`, no `./test.sh nowhere`.
			`fs/journal/trans.c` (`nowhere`), `nowhere` in `fs/journal/trans.c`.
			docs/DESIGN.md, "Nowhere"; (see "Nowhere"); [a link](NOWHERE.md).
			A line of a document that goes on and on, although it is neither a table nor code, until it is past column 100.
		END
		printf '/* rule 99\n * of nowhere.c, nowhere_either; journal_commit in\n * trans.c */\nint nowhere;\n' >"$scratch/planted.c"
		found=$(./scripts/references.py "$scratch"/planted.* | wc -l)
		if [ "$found" -eq 22 ]; then ok; else bad "references: 22 were planted, $found found"; fi
		rm -rf "$scratch"
		;;
	man)
		say "checking the man pages"
		for page in man/*.[158]; do
			if mandoc -Tlint -Wwarning "$page"; then ok; else bad "$page"; fi
		done
		;;
	scripts)
		say "checking the scripts' syntax"
		for f in run.sh test.sh .ci/run scripts/*.sh tests/external/*.sh completions/tallyfs; do
			if bash -n "$f"; then ok; else bad "$f"; fi
		done
		;;
	release | asan | tsan | debug)
		build "$step" && counted "$step" python3 tests/run_units.py "$step"
		if [ "$step" = release ]; then
			say "looking for files that call each other in circles"
			if ./scripts/knots.py; then ok; else bad "knots"; fi
		fi
		;;
	clang) build clang ;;
	fuzz)
		# all inputs that were worth keeping, under gcc's sanitizers; then a little of the real thing
		[ -x build/asan/bin/fuzz_image ] || build asan || continue
		say "replaying the fuzzers' inputs"
		if ./scripts/fuzz.sh --replay build/asan/bin; then ok; else bad "fuzz: replay"; fi
		SEED=${SEED:-1} ./scripts/fuzz.sh 30s
		case $? in
		0) ok ;;
		77) ;; # no libFuzzer: it has said so
		*) bad fuzz ;;
		esac
		;;
	mutants)
		say "breaking a few rules, to see that the tests notice"
		if ./scripts/mutants.sh --sample 4; then ok; else bad "mutants"; fi
		;;
	integration)
		[ -x build/release/bin/tallyfs ] || build release || continue
		counted "$step" env BIN="$here/build/release/bin" python3 tests/integration/run.py
		;;
	integration-asan)
		[ -x build/asan/bin/tallyfs ] || build asan || continue
		counted "$step" env BIN="$here/build/asan/bin" python3 tests/integration/run.py smoke bad_input options bitflip ctl acl posix mount exercise dump readdir export links full smallcache
		;;
	*)
		say "unknown step '$step' (see ./test.sh --help)"
		exit 1
		;;
	esac
done

[ ${#failures[@]} -eq 0 ] || printf 'test.sh: failed: %s\n' "${failures[@]}"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
