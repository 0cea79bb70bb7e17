#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's peak resident memory stays bounded by its options.

LONG=1: cache_size=64M, 8 GiB written and read: under 192 MiB; a million files in one folder made, listed with stat and
removed: under 256 MiB.  Else a slice: 768 MiB and 30,000 files.
"""
import os, time
import tally
from tally import G, LONG, M, Mount

PIECE = 1 * M


def big_file(m, size):
    block = bytearray(os.urandom(PIECE))
    start = time.monotonic()
    with open(m / 'big', 'wb') as f:
        for i in range(size // PIECE):
            block[0:8] = i.to_bytes(8, 'little')
            f.write(block)
        f.flush()
        os.fsync(f.fileno())
    middle = time.monotonic()
    with open(m / 'big', 'rb') as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for i in range(size // PIECE):
            block[0:8] = i.to_bytes(8, 'little')
            assert f.read(PIECE) == block, f'piece {i} reads back wrong'
    end = time.monotonic()
    os.unlink(m / 'big')
    print(f'{size // M} MiB: written in {middle - start:.1f} s, read in {end - middle:.1f} s')


def many_files(m, n):
    start = time.monotonic()
    os.mkdir(m / 'many')
    folder = os.open(m / 'many', os.O_RDONLY)
    for i in range(n):
        os.close(os.open(f'{i:07d}', os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=folder))
    made = time.monotonic()
    seen = sum(1 for e in os.scandir(m / 'many') if e.stat().st_size == 0)
    assert seen == n, f'{seen} of {n} files listed'
    listed = time.monotonic()
    for i in range(n):
        os.unlink(f'{i:07d}', dir_fd=folder)
    os.close(folder)
    os.rmdir(m / 'many')
    removed = time.monotonic()
    print(f'{n} files: made in {made - start:.1f} s, listed in {listed - made:.1f} s, removed in {removed - listed:.1f} s')


def bounded(image, mnt, what, amount, bound):
    with Mount(image, mnt, 'cache_size=64M') as m:
        what(m, amount)
        peak = m.status('VmHWM')
        print(f'{what.__name__}: peak resident memory {peak // M} MiB, bound {bound // M} MiB')
        assert peak < bound or tally.ASAN, f'VmHWM {peak // M} MiB is over {bound // M} MiB'
    tally.fsck(image)


def test(work):
    tally.require_fuse()
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, 12 * G if LONG else 1536 * M)
    bounded(image, mnt, big_file, 8 * G if LONG else 768 * M, 192 * M)
    bounded(image, mnt, many_files, 1000000 if LONG else 30000, 256 * M)


tally.main(test)
