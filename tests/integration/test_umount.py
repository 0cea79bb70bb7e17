#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Unmounting tells the truth: what can't be written is kept and the mount stays, or it is said what was lost.

A loop device whose file lies on a full tmpfs can't write what was never written before.  Bind mounts, and that nobody
is told what nobody asked, nor kept from unmounting by errors told long ago.  What is mounted over it is left alone.
"""
import os, signal, time
import tally
from hosts import Host
from tally import M, Mount

CTL, HELPER = tally.tool('tallyctl'), tally.tool('umount.fuse.tallyfs')
FIXED = 24 * M     # journal and tree nodes lie below, file data above


def device(work, name, host, fixed):
    """A file system on a loop device, of which only the first @fixed bytes, and what mkfs wrote, have their space."""
    host.empty()
    disk = f'{host.path}/disk'
    loop = tally.Loop(tally.sized(disk, 256 * M))
    tally.run([tally.tool('mkfs.tallyfs'), '-q', loop.device])
    if fixed:
        tally.run(['fallocate', '-n', '-l', fixed, disk])
    m = Mount(loop.device, f'{work}/{name}')
    tally.run([CTL, 'sync', m.mountpoint])
    host.fill(1 * M)
    return loop, m


def write(path, size):
    """Into the cache; the error, if there is one already, is not ours."""
    data = os.urandom(size)
    try:
        with open(path, 'wb') as f:
            f.write(data)
    except OSError:
        pass
    return data


def gone(m, code):
    Mount.live.remove(m)
    got = m.daemon.wait(60)
    assert bool(got) == bool(code), f'the daemon exited {got}\n{m.log()}'


def told(work):
    """Errors that programs were told and that left nothing unwritten keep nobody from unmounting."""
    image = f'{work}/told.img'
    tally.mkfs(image, size=64 * M)
    for argv in [CTL, 'umount'], [HELPER]:
        m = Mount(image, f'{work}/told')
        # of an append-only file the kernel's pages may be refused
        with open(m / 'log', 'wb') as f:
            f.write(b'x' * 5000)
            f.flush()
            tally.run(['chattr', '+a', m / 'log'])
            try:
                os.fsync(f.fileno())
            except OSError:
                pass
        tally.run(['chattr', '-a', m / 'log'])
        tally.run(['cp', '/dev/zero', m / 'big'], want=1)
        os.unlink(m / 'big')
        tally.run([CTL, 'sync', m.mountpoint])
        r = tally.run([*argv, m.mountpoint])
        assert not r.stderr, r.stderr
        gone(m, 0)
    tally.fsck(image)


def kept(work, host):
    loop, m = device(work, 'kept', host, FIXED)
    data = write(m / 'file', 6 * M)
    for argv, code in ([CTL, 'umount', m.mountpoint], 1), ([HELPER, m.mountpoint], 32):
        r = tally.run(argv, want=code)
        assert r.stderr.count('\n') == 1 and 'stays mounted and keeps the rest' in r.stderr, r.stderr
        assert tally.mounted(m.mountpoint)
    assert 'is full: make room there' in m.log(), m.log()
    host.empty()
    tally.run([CTL, 'umount', m.mountpoint])
    gone(m, 0)
    tally.fsck(loop.device)
    with Mount(loop.device, m.mountpoint) as m:
        assert open(m / 'file', 'rb').read() == data
    loop.detach()


def given_up(work, host):
    loop, m = device(work, 'given-up', host, FIXED)
    os.mkdir(m / 'dir')
    write(m / 'dir/file', 6 * M)
    tally.run([CTL, 'umount', m.mountpoint], want=1)
    r = tally.run([CTL, 'umount', '-f', m.mountpoint], want=1)
    assert 'not all of /dir/file could be written' in r.stderr, r.stderr
    assert not tally.mounted(m.mountpoint)
    gone(m, 1)
    assert '/dir/file: ' in m.log() and 'are lost' in m.log(), m.log()
    host.empty()
    with Mount(loop.device, m.mountpoint) as m:
        os.unlink(m / 'dir/file')
        # what an earlier mount lost is no news (its time is in seconds)
        time.sleep(1.1)
        tally.run([CTL, 'umount', m.mountpoint])
        gone(m, 0)
    loop.detach()


def dead(work, host):
    loop, m = device(work, 'dead', host, 0)
    write(m / 'file', 20 * M)
    r = tally.run([CTL, 'umount', m.mountpoint], want=(0, 1))
    assert r.returncode == 1 and 'lost' in r.stderr, r.stderr
    assert not tally.mounted(m.mountpoint)
    gone(m, 1)
    loop.detach()


def quiet(work):
    image, mnt, other = f'{work}/image', f'{work}/mnt', f'{work}/other'
    tally.mkfs(image)
    os.mkdir(other)
    m = Mount(image, mnt)
    with open(m / 'file', 'wb') as f:
        f.write(os.urandom(20 * M))
    tally.run(['mount', '--bind', mnt, other])
    r = tally.run([HELPER, other])
    assert not r.stdout + r.stderr, r.stderr
    assert not tally.mounted(other) and os.path.exists(m / 'file')
    tally.run(['mount', '--bind', mnt, other])
    r = tally.run([HELPER, '-v', other])
    assert 'still mounted in another place' in r.stderr, r.stderr
    r = tally.run([HELPER, mnt])
    assert not r.stdout + r.stderr, r.stderr
    gone(m, 0)
    tally.fsck(image)


def covered(work):
    """Somebody has mounted something over it: that is his, what was written is safe, and the daemon says what it left."""
    image, mnt = f'{work}/covered.img', f'{work}/covered'
    tally.mkfs(image)
    m = Mount(image, mnt)
    data = os.urandom(20 * M)
    f = os.open(m / 'file', os.O_WRONLY | os.O_CREAT)
    try:
        # in the kernel's cache only, for who has a file open keeps it there
        os.write(f, data)
        tally.run(['mount', '-t', 'tmpfs', 'somebody', mnt])
        with open(m / 'precious', 'w') as g:
            g.write('precious')
        m.daemon.send_signal(signal.SIGTERM)
        gone(m, 1)
        with open(m / 'precious') as g:
            assert g.read() == 'precious'
        tally.run(['umount', mnt])
    finally:
        # of a daemon that has ended
        try:
            os.close(f)
        except OSError:
            pass
    assert 'somebody (tmpfs) is mounted over it; unmount that' in m.log(), m.log()
    assert tally.mounted(mnt)
    tally.run(['umount', '-i', mnt])
    tally.fsck(image)
    with Mount(image, mnt) as m, open(m / 'file', 'rb') as f:
        assert f.read() == data


def test(work):
    tally.require_fuse()
    if not tally.AS_ROOT:
        raise tally.Skip('needs root: it mounts small file systems')
    quiet(work)
    told(work)
    covered(work)
    with Host(work, 'tmpfs') as host:
        for f in kept, given_up, dead:
            f(work, host)


tally.main(test)
