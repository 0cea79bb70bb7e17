#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Line and branch coverage of core/ by the unit tests alone.
#
#   scripts/coverage.sh         build, run, and say whether the bounds are met
#   scripts/coverage.sh html    also build/coverage/html/index.html, line by line
#
# Needs lcov.  COVERAGE_LINES= and COVERAGE_BRANCHES= (percent) change the bounds.
set -euo pipefail
cd "$(dirname "$0")/.."

LINES_WANTED=${COVERAGE_LINES:-90}
BRANCHES_WANTED=${COVERAGE_BRANCHES:-75}
# The tests of what lies in core/; the others reach it too, but prove nothing about it.
TESTS='^test_(bdev|bio|failure_sweep|folio_state|guard|integrity|integrity_window|iomap_(direct|iter|model|read|readahead|write|writeback)|list|memlimit|pagecache|radix|seg|text|util|workqueue)$'

command -v lcov >/dev/null || { echo "coverage.sh: lcov is not installed (scripts/setup.sh coverage)" >&2; exit 1; }
cmake --preset coverage -G Ninja >/dev/null
cmake --build build/coverage -j"$(nproc)" >build/coverage/build.log 2>&1 || { tail -n 30 build/coverage/build.log >&2; exit 1; }
find build/coverage -name '*.gcda' -delete
ctest --test-dir build/coverage -R "$TESTS" -j"$(nproc)" --output-on-failure >build/coverage/tests.log 2>&1 ||
	{ tail -n 60 build/coverage/tests.log >&2; exit 1; }

# lcov's own parser warns that it redefines things; that is no news of ours.
quiet() { "$@" 2> >(grep -v ' redefined at ' >&2); }
# An assert's branch into abort is no behaviour to test.
quiet lcov --quiet --capture --rc lcov_branch_coverage=1 --rc 'lcov_excl_br_line=assert\(' \
	--directory build/coverage/core --base-directory "$PWD" --output-file build/coverage/all.info
quiet lcov --quiet --rc lcov_branch_coverage=1 --extract build/coverage/all.info "$PWD/core/*" --output-file build/coverage/core.info
quiet lcov --rc lcov_branch_coverage=1 --list build/coverage/core.info
[ "${1:-}" != html ] || quiet genhtml --quiet --branch-coverage --output-directory build/coverage/html build/coverage/core.info

awk -F: -v lines="$LINES_WANTED" -v branches="$BRANCHES_WANTED" '
	/^LF:/ { lf += $2 } /^LH:/ { lh += $2 } /^BRF:/ { bf += $2 } /^BRH:/ { bh += $2 }
	END {
		if (!lf || !bf) { print "coverage.sh: nothing was measured"; exit 1 }
		printf "core/: lines %.1f %% (%d of %d), branches %.1f %% (%d of %d)\n", 100 * lh / lf, lh, lf, 100 * bh / bf, bh, bf
		if (100 * lh < lines * lf || 100 * bh < branches * bf) {
			printf "coverage.sh: below the bounds of %d %% and %d %%\n", lines, branches; exit 1
		}
	}' build/coverage/core.info
