#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Another process copies a sparse file while its writer has it open and dirty, and gets exactly its content.

Within the mount (copy_file_range) and to elsewhere (SEEK_DATA, SEEK_HOLE, read).  N=1000 for the full count.
"""
import mmap, os
import tally
from tally import K, M, Mount

MAX = 3 * M


def put(want, pos, data):
    want.extend(bytes(max(0, pos - len(want))))
    want[pos:pos + len(data)] = data


def scribble(rng, f, want):
    """Random changes to the open file and to what it should hold; nothing is synced."""
    for _ in range(rng.randrange(1, 8)):
        kind, fd = rng.randrange(10), f.fileno()
        pos = rng.choice((rng.randrange(MAX), rng.randrange(MAX) & ~4095))
        if kind < 7:
            data = rng.randbytes(rng.choice((1, 100, 4096, 20000, 200 * K)))
            os.pwrite(fd, data, pos)
            put(want, pos, data)
        elif kind < 8:
            os.truncate(fd, pos)
            put(want, pos, b'')
            del want[pos:]
        elif kind < 9 and want:
            with mmap.mmap(fd, len(want)) as m:
                at = rng.randrange(len(want))
                data = rng.randbytes(min(5000, len(want) - at))
                m[at:at + len(data)] = data
            put(want, at, data)
        else:
            os.truncate(fd, len(want) + 100000)
            want.extend(bytes(100000))


def test(work):
    tally.require_fuse()
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, 256 * M)
    rng = tally.seeded()
    rounds = tally.count(40, 1000)
    ways = (['cp'], ['cp', '--reflink=never'], ['cp', '--sparse=always'], ['cp', '--reflink=auto', '--sparse=auto'])
    with Mount(image, mnt) as m:
        want = bytearray()
        f = open(m / 'source', 'w+b')
        for n in range(rounds):
            if n % 25 == 0:
                f.close()
                os.unlink(m / 'source')
                f = open(m / 'source', 'w+b')
                want = bytearray()
            scribble(rng, f, want)
            way = ways[n % len(ways)]
            target = m / f'copy{n % 3}' if n % 5 else f'{work}/copy'
            tally.run([*way, m / 'source', target])
            with open(target, 'rb') as c:
                got = c.read()
            if got != want:
                at = next((i for i, (x, y) in enumerate(zip(got, want)) if x != y), min(len(got), len(want)))
                raise AssertionError(f'round {n}, {way}: {len(got)} bytes of {len(want)}, the first difference at {at}')
        f.close()
    tally.fsck(image)
    print(f'{rounds} copies, all alike')


tally.main(test)
