#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""fstrim gives an image's free blocks back to whatever it lies on, under load too, and nothing that is in use."""
import fcntl, os, shutil, struct, subprocess, threading, time
import tally
from tally import K, M, Mount

FITRIM = 0xc0185879     # _IOWR('X', 121, struct fstrim_range)


def taken(image):
    os.sync()
    return os.stat(image).st_blocks * 512


def fitrim(path, start=0, length=2**64 - 1, minlen=0):
    fd = os.open(path, os.O_RDONLY)
    try:
        return struct.unpack('QQQ', fcntl.ioctl(fd, FITRIM, struct.pack('QQQ', start, length, minlen)))[1]
    finally:
        os.close(fd)


def fails(error, path, *range):
    try:
        fitrim(path, *range)
    except OSError as e:
        assert e.errno == error, f'{e}, not {os.strerror(error)}'
    else:
        raise AssertionError(f'it did not fail ({os.strerror(error)} was due)')


def fstrim(mnt):
    """As an administrator would; the bytes it speaks of."""
    if not shutil.which('fstrim'):
        return fitrim(mnt)
    said = tally.run(['fstrim', '-v', mnt]).stdout
    return int(said.split('(')[1].split()[0])


def remove(m, name, size):
    """Gone, and its blocks free: the kernel lets go of an unlinked file in its own time."""
    def free():
        fs = os.statvfs(m.mountpoint)
        return fs.f_bfree * fs.f_frsize
    before = free()
    os.unlink(m / name)
    tally.wait_for(lambda: free() >= before + size, f'the blocks of {name} free')


def shrinks(work):
    image = f'{work}/image'
    tally.mkfs(image, 300 * M)
    keep, data = os.urandom(20 * M), os.urandom(60 * M)
    m = Mount(image, f'{work}/mnt')
    for name, content in ('keep', keep), ('gone', data):
        with open(m / name, 'wb') as f:
            f.write(content)
            os.fsync(f.fileno())
    remove(m, 'gone', len(data))
    full = taken(image)
    assert full > 80 * M
    free = os.statvfs(m.mountpoint)
    trimmed = fstrim(m.mountpoint)
    now = taken(image)
    # some is kept, so that a full host can't stop what must not fail
    assert len(data) <= trimmed < free.f_bfree * free.f_frsize, f'{trimmed} bytes trimmed, {free.f_bfree} blocks free'
    assert fitrim(m.mountpoint) < 1 * M, 'a second time there is nothing left'
    print(f'{full >> 20} MiB before, {now >> 20} MiB after, {trimmed >> 20} MiB trimmed')
    assert full - now > 55 * M and now > 20 * M
    assert open(m / 'keep', 'rb').read() == keep
    # in parts; runs that are too short for the caller
    with open(m / 'again', 'wb') as f:
        f.write(data)
        os.fsync(f.fileno())
    remove(m, 'again', len(data))
    assert fitrim(m.mountpoint, 0, 2**64 - 1, 1 << 26) == 0
    some = fitrim(m.mountpoint, 0, 40 * M)
    assert 0 < some < len(data) < some + fitrim(m.mountpoint, 0, 2**64 - 1, 1 * M)
    fails(22, m.mountpoint, 1 << 50)
    fails(22, m.mountpoint, 0, 100)
    m.umount()
    tally.fsck(image)
    with Mount(image, f'{work}/mnt', 'ro') as m:
        assert open(m / 'keep', 'rb').read() == keep
        fails(30, m.mountpoint)


def under_load(work):
    """Files come, are read back and go, while somebody trims again and again; and kill -9 at the end."""
    image = f'{work}/busy'
    tally.mkfs(image, 96 * M)
    m = Mount(image, f'{work}/mnt')
    bad, done, stop = [], [0], threading.Event()

    def load(k):
        try:
            for n in range(100000):
                if stop.is_set():
                    return
                content = bytes([k * 50 + n % 50 + 1]) * (1 + n * 7919 % (1500 * K))
                name = m / f'{k}.{n % 4}'
                with open(name, 'wb') as f:
                    f.write(content)
                    if n % 3:
                        os.fsync(f.fileno())
                        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                with open(name, 'rb') as f:
                    assert f.read() == content, name
                if n % 5 == 0:
                    os.unlink(name)
                done[0] += 1
        except Exception as e:
            bad.append(e)

    with open(m / 'fsynced', 'wb') as f:
        keep = os.urandom(5 * M)
        f.write(keep)
        os.fsync(f.fileno())
    threads = [threading.Thread(target=load, args=(k,)) for k in range(3)]
    for t in threads:
        t.start()
    trims, end = 0, time.monotonic() + 30
    while done[0] < 150 and time.monotonic() < end and not bad:
        fitrim(m.mountpoint)
        trims += 1
    stop.set()
    for t in threads:
        t.join()
    assert not bad, bad
    print(f'{done[0]} files written and read back, {trims} trims')
    fitrim(m.mountpoint)
    m.kill()
    tally.fsck(image)
    with Mount(image, f'{work}/mnt') as m:
        assert open(m / 'fsynced', 'rb').read() == keep
    tally.fsck(image)


def who_may(work):
    image = f'{work}/who'
    tally.mkfs(image, 64 * M)
    with Mount(image, f'{work}/mnt', 'allow_other') as m:
        os.chmod(m.mountpoint, 0o755)
        r = subprocess.run(['runuser', '-u', 'nobody', '--', 'fstrim', m.mountpoint], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True)
        assert r.returncode and 'not permitted' in r.stderr, r


def loop_device(work):
    image = f'{work}/loop'
    tally.mkfs(image, 200 * M)
    loop = tally.Loop(image)
    with Mount(loop.device, f'{work}/mnt') as m:
        with open(m / 'gone', 'wb') as f:
            f.write(os.urandom(50 * M))
            os.fsync(f.fileno())
        remove(m, 'gone', 50 * M)
        full = taken(image)
        fstrim(m.mountpoint)
        assert full - taken(image) > 45 * M
    loop.detach()
    tally.fsck(image)


def test(work):
    tally.require_fuse()
    shrinks(work)
    under_load(work)
    if tally.AS_ROOT and shutil.which('fstrim') and shutil.which('runuser'):
        who_may(work)
    try:
        loop_device(work)
    except tally.Skip as e:
        print(f'loop device skipped: {e}')


tally.main(test)
