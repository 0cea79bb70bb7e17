#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon that is refused memory, by a limit on its address space or by a control group: nothing stands still, the
cache becomes smaller, what is fsynced is right, SIGTERM under load ends it cleanly.  SEED="""
import multiprocessing, os, random, signal, time
import tally
from tally import M, Mount

STALL = 90  # seconds for a round of all processes
FILES, SIZE = 4, 48 * M


def pattern(seed):
    return random.Random(seed).randbytes(4 * M) * (SIZE // (4 * M))


def writer(path, seed):
    data = pattern(seed)
    with open(path, 'wb', buffering=0) as f:
        for at in range(0, SIZE, M):
            assert f.write(data[at:at + M]) == M
        os.fsync(f.fileno())
    small = f'{path}.d'
    os.mkdir(small)
    for i in range(300):
        with open(f'{small}/{i}', 'wb') as f:
            f.write(b'%d' % i)


def reader(path, seed):
    data = pattern(seed)
    with open(path, 'rb', buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for at in range(0, SIZE, M):
            assert f.read(M) == data[at:at + M], f'{path}: differs at {at}'
    for i in range(300):
        with open(f'{path}.d/{i}', 'rb') as f:
            assert f.read() == b'%d' % i


def together(what, mnt, base):
    running = [multiprocessing.Process(target=what, args=(f'{mnt}/file{i}', base + i), daemon=True) for i in range(FILES)]
    for p in running:
        p.start()
    end = time.monotonic() + STALL
    for p in running:
        p.join(max(end - time.monotonic(), 0.1))
        if p.exitcode is None:
            for q in running:
                q.kill()
            raise AssertionError(f'stands still: {what.__name__}s not done within {STALL} s')
        assert p.exitcode == 0, f'a {what.__name__} failed'


def endless(folder):
    """Load of all kinds until there is nothing to write to any more."""
    rng, n = random.Random(os.getpid()), 0
    try:
        while True:
            with open(f'{folder}/{os.getpid()}.{n % 4}', 'wb', buffering=0) as f:
                for _ in range(24):
                    f.write(rng.randbytes(M))
            n += 1
            os.listdir(folder)
    except OSError:
        pass


def rounds(image, m, seed):
    together(writer, m.mountpoint, seed)
    together(reader, m.mountpoint, seed)
    os.mkdir(m / 'load')
    load = [multiprocessing.Process(target=endless, args=(f'{m.mountpoint}/load',), daemon=True) for _ in range(3)]
    for p in load:
        p.start()
    time.sleep(1.5)
    os.kill(m.pid, signal.SIGTERM)
    m.wait(STALL)
    for p in load:
        p.kill()
        p.join()
    tally.fsck(image)
    with Mount(image, m.mountpoint) as again:
        together(reader, again.mountpoint, seed)


def limited(work, name, options, seed, before):
    image, mnt = f'{work}/image', f'{work}/{name}{options}'
    tally.mkfs(image, 512 * M)
    m = Mount(image, mnt, options, before=before)
    rounds(image, m, seed)
    refused = [line for line in m.log().splitlines() if 'memory is refused' in line]
    print(f'{name}, {options or "default cache"}: {refused[:1] or "nothing refused"}')
    return refused


class Group:
    """A control group that may have @limit bytes of memory; None where there is no telling how to make one."""

    def __init__(self, limit):
        self.path = None
        for top, file in (('/sys/fs/cgroup/memory', 'memory.limit_in_bytes'), ('/sys/fs/cgroup', 'memory.max')):
            path = f'{top}/tallyfs-test-{os.getpid()}'
            try:
                os.mkdir(path)
                self.path = path
                with open(f'{path}/{file}', 'w') as f:
                    f.write(str(limit))
                return
            except OSError:
                self.remove()

    def remove(self):
        if self.path:
            tally.wait_for(lambda: not open(f'{self.path}/cgroup.procs').read(), 'the group empty')
            os.rmdir(self.path)
        self.path = None


def test(work):
    tally.require_fuse()
    if tally.ASAN:
        raise tally.Skip('a sanitizer takes all address space for itself')
    seed = tally.seeded().randrange(1 << 30)
    limited(work, '700M-of-addresses', '', seed, ['prlimit', f'--as={700 * M}', '--'])
    assert limited(work, '256M-of-addresses', 'cache_size=1G', seed, ['prlimit', f'--as={256 * M}', '--'])
    group = Group(96 * M)
    if not group.path:
        print('no control group to be had')
        return
    try:
        limited(work, '96M-in-a-group', '', seed, ['sh', '-c', f'echo $$ >{group.path}/cgroup.procs && exec "$@"', '-'])
    finally:
        group.remove()


tally.main(test)
