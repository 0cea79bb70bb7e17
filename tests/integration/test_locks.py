#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may only read an image, or anybody's lock on libmount's table, keeps root from nothing: not for ever, and with a
line that says who it is."""
import fcntl, os, signal, struct, sys
import tally
from tally import M, Mount

F_OFD_SETLK = 37
STRANGER = 65534


class Holder:
    """A process of another user that has @path open for reading and locked."""

    def __init__(self, path, lock):
        back, ready = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            fd = os.open(path, os.O_RDONLY)
            lock(fd)
            os.write(ready, b'x')
            signal.pause()
        os.close(ready)
        assert os.read(back, 1) == b'x', 'the lock could not be had'
        os.close(back)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


def whole_file(fd):
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 0, 0, 0))


def readers(work):
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, 64 * M)
    os.chmod(image, 0o644)
    with Holder(image, whole_file) as h:
        who = f'process {h.pid} (python'
        m = Mount(image, mnt)
        assert who in m.log(), f'not told: {m.log()}'
        with open(m / 'file', 'wb') as f:
            f.write(b'x' * M)
        os.mkdir(f'{work}/other')
        r = tally.run([tally.tool('tallyfs'), image, f'{work}/other'], want=1)
        assert 'in use' in r.stderr, f'a second mount beside the stranger: {r.stderr}'
        tally.run([tally.tool('fsck.tallyfs'), '-p', image], want=8)
        tally.run([tally.tool('tallyctl'), 'umount', mnt])
        m.wait()
        assert who in tally.run([tally.tool('fsck.tallyfs'), '-p', image]).stderr
        tally.run([tally.tool('fsck.tallyfs'), '-n', image])
        tally.run([tally.tool('mkfs.tallyfs'), '-q', '-f', image])
    print('a stranger who reads is passed by')


def table(work):
    """In a mount namespace of its own, so that nobody else has to wait for the lock."""
    tally.run(['mount', '--make-rprivate', '/'], want=None)
    os.makedirs('/run/mount', exist_ok=True)
    tally.run(['mount', '-t', 'tmpfs', 'none', '/run/mount'])
    os.close(os.open('/run/mount/utab.lock', os.O_CREAT, 0o644))
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, 64 * M)
    with Holder('/run/mount/utab.lock', lambda fd: fcntl.flock(fd, fcntl.LOCK_EX)) as h:
        m = Mount(image, mnt)
        tally.wait_for(lambda: f'process {h.pid} (python' in m.log(), 'the one who locks the table named')
        m.umount()
    with Mount(image, mnt):
        with open('/run/mount/utab') as f:
            assert image in f.read()
    print("a stranger who locks libmount's table is not waited for")


def test(work):
    tally.require_fuse()
    if sys.argv[1:] == ['--table']:
        table(work)
        return
    tally.in_own_namespace(__file__, '--table')
    readers(work)


tally.main(test)
