#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The front end: what libfuse does not know (set-id bits, O_TMPFILE, time of birth), dirty sparse files, errors at start,
signals while in use, the other ways to mount, and the do-nothing server on the same transport."""
import ctypes, errno, os, shutil, signal, subprocess, time
import tally
from tally import AS_ROOT, K, M, Mount


def user_write(path):
    """Write to the file as an ordinary user, who may not keep set-id bits by that."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            fd = os.open(path, os.O_WRONLY)
            os.write(fd, b'x')
            os.close(fd)
            os._exit(0)
        except BaseException as e:
            print(e)
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def set_id_bits(m):
    if not AS_ROOT:
        return
    path = m / 'setuid'
    for change in (lambda: user_write(path), lambda: os.chown(path, 1, 1)):
        with open(path, 'wb') as f:
            f.write(b'program')
        os.chown(path, 0, 0)
        os.chmod(path, 0o6777)
        change()
        assert os.stat(path).st_mode & 0o7777 == 0o777, oct(os.stat(path).st_mode)
    os.chmod(path, 0o6777)
    with open(path, 'ab') as f:                      # root may
        f.write(b'more')
    assert os.stat(path).st_mode & 0o7777 == 0o6777


def tmpfile(m):
    fd = os.open(m.mountpoint, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b'nameless')
    assert os.fstat(fd).st_nlink == 0
    # (a directory descriptor makes Python use linkat(2), which can follow)
    os.link(f'/proc/self/fd/{fd}', m / 'named', src_dir_fd=fd, follow_symlinks=True)
    os.close(fd)
    with open(m / 'named', 'rb') as f:
        assert f.read() == b'nameless'
    os.close(os.open(m.mountpoint, os.O_TMPFILE | os.O_RDWR, 0o600))


def birth(m):
    before = time.time() - 1
    open(m / 'born', 'wb').close()
    os.utime(m / 'born', (1, 1))
    r = tally.run(['stat', '-c', '%W %Y', m / 'born']).stdout.split()
    assert before <= int(r[0]) <= time.time() + 1, f'time of birth {r[0]}'
    assert r[1] == '1'


def dirty_sparse(m):
    """A copy of an open sparse file with dirty pages in the kernel has its data."""
    for i in range(20):
        path = m / f'sparse{i}'
        with open(path, 'wb') as f:
            f.truncate(4 * M)
            f.seek((i * 37 % 1000) * 4 * K)
            f.write(b'D' * 4096)
            f.flush()
            r = os.open(path, os.O_RDONLY)
            data = os.lseek(r, 0, os.SEEK_DATA)
            assert data <= (i * 37 % 1000) * 4 * K < os.lseek(r, data, os.SEEK_HOLE)
            os.close(r)
            tally.run(['cp', '--sparse=always', path, m / 'copy'])
            with open(path, 'rb') as a, open(m / 'copy', 'rb') as b:
                assert a.read() == b.read(), f'{path}: the copy differs'


def many_at_once(m):
    """More writers, syncers and seekers than threads."""
    pids = []
    for n in range(24):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for i in range(8):
                    path = m / f'load-{n}-{i}'
                    data = os.urandom(10 * K + 4 * K * i)
                    with open(path, 'w+b') as f:
                        f.write(data)
                        f.flush()
                        os.lseek(f.fileno(), 0, os.SEEK_HOLE)
                        if i % 3 == 0:
                            os.fsync(f.fileno())
                        f.seek(0)
                        assert f.read() == data
                    os.listdir(m.mountpoint)
                    os.rename(path, path + '.done')
                    os.unlink(path + '.done')
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitpid(p, 0)[1] for p in pids] == [0] * len(pids)


def direct_io(m):
    path = m / 'direct'
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    buf = ctypes.create_string_buffer(1 * M + 4096)
    at = (ctypes.addressof(buf) + 4095) & ~4095
    view = (ctypes.c_char * M).from_address(at)
    view[:] = os.urandom(4096) * 256
    assert os.writev(fd, [view]) == M
    with open(path, 'rb') as f:
        assert f.read() == bytes(view)
    with open(path, 'r+b') as f:
        f.seek(8192)
        f.write(b'cached')
        f.flush()
        os.lseek(fd, 0, os.SEEK_SET)
        assert os.readv(fd, [view]) == M
        assert view[8192:8198] == b'cached'
    os.close(fd)


def truncate_and_append(m):
    path = m / 'trunc'
    for mode, data, want in (('wb', b'first', b'first'), ('wb', b'2', b'2'), ('ab', b'nd', b'2nd'), ('wb', b'', b'')):
        with open(path, mode) as f:
            f.write(data)
        with open(path, 'rb') as f:
            assert f.read() == want
    with open(m / 'excl', 'xb'):
        pass
    try:
        open(m / 'excl', 'xb')
        raise AssertionError('O_EXCL found nothing')
    except FileExistsError:
        pass


