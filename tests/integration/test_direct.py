#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""O_DIRECT through the mount: next to buffered I/O and mmap on the same file, several processes at once, asynchronously,
dd and fio, unmounting, killing; the checker verifies all data after each."""
import mmap, os, shutil
import tally
from tally import K, M, Mount

SPAN = 3 * M


class File:
    """One file open in four ways, and what it should hold."""
    def __init__(self, path, rnd):
        self.path, self.rnd = path, rnd
        self.model = bytearray(SPAN)
        self.cached = os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(self.cached, SPAN)
        self.direct = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.switched = os.open(path, os.O_RDWR)           # O_DIRECT comes and goes by fcntl(2)
        self.map = mmap.mmap(self.cached, SPAN)
        self.memory = mmap.mmap(-1, SPAN + 4 * K)          # page aligned

    def place(self):
        pos = self.rnd.randrange(SPAN)
        length = self.rnd.randrange(1, self.rnd.choice((5 * K, 60 * K, M + 9 * K)))
        offset = self.rnd.choice((0, 0, pos % (4 * K), 512))
        if self.rnd.random() < 0.6:
            pos, length, offset = pos & ~4095, (length + 4095) & ~4095, 0
        return pos, min(length, SPAN - pos), offset

    def descriptor(self):
        return self.rnd.choice((self.cached, self.direct, self.switched))

    def step(self):
        import fcntl
        pos, length, offset = self.place()
        view = memoryview(self.memory)[offset:offset + length]
        what = self.rnd.randrange(10)
        if what < 4:
            data = self.rnd.randbytes(min(length, 5000))
            data = (data * (length // len(data) + 1))[:length]
            view[:] = data
            n = os.pwrite(self.descriptor(), view, pos)
            assert n == length, f'wrote {n} of {length}'
            self.model[pos:pos + length] = data
        elif what < 5:
            self.map[pos:pos + length] = self.model[pos:pos + length] = bytes([what * 3 + pos % 7]) * length
        elif what < 8:
            n = os.preadv(self.descriptor(), [view], pos)
            assert n == length, f'read {n} of {length}'
            assert view == self.model[pos:pos + length], f'read {pos}+{length}: wrong data'
        elif what < 9:
            assert self.map[pos:pos + length] == self.model[pos:pos + length], f'mapped {pos}+{length}: wrong data'
        else:
            flags = fcntl.fcntl(self.switched, fcntl.F_GETFL)
            fcntl.fcntl(self.switched, fcntl.F_SETFL, flags ^ os.O_DIRECT)
        view.release()

    def close(self):
        self.map.close()
        for fd in (self.cached, self.direct, self.switched):
            os.close(fd)

    def check(self):
        with open(self.path, 'rb') as f:
            assert f.read() == self.model, 'buffered: wrong data'
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        assert os.preadv(fd, [memoryview(self.memory)[:SPAN]], 0) == SPAN
        os.close(fd)
        assert self.memory[:SPAN] == self.model, 'direct: wrong data'


def ends(m):
    """Reads and writes around the end of the file, in whole and in broken blocks."""
    path = m / 'ends'
    memory = mmap.mmap(-1, 64 * K)
    memory[:] = b'e' * (64 * K)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    assert os.pwrite(fd, memoryview(memory)[:100], 0) == 100
    assert os.preadv(fd, [memory], 0) == 100
    assert os.pwrite(fd, memoryview(memory)[:8 * K], 16 * K) == 8 * K
    assert os.fstat(fd).st_size == 24 * K
    with open(path, 'rb') as f:
        assert f.read() == b'e' * 100 + bytes(16 * K - 100) + b'e' * 8 * K
    assert os.preadv(fd, [memory], 20 * K) == 4 * K
    assert os.preadv(fd, [memory], 24 * K) == 0
    os.ftruncate(fd, 20 * K + 5)
    assert os.preadv(fd, [memory], 20 * K) == 5
    app = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_DIRECT)
    memory[:] = b'f' * (64 * K)
    assert os.write(app, memoryview(memory)[:4 * K]) == 4 * K
    os.close(app)
    with open(path, 'rb') as f:
        f.seek(20 * K)
        assert f.read() == b'e' * 5 + b'f' * 4 * K
    os.close(fd)


def several_processes(m, rnd):
    """Each its own blocks, some directly and some not, one file."""
    path = m / 'shared'
    with open(path, 'wb') as f:
        f.truncate(4 * M)
    pids = []
    for k in range(4):
        seed = rnd.randrange(1 << 30)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                r = __import__('random').Random(seed)
                fd = os.open(path, os.O_RDWR | (os.O_DIRECT if k % 2 else 0))
                page = mmap.mmap(-1, 4 * K)
                for _ in range(150):
                    at = (r.randrange(256) * 4 + k) * 4 * K
                    page[:] = bytes([65 + k]) * (4 * K)
                    assert os.pwrite(fd, page, at) == 4 * K
                    page[:] = bytes(4 * K)
                    assert os.preadv(fd, [page], at) == 4 * K
                    assert page[:] == bytes([65 + k]) * (4 * K)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0, 'a process read something else than what it wrote'
    with open(path, 'rb') as f:
        for at in range(0, 4 * M, 4 * K):
            assert set(f.read(4 * K)) <= {0, 65 + at // (4 * K) % 4}


def dd_and_fio(m, scratch):
    source = os.path.join(scratch, 'source')
    with open(source, 'wb') as f:
        f.write(os.urandom(9 * M + 1234))
    for name, flags in (('a', ['oflag=direct']), ('b', ['oflag=direct', 'conv=fsync']), ('c', [])):
        tally.run(['dd', f'if={source}', f'of={m / name}', 'bs=256K', 'status=none', *flags])
        assert tally.sha256(m / name) == tally.sha256(source)
        tally.run(['dd', f'if={m / name}', f'of={scratch}/back', 'iflag=direct', 'bs=64K', 'status=none'])
        assert tally.sha256(f'{scratch}/back') == tally.sha256(source)
    if not shutil.which('fio'):
        print('no fio: left out')
        return
    for engine, depth, direct in (('psync', 1, 1), ('libaio', 8, 1), ('psync', 1, 0)):
        tally.run(['fio', '--name=x', f'--filename={m / "fio"}', '--size=8m', '--rw=randwrite', '--bsrange=4k-64k',
                   f'--ioengine={engine}', f'--iodepth={depth}', f'--direct={direct}', '--verify=crc32c', '--do_verify=1',
                   '--verify_fatal=1', '--output=/dev/null'], timeout=300, cwd=scratch)


def asynchronous(m):
    """Linux aio and io_uring: complete means that everybody reads it."""
    if not os.access(tally.tool('dioasync'), os.X_OK):
        print('no program dioasync: left out')
        return
    for engine in ('aio', 'uring'):
        r = tally.run([tally.tool('dioasync'), engine, m / engine, tally.count(100, 20000)], want=(0, 77), timeout=1800)
        print(r.stderr, end='')


def asynchronous_when_full(scratch):
    """A write that fits in part says so, the next says ENOSPC."""
    if not os.access(tally.tool('dioasync'), os.X_OK):
        return
    image = f'{scratch}/small'
    tally.mkfs(image, 64 * M)
    with Mount(image, f'{scratch}/mnt') as m:
        tally.run([tally.tool('dioasync'), 'full', m / 'full'])
    tally.fsck(image)
    os.unlink(image)


def test(scratch):
    rnd = tally.seeded()
    image = f'{scratch}/image'
    tally.mkfs(image, 256 * M)
    with Mount(image, f'{scratch}/mnt') as m:
        f = File(m / 'mixed', rnd)
        for _ in range(tally.count(400, 5000)):
            f.step()
        f.close()
        f.check()
        ends(m)
        several_processes(m, rnd)
        asynchronous(m)
    tally.fsck(image)
    with Mount(image, f'{scratch}/mnt') as m:
        f.check()
        dd_and_fio(m, scratch)
    tally.fsck(image)
    m = Mount(image, f'{scratch}/mnt')
    f = File(m / 'killed', rnd)
    for _ in range(tally.count(100, 1000)):
        f.step()
    os.fsync(f.direct)
    f.map.flush()
    os.fsync(f.cached)
    m.kill()
    for close in (f.map.close, *(lambda fd=fd: os.close(fd) for fd in (f.cached, f.direct, f.switched))):
        try:
            close()
        except OSError:
            pass
    tally.fsck(image)
    with Mount(image, f'{scratch}/mnt'):
        f.check()
    tally.fsck(image)
    asynchronous_when_full(scratch)


if __name__ == '__main__':
    tally.main(test)
