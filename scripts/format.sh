#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Put every C file into the tree's style (.clang-format).  With --check: only say which files are not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mapfile -t files < <(find core fs include mkfs fsck tools tests -name '*.[ch]' | sort)
if [ "${1:-}" = --check ]; then
	exec clang-format --dry-run -Werror "${files[@]}"
fi
exec clang-format -i "${files[@]}"
