#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build tallyfs and mount an image.
#
#   ./run.sh [IMAGE [MOUNTPOINT]]      default: tallyfs.img and mnt beside this script
#
# Installs what is missing, builds the release preset, makes a 1 GiB (sparse) image when IMAGE does not exist, mounts
# it and says how to stop.  Can be run again: what is built, made or mounted already is left as it is.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$here/build/release/bin

say() { echo "run.sh: $*"; }
die() {
	echo "run.sh: $*" >&2
	exit 1
}

case "${1:-}" in
-h | --help)
	sed -n '3,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
	exit 0
	;;
-*) die "unknown option $1; usage: ./run.sh [IMAGE [MOUNTPOINT]]" ;;
esac
[ $# -le 2 ] || die "usage: ./run.sh [IMAGE [MOUNTPOINT]]"
image=$(realpath -m -- "${1:-$here/tallyfs.img}")
mountpoint=$(realpath -m -- "${2:-$here/mnt}")

"$here/scripts/setup.sh" build

# what is mounted there must be what is asked for
if mountpoint -q -- "$mountpoint"; then
	source=$(findmnt -n -o SOURCE --mountpoint "$mountpoint" | tail -n 1)
	[ "$source" = "$image" ] || die "$mountpoint: $source is mounted there; name another mount point"
fi

say "building (release) ..."
log=$here/build/run.log
mkdir -p "$here/build"
if ! (cd "$here" && cmake --preset release -G Ninja -DBUILD_TESTING=OFF && cmake --build build/release) >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	die "the build failed; all of its output is in $log"
fi
say "built: $bin"

if [ -e "$image" ]; then
	say "using the image $image"
else
	say "making a file system in a new 1 GiB image: $image"
	mkdir -p "$(dirname "$image")"
	"$bin/mkfs.tallyfs" -q "$image" 1G || {
		rm -f "$image"
		die "mkfs.tallyfs failed (see the line above)"
	}
fi

# (-c first: the redirection would make a plain file of that name)
if ! [ -c /dev/fuse ] || ! (exec 3<>/dev/fuse) 2>/dev/null; then
	say "FUSE is not reachable here (/dev/fuse cannot be opened), so the image is made but not mounted."
	say "where FUSE is: $bin/tallyfs $image $mountpoint"
	exit 0
fi

if mountpoint -q -- "$mountpoint"; then
	say "$mountpoint is mounted already"
else
	made=
	[ -e "$mountpoint" ] || made=$mountpoint
	mkdir -p "$mountpoint"
	if ! "$bin/tallyfs" "$image" "$mountpoint"; then
		[ -z "$made" ] || rmdir "$made"
		die "mounting failed (see the line above)"
	fi
	say "mounted at $mountpoint"
fi
# for pasting, whatever is in the names
printf -v q_bin %q "$bin"
printf -v q_image %q "$image"
printf -v q_mountpoint %q "$mountpoint"
cat <<END

  use it:     cp -a SOMETHING $q_mountpoint/
  look:       $q_bin/tallyctl status $q_mountpoint
  stop:       $q_bin/tallyctl umount $q_mountpoint        (returns when all is on the image)
  check:      $q_bin/fsck.tallyfs -n --verify-data $q_image        (after stopping)
END
