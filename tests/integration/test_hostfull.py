#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A sparse image on a host file system that is nearly full: what fits stays, the rest is refused, and it goes on.

The image is much larger than its host (ext4 on a loop device, and a tmpfs; HOSTS= names others).  Writers hear ENOSPC; nothing that
was taken is lost, nothing breaks, and once there is room on the host again, all goes on.
"""
import errno, hashlib, os, shutil
import tally
from hosts import HOST, Host
from tally import M, Mount

MKFS = ('-q', '--journal-size', '2M')


def content(k):
    return hashlib.shake_128(str(k).encode()).digest(1 * M + k)


def put(m, k):
    """True if the file is there; else the reason was ENOSPC."""
    try:
        with open(m / f'{k}', 'wb') as f:
            f.write(content(k))
            os.fsync(f.fileno())
        return True
    except OSError as e:
        assert e.errno == errno.ENOSPC, f'{e}\n{m.log()}'
        return False


def fill(m, first):
    """Files until one does not fit, which is removed; how many there are."""
    k = first
    while put(m, k):
        k += 1
    if os.path.exists(m / f'{k}'): # else its name was too much
        os.unlink(m / f'{k}')
    return k


def check(m, ks):
    for k in ks:
        with open(m / f'{k}', 'rb') as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert f.read() == content(k), f'file {k}'


def goes_on(work, kind, host):
    image, mnt = f'{host.path}/image', f'{work}/mnt-{kind}'
    tally.run([tally.tool('mkfs.tallyfs'), *MKFS, image, '1G'])
    with Mount(image, mnt) as m:
        df = os.statvfs(mnt)
        assert df.f_bavail * df.f_frsize < HOST, 'df promises no more than the host has'
        n = fill(m, 0)
        assert n * M > HOST // (4 if kind == 'btrfs' else 2), f'{n} files'
        assert 'is full: make room there' in m.log()
        check(m, range(n))
    tally.fsck(image)
    assert host.free() < 4 * M, 'it is the host that is full'
    with Mount(image, mnt) as m:
        check(m, range(n))
        # overwriting, and deleting and writing, go on where there is no room at all
        host.fill()
        for k in range(n):
            with open(m / f'{k}', 'r+b') as f:
                f.write(content(k))
                os.fsync(f.fileno())
        for k in range(0, n, 2):
            os.unlink(m / f'{k}')
        tally.run([tally.tool('tallyctl'), 'sync', mnt])
        tally.wait_for(lambda: put(m, 0), 'space of deleted files')
        check(m, [0, *range(1, n, 2)])
        # many small ones: the trees grow until they may not
        os.mkdir(m / 'small')
        made = 0
        try:
            for made in range(200000):
                with open(m / f'small/{made}', 'wb') as f:
                    f.write(b'x' * 1500)
        except OSError as e:
            assert e.errno == errno.ENOSPC, f'{e}\n{m.log()}'
        tally.run([tally.tool('tallyctl'), 'sync', mnt])
        assert made > 300, made
        host.empty()
        more = fill(m, n)
        check(m, [0, *range(1, n, 2), *range(n, more)])
        shutil.rmtree(m / 'small')
    tally.fsck(image)
    # nothing at all is left on the host
    host.fill()
    with Mount(image, mnt) as m:
        check(m, [0, *range(1, n, 2), *range(n, more)])
        for k in (0, *range(1, n, 2), *range(n, more)):
            os.unlink(m / f'{k}')
    tally.fsck(image)
    print(f'{kind}: {n} files of 1 MiB fitted, {made} small ones, all is well')


def too_full(work, host):
    image, mnt = f'{host.path}/image', f'{work}/mnt-full'
    host.fill(2 * M)
    r = tally.run([tally.tool('mkfs.tallyfs'), *MKFS, image, '1G'], want=1)
    assert 'is full' in r.stderr and 'more needed' in r.stderr and not os.path.exists(image), r.stderr
    host.empty()
    tally.run([tally.tool('mkfs.tallyfs'), *MKFS, image, '1G'])
    # a copy without the journal's space
    copy = f'{host.path}/copy'
    tally.run(['cp', '--sparse=always', image, copy])
    os.unlink(image)
    host.fill(1 * M)
    try:
        Mount(copy, mnt)
        raise AssertionError('mounted without room for its journal')
    except tally.Refused as e:
        assert 'is full' in str(e) and 'make room there' in str(e), e
    with Mount(copy, mnt, 'ro'):
        pass
    host.empty()
    with Mount(copy, mnt) as m:
        assert put(m, 1)
    tally.fsck(copy)


def test(work):
    tally.require_fuse()
    if not tally.AS_ROOT:
        raise tally.Skip('needs root: it mounts small file systems')
    with Host(work, 'tmpfs') as host:
        too_full(work, host)
    for kind in os.environ.get('HOSTS', 'tmpfs ext4').split():
        try:
            with Host(work, kind) as host:
                goes_on(work, kind, host)
        except tally.Skip as e:
            print(f'{kind} skipped: {e}')


tally.main(test)
