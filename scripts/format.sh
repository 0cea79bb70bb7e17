#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Put every C file into the tree's style (.clang-format).  With --check: only say which files are not.
#
# Every version of clang-format lays some lines out in a way of its own: the tree is as this one does it.  Where there
# is only another, nothing is done: exit 77.
set -euo pipefail
MAJOR=14

cd "$(dirname "${BASH_SOURCE[0]}")/.."
for tool in clang-format-$MAJOR clang-format none; do
	version=$("$tool" --version 2>/dev/null | sed -n 's/.*version \([0-9]*\)\..*/\1/p') || true
	[ "$version" != $MAJOR ] || break
	[ -z "$version" ] || other=$version
done
if [ "$tool" = none ]; then
	echo "format.sh: skipped: the style is that of clang-format $MAJOR, and here is ${other:-none}" >&2
	exit 77
fi
mapfile -t files < <(find common core fs include mkfs fsck tools tests -name '*.[ch]' | sort)
if [ "${1:-}" = --check ]; then
	exec "$tool" --dry-run -Werror "${files[@]}"
fi
exec "$tool" -i "${files[@]}"
