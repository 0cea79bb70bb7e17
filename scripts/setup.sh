#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Install the Debian packages that tallyfs needs and that are not there yet.
#
#   scripts/setup.sh build    what building and mounting need
#   scripts/setup.sh test     that, and what the tests need
#   scripts/setup.sh coverage that, and what scripts/coverage.sh needs
#
# Says what it is about to install, and does nothing at all when nothing is missing.
set -euo pipefail

BUILD_PACKAGES=(
	gcc libc6-dev cmake ninja-build pkg-config
	libfuse3-dev fuse3 zlib1g-dev libxxhash-dev liburing-dev libblkid-dev uuid-dev libjson-c-dev libisal-dev
	systemtap-sdt-dev
)
TEST_PACKAGES=(
	clang clang-format libcriterion-dev mandoc python3 git
	attr acl e2fsprogs mount util-linux procps
)
COVERAGE_PACKAGES=(lcov)

die() {
	echo "setup.sh: $*" >&2
	exit 1
}

case "${1:-}" in
build) wanted=("${BUILD_PACKAGES[@]}") ;;
test) wanted=("${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}") ;;
coverage) wanted=("${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}" "${COVERAGE_PACKAGES[@]}") ;;
*) die "usage: scripts/setup.sh build|test|coverage" ;;
esac

command -v dpkg-query >/dev/null || die "this is not a Debian system; install by hand the equivalents of: ${wanted[*]}"

# libisal exists for some architectures only; without it zlib computes crc32
case "$(dpkg --print-architecture)" in
amd64 | arm64) isal=yes ;;
*) isal=no ;;
esac

# fusermount3 can unmount only where /etc/mtab is there; a folder made by debootstrap lacks it
if [ ! -e /etc/mtab ] && [ ! -L /etc/mtab ] && [ "$(id -u)" -eq 0 ]; then
	echo "setup.sh: making /etc/mtab, the link to /proc/self/mounts that Debian has"
	ln -s ../proc/self/mounts /etc/mtab
fi

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

# libFuzzer has a package named by clang's version: libclang-rt-14-dev, libclang-rt-19-dev.  Where there is none, the fuzzers are
# skipped.
fuzzer_package() {
	local version
	version=$(dpkg-query -W -f '${Depends}' clang 2>/dev/null || apt-cache show clang 2>/dev/null || true)
	version=$(grep -m 1 -o 'clang-[0-9]*' <<<"$version" | tr -dc '0-9')
	[ -n "$version" ] && apt-cache show "libclang-rt-$version-dev" >/dev/null 2>&1 && echo "libclang-rt-$version-dev"
}

missing=()
for p in "${wanted[@]}"; do
	[ "$p" != libisal-dev ] || [ $isal = yes ] || continue
	is_installed "$p" || missing+=("$p")
done
if [ "$1" != build ] && [ ${#missing[@]} -eq 0 ]; then
	fuzzer=$(fuzzer_package || true)
	[ -z "$fuzzer" ] || is_installed "$fuzzer" || missing+=("$fuzzer")
fi
[ ${#missing[@]} -gt 0 ] || exit 0

echo "setup.sh: installing ${#missing[@]} missing packages: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || die "not root and no sudo; as root run: apt-get install ${missing[*]}"
	as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt_get() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" </dev/null >"$log" 2>&1
}
if ! apt_get update; then
	tail -n 5 "$log" >&2
	echo "setup.sh: apt-get update failed; trying with the package lists that are there" >&2
fi
if ! apt_get install --no-install-recommends "${missing[@]}"; then
	tail -n 20 "$log" >&2
	die "apt-get could not install: ${missing[*]}"
fi
fuzzer=
[ "$1" = build ] || fuzzer=$(fuzzer_package || true)
if [ -n "$fuzzer" ] && ! is_installed "$fuzzer" && ! apt_get install --no-install-recommends "$fuzzer"; then
	echo "setup.sh: $fuzzer could not be installed: no fuzzing" >&2
fi
echo "setup.sh: done"
