#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that held an older tallyfs with the same files, made anew: old blocks planted where the new one has blocks of
the same kind are never accepted."""
import errno, os
import tally
from tally import K, M, Mount
from tfsformat import PAGE, Image


def fill(top, generation):
    """The same names and sizes in each generation; the contents tell the generation."""
    for d in range(8):
        os.mkdir(f'{top}/d{d}')
        for i in range(30):
            size = 200 if i % 2 else 40 * K
            with open(f'{top}/d{d}/f{i}', 'wb') as f:
                f.write((f'generation {generation} file {d}/{i} '.encode() * (size // 20))[:size])


def check(top):
    """Everything reads as generation 2 or is refused.  Returns how often it was refused."""
    refused = 0
    for d in range(8):
        for i in range(30):
            try:
                with open(f'{top}/d{d}/f{i}', 'rb') as f:
                    data = f.read()
            except OSError as e:
                assert e.errno in (errno.EIO, errno.EUCLEAN), f'd{d}/f{i}: {e}'
                refused += 1
                continue
            assert b'generation 1' not in data, f'd{d}/f{i} delivers what the old file system held'
            assert data.startswith(b'generation 2 file %d/%d ' % (d, i)), f'd{d}/f{i} is wrong'
    return refused


def use(image, mnt):
    """Mounts (or is refused with an exit code); no old byte comes out."""
    try:
        m = Mount(image, mnt, 'ro')
    except tally.Refused:
        return 'mount refused'
    with m:
        refused = check(mnt)
    return f'{refused} of 240 files refused' if refused else 'all files right'


def plant(new, old, copy, ranges):
    tally.run(['cp', '--sparse=always', new, copy])
    with open(old, 'rb') as src, open(copy, 'r+b') as dst:
        changed = 0
        for at, n in ranges:
            src.seek(at)
            dst.seek(at)
            before, data = dst.read(n), src.read(n)
            changed += before != data
            dst.seek(at)
            dst.write(data)
    return changed


def common(old, new, kind, n=None):
    ranges = sorted(set(old[kind]) & set(new[kind]))
    assert ranges, f'the two have no {kind} at the same place'
    return ranges[:n]


def test(work):
    tally.require_fuse()
    image, mnt, old, killed, copy = f'{work}/image', f'{work}/mnt', f'{work}/old', f'{work}/killed', f'{work}/copy'
    tally.mkfs(image, 64 * M)
    with Mount(image, mnt):
        fill(mnt, 1)
    tally.run(['cp', '--sparse=always', image, old])
    m = Mount(image, mnt, 'commit=300')         # and its journal as a kill leaves it
    os.rename(f'{mnt}/d0', f'{mnt}/renamed')
    tally.run([tally.tool('tallyctl'), 'sync', mnt])
    m.kill()
    tally.run(['cp', '--sparse=always', image, killed])

    tally.mkfs(image, 0, '-f')                  # anew, on the same medium, old blocks lying about
    tally.fsck(image)
    with Mount(image, mnt):
        assert os.listdir(mnt) == [], 'a new file system is not empty'
        fill(mnt, 2)
    tally.fsck(image)
    one, two = Image(old), Image(image)
    was, now = one.places(), two.places()
    ring = [(two.log_at(2), (two.log_size() - 2) * PAGE)]
    one.close()
    two.close()

    cases = [(kind, common(was, now, kind)) for kind in ('group header', 'bitmap', 'tuple block', 'tree node')]
    cases += [('one data block', common(was, now, 'data', 1)), ('all data', common(was, now, 'data')),
              ('data and its tuples', common(was, now, 'data') + common(was, now, 'tuple block')),
              ('data, tuples, headers and nodes', sum((common(was, now, k) for k in
               ('data', 'tuple block', 'bitmap', 'group header', 'tree node')), [])),
              ('superblock copies', now['superblock'][1:]), ('journal headers', now['journal header'])]
    for what, ranges in cases:
        changed = plant(image, old, copy, ranges)
        if not changed:
            print(f'{what}: the old and the new are the same bytes')
            continue
        r = tally.fsck(copy, want=None)
        assert r.returncode & 0b1100, f'{what}: fsck -n does not report planted blocks (exit {r.returncode})'
        print(f'{what}: {changed} planted; fsck -n reports; {use(copy, mnt)}')

    # live records of the old journal do not exist for the new file system: nothing is replayed, nothing is wrong
    assert plant(image, killed, copy, ring)
    r = tally.fsck(copy)
    assert 'pending' not in r.stdout + r.stderr, 'old journal records are taken for pending ones'
    assert use(copy, mnt) == 'all files right'
    print('journal records: planted; not replayed; all files right')
    plant(image, killed, copy, ring + now['journal header'])
    r = tally.fsck(copy, want=None)
    assert r.returncode & 0b1100, 'a whole old journal is not reported'
    print(f'whole journal: planted; fsck -n reports; {use(copy, mnt)}')


tally.main(test)
