#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Run fsx on a fresh mount:  tests/external/fsx.sh /path/to/fsx [FSX-OPTION...]     (default: -N 20000 -l 1000000)
# (from xfstests or LTP, built; nothing is downloaded or built here)
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
fsx=$(realpath "${1:?usage: fsx.sh /path/to/fsx [FSX-OPTION...]}")
shift
[ -x "$fsx" ] || die "$fsx is not a program"
fresh_mount 256M
[ $# -gt 0 ] || set -- -N 20000 -l 1000000
timeout 3600 "$fsx" "$@" "$mnt/fsx.data"