def signals(work, image, mnt):
    """SIGTERM with files open and pages dirty: everything written is there afterwards."""
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        m = Mount(image, mnt, 'commit=300')
        data = os.urandom(3 * M)
        f = open(m / 'busy', 'wb')
        f.write(data)
        f.flush()
        m.daemon.send_signal(sig)
        m.wait(60)
        try:
            f.close()
        except OSError as e:
            assert e.errno in (errno.ENOTCONN, errno.ECONNABORTED), e
        assert not tally.mounted(mnt)
        r = tally.fsck(image)
        assert 'pending' not in r.stdout + r.stderr
        with Mount(image, mnt, 'ro') as m, open(m / 'busy', 'rb') as f:
            assert f.read() == data, f'data lost at signal {sig}'


def read_and_gone(path, seconds):
    """In a child, over and over: the last use of a nameless file is a read, whose answer the close does not wait for."""
    pid = os.fork()
    if pid:
        return pid
    end, data = time.time() + seconds, os.urandom(600 * K)
    while time.time() < end:
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.write(fd, data)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.unlink(path)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(fd, 128 * K, 0)
        os.pread(fd, 128 * K, 128 * K)
        os.close(fd)
    os._exit(0)


def closed_behind_reads(image, mnt):
    with Mount(image, mnt, 'threads=4,no_writeback_cache') as m:
        for pid in [read_and_gone(m / f'gone{k}', 3) for k in range(4)]:
            assert os.waitpid(pid, 0)[1] == 0


def seek_forever(path):
    """In a child: write, and ask for holes, which makes the daemon have the kernel write; until it fails."""
    pid = os.fork()
    if pid:
        return pid
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        while True:
            for pos in range(0, 16 * M, 2 * M):
                os.pwrite(fd, b'z' * M, pos)
            os.lseek(fd, 0, os.SEEK_HOLE)
    except OSError:
        pass
    finally:
        os._exit(0)


def signal_among_seeks(image, mnt):
    """SIGTERM while seeks wait for the kernel's writes: the daemon serves these before it goes, or it would hang for ever."""
    m = Mount(image, mnt)
    children = [seek_forever(m / f'seek{k}') for k in range(4)]
    time.sleep(1)
    m.daemon.send_signal(signal.SIGTERM)
    m.wait(30)
    for pid in children:
        os.waitpid(pid, 0)
    assert not tally.mounted(mnt)
    tally.fsck(image)


def start_errors(work, image, mnt):
    with Mount(image, mnt):
        os.makedirs(f'{work}/other', exist_ok=True)
        r = tally.run([tally.tool('tallyfs'), image, f'{work}/other'], want=1, timeout=10)
        assert 'in use' in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr
    for options, word in (('cache_size=x', 'cache_size'), ('threads=0', 'threads'), ('what', 'what'),
                          ('norecovery', 'ro'), ('remount', 'remount')):
        r = tally.run([tally.tool('tallyfs'), image, mnt, '-o', options], want=1)
        assert word in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr
    assert not tally.mounted(mnt)


def variants(image, mnt):
    for options in ('no_writeback_cache', 'threads=1', 'threads=1,no_writeback_cache,cache_size=1M', 'verify=off,noexec'):
        with Mount(image, mnt, options) as m:
            os.mkdir(m / 'variant')
            shutil.copytree(tally.ROOT + '/core', m / 'variant/core')
            truncate_and_append(m)
            dirty_sparse(m)
            many_at_once(m)
            tally.run(['diff', '-r', tally.ROOT + '/core', m / 'variant/core'])
            for entry in os.listdir(mnt):
                path = m / entry
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        tally.fsck(image)


def nullfs(work):
    mnt = f'{work}/null'
    os.mkdir(mnt)
    if not os.access(tally.tool('nullfs'), os.X_OK) or not AS_ROOT:
        return
    p = subprocess.Popen([tally.tool('nullfs'), '-t', '1', mnt], stderr=subprocess.PIPE, text=True)
    tally.wait_for(lambda: tally.mounted(mnt), 'nullfs mounted')
    shutil.copytree(tally.ROOT + '/core', mnt + '/core')
    tally.run(['diff', '-r', tally.ROOT + '/core', mnt + '/core'])
    os.rename(mnt + '/core', mnt + '/moved')
    shutil.rmtree(mnt + '/moved')
    tally.run(['umount', '-i', mnt])
    counts = p.communicate(timeout=30)[1]
    assert p.returncode == 0 and 'CREATE' in counts and 'WRITE' in counts, counts
    assert 'GETXATTR' not in counts or int(counts.split('GETXATTR')[0].split()[-1]) < 3, \
        f'the kernel asks for file capabilities at every write:\n{counts}'


def test(work):
    tally.require_fuse()
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, 256 * M)
    nullfs(work)
    with Mount(image, mnt) as m:
        for part in (set_id_bits, tmpfile, birth, dirty_sparse, many_at_once, direct_io, truncate_and_append):
            part(m)
            print(f'{part.__name__}: fine')
    tally.fsck(image)
    start_errors(work, image, mnt)
    signals(work, image, mnt)
    signal_among_seeks(image, mnt)
    closed_behind_reads(image, mnt)
    os.unlink(image)
    tally.mkfs(image, 256 * M)
    variants(image, mnt)


tally.main(test)
