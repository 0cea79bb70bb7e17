#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Run pjdfstest on a fresh mount:  tests/external/pjdfstest.sh /path/to/pjdfstest [TEST-FOLDER...]
# (a checkout that has been built; nothing is downloaded or built here; needs root and prove)
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
suite=${1:?usage: pjdfstest.sh /path/to/pjdfstest [TEST-FOLDER...]}
suite=$(realpath "$suite")
shift
[ -x "$suite/pjdfstest" ] || die "$suite/pjdfstest is not there: build it first"
[ "$(id -u)" -eq 0 ] || die "pjdfstest needs root"
command -v prove >/dev/null || die "prove (package perl) is not there"
fresh_mount 512M
cd "$mnt"
[ $# -gt 0 ] || set -- .
timeout 3600 prove -r "${@/#/$suite/tests/}"
