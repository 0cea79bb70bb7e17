#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build tallyfs every way and run every test.
#
#   ./test.sh [STEP...]
#
# Steps: format imports references man scripts release clang asan tsan fuzz mutants integration integration-asan (default: all of them, in this order).
# Installs what is missing.  LONG=1 runs the integration tests at full size, those marked "by hand" included.
# Closes with what failed and how, in 120 lines at most (tests/failures.py), and "N passed, N failed"; exit 0 when nothing
# failed.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here" || exit 1
passed=0
failed=0
TALLYFS_FAILURES=$(mktemp -d)
export TALLYFS_FAILURES
trap 'rm -rf "$TALLYFS_FAILURES"' EXIT

say() { echo "test.sh: $*"; }
ok() { passed=$((passed + 1)); }
# bad NAME [FILE]: a failure, and what was printed then
bad() {
	failed=$((failed + 1))
	python3 tests/failures.py keep "$1" <"${2:-/dev/null}"
	say "FAILED: $1"
}

case "${1:-}" in
-h | --help)
	sed -n '3,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
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
		bad "build $1" "$log"
		return 1
	fi
}

# check NAME COMMAND...: one result for a command that succeeds, or is left out (77) and has said so
check() {
	local name=$1 out ret
	shift
	out=$(mktemp)
	"$@" </dev/null 2>&1 | tee "$out"
	ret=${PIPESTATUS[0]}
	case $ret in
	0) ok ;;
	77) ;;
	*) bad "$name" "$out" ;;
	esac
	rm -f "$out"
}

# counted NAME COMMAND...: a runner that keeps its failures itself, and whose last line is "COUNT passed failed"
counted() {
	local name=$1 out line
	shift
	out=$(mktemp)
	"$@" </dev/null 2>&1 | tee "$out" | grep -v '^COUNT '
	line=$(grep '^COUNT ' "$out" | tail -n 1)
	[ -n "$line" ] || bad "$name (its runner died)" "$out"
	rm -f "$out"
	read -r _ p f <<<"${line:-COUNT 0 0}"
	passed=$((passed + p))
	failed=$((failed + f))
}

./scripts/setup.sh test || exit 1
[ -e /proc/self/mountinfo ] || { say "/proc is not mounted here; mount it first (mount -t proc proc /proc)" && exit 1; }

for step in "${steps[@]}"; do
	case $step in
	format)
		say "checking the format of the C files"
		check "format (./scripts/format.sh puts it right)" ./scripts/format.sh --check
		;;
	imports)
		say "checking that imports point down"
		check imports ./scripts/imports.py
		# and that the check would notice
		scratch=$(mktemp -d)
		mkdir -p "$scratch/core/lib"
		echo '#include "fs/vfs/vfs.h"' >"$scratch/core/lib/planted.c"
		if ./scripts/imports.py "$scratch" >/dev/null; then bad "imports: a planted upward include was not noticed"; else ok; fi
		rm -rf "$scratch"
		say "checking that files and functions are of a size to be read"
		check sizes ./scripts/sizes.py
		;;
	references)
		say "checking that comments and documents point at what is there"
		check references ./scripts/references.py
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
			check "$page" mandoc -Tlint -Wwarning "$page"
		done
		;;
	scripts)
		say "checking the scripts' syntax"
		for f in run.sh test.sh .ci/run scripts/*.sh tests/external/*.sh completions/tallyfs; do
			check "$f" bash -n "$f"
		done
		check "runners that hang" python3 tests/stuck_forks.py
		;;
	release | asan | tsan | debug)
		build "$step" && counted "$step" python3 tests/run_units.py "$step"
		if [ "$step" = release ]; then
			say "looking for files that call each other in circles"
			check knots ./scripts/knots.py
		fi
		;;
	clang) build clang ;;
	fuzz)
		# all inputs that were worth keeping, under gcc's sanitizers; then a little of the real thing
		[ -x build/asan/bin/fuzz_image ] || build asan || continue
		say "replaying the fuzzers' inputs"
		check "fuzz: replay" ./scripts/fuzz.sh --replay build/asan/bin
		check fuzz env SEED="${SEED:-1}" ./scripts/fuzz.sh 30s
		;;
	mutants)
		say "breaking a few rules, to see that the tests notice"
		check mutants ./scripts/mutants.sh --sample 4
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

python3 tests/failures.py show
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
