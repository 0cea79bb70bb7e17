# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Sourced by the scripts beside it: a fresh image on a mount of its own, cleaned up and checked at the end.
# MKFS="-b 1024" and MOUNT="-o cache_size=2M,no_writeback_cache" add options to the ones the scripts give.
set -euo pipefail
bin=${BIN:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/release/bin}

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

finish() {
	local code=$?
	trap - EXIT
	cd /
	if [ -n "${mnt:-}" ] && mountpoint -q "$mnt"; then
		"$bin/tallyctl" umount "$mnt" || code=1
		"$bin/fsck.tallyfs" -n --verify-data "$work/image" || code=1
	fi
	[ -z "${work:-}" ] || rm -rf --one-file-system "$work"
	exit $code
}

# fresh_mount SIZE [MOUNT-OPTION...]: sets work and mnt
fresh_mount() {
	local size=$1
	shift
	work=$(mktemp -d -t tallyfs-external-XXXXXX)
	chmod 755 "$work"
	mnt=$work/mnt
	trap finish EXIT
	mkdir "$mnt"
	# shellcheck disable=SC2086 # options are words
	"$bin/mkfs.tallyfs" -q ${MKFS:-} "$work/image" "$size"
	# shellcheck disable=SC2086
	"$bin/tallyfs" "$work/image" "$mnt" "$@" ${MOUNT:-}
}
