#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Run fsstress on a fresh mount:  tests/external/fsstress.sh /path/to/fsstress [OPTION...]     (default: -p 4 -n 5000)
# (from xfstests or LTP, built; nothing is downloaded or built here)
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
fsstress=$(realpath "${1:?usage: fsstress.sh /path/to/fsstress [OPTION...]}")
shift
[ -x "$fsstress" ] || die "$fsstress is not a program"
fresh_mount 1G
[ $# -gt 0 ] || set -- -p 4 -n 5000
timeout 3600 "$fsstress" -d "$mnt/stress" "$@"
