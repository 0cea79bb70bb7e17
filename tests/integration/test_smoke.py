#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Make, mount, use, unmount, check, mount again and compare: with each guard, and with other block sizes."""
import errno, os, shutil, stat
import tally
from tally import AS_ROOT, K, M, Mount

GEOMETRIES = [('xxh3, 4 KiB', ()), ('crc32, 4 KiB', ('-g', 'crc32')), ('1 KiB blocks', ('-b', '1K')),
              ('64 KiB blocks', ('-b', '64K'))]


def write(path, data, offset=0, mode='r+b'):
    with open(path, mode if os.path.exists(path) else 'wb') as f:
        f.seek(offset)
        f.write(data)


def expect(error, call, *args):
    try:
        call(*args)
    except OSError as e:
        assert e.errno == error, f'{call.__name__}{args[:1]}: {errno.errorcode[e.errno]}, not {errno.errorcode[error]}'
        return
    raise AssertionError(f'{call.__name__}{args[:1]} succeeded, {errno.errorcode[error]} expected')


def files(m, rng):
    model = {}
    for size in (0, 1, 100, 2000, 4095, 4096, 4097, 65536, 1 * M + 7, 9 * M):
        data = model[f'size{size}'] = rng.randbytes(size)
        write(m / f'size{size}', data)
    # random overwrites, small and unaligned
    data = bytearray(model['size9437184'])
    for _ in range(200):
        at, n = rng.randrange(len(data)), rng.randrange(1, 20000)
        piece = rng.randbytes(min(n, len(data) - at))
        data[at:at + len(piece)] = piece
        write(m / 'size9437184', piece, at)
    model['size9437184'] = bytes(data)
    # append, cut, grow
    with open(m / 'size4097', 'ab') as f:
        f.write(b'tail')
    model['size4097'] += b'tail'
    os.truncate(m / 'size65536', 1000)
    os.truncate(m / 'size65536', 70000)
    model['size65536'] = model['size65536'][:1000] + bytes(69000)
    # sparse
    with open(m / 'sparse', 'wb') as f:
        f.truncate(40 * M)
        f.seek(20 * M)
        f.write(b'island')
        f.flush()
        os.fsync(f.fileno())
    assert os.stat(m / 'sparse').st_blocks * 512 < 2 * M, 'a sparse file is not sparse'
    with open(m / 'sparse', 'rb') as f:
        hole = os.lseek(f.fileno(), 0, os.SEEK_DATA)
        assert 19 * M <= hole <= 20 * M, f'SEEK_DATA finds {hole}'
    model['sparse'] = bytes(20 * M) + b'island' + bytes(20 * M - 6)
    for name, data in model.items():
        with open(m / name, 'rb') as f:
            assert f.read() == data, f'{name} reads back wrong before the unmount'
    return model


def names(m):
    os.makedirs(m / 'a/b/c')
    write(m / 'a/file', b'one')
    os.rename(m / 'a/file', m / 'a/b/file')
    write(m / 'a/b/other', b'two')
    os.rename(m / 'a/b/other', m / 'a/b/file')
    with open(m / 'a/b/file', 'rb') as f:
        assert f.read() == b'two'
    os.rename(m / 'a/b', m / 'moved')
    expect(errno.ENOENT, os.stat, m / 'a/b')
    expect(errno.EINVAL, os.rename, m / 'moved', m / 'moved/c/into-itself')
    expect(errno.ENOTEMPTY, os.rmdir, m / 'moved')
    expect(errno.EEXIST, os.mkdir, m / 'moved')
    expect(errno.ENAMETOOLONG, os.mkdir, m / ('n' * 256))
    os.mkdir(m / ('n' * 255))
    os.link(m / 'moved/file', m / 'hard')
    assert os.stat(m / 'hard').st_nlink == 2
    os.unlink(m / 'moved/file')
    assert os.stat(m / 'hard').st_nlink == 1
    os.link(m / 'hard', m / 'hard2')
    os.symlink('hard', m / 'soft')
    os.symlink('x' * 4000, m / 'long-soft')
    with open(m / 'soft', 'rb') as f:
        assert f.read() == b'two'
    assert os.readlink(m / 'long-soft') == 'x' * 4000
    os.mkfifo(m / 'fifo', 0o640)
    if AS_ROOT:
        os.mknod(m / 'null', 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.chown(m / 'hard', 1234, 4321)
    os.chmod(m / 'hard', 0o4751)
    os.utime(m / 'soft', ns=(10**18 + 1, 10**18 + 2), follow_symlinks=False)
    # names that are not UTF-8, and every byte but / and 0
    os.mkdir(os.fsencode(m / 'odd'))
    for i in range(1, 256):
        if i not in (ord('/'), ord('.')):
            write(os.path.join(os.fsencode(m / 'odd'), bytes([i])), b'%d' % i)
    os.mkdir(m / 'many')
    for i in range(2000):
        write(m / f'many/name-{i:05d}', b'%d' % i)
    for i in range(0, 2000, 3):
        os.unlink(m / f'many/name-{i:05d}')
    assert len(os.listdir(m / 'many')) == 2000 - len(range(0, 2000, 3))


def attributes(m):
    os.setxattr(m / 'hard', 'user.small', b'value')
    os.setxattr(m / 'hard', 'user.empty', b'')
    os.setxattr(m / 'hard', 'user.big', bytes(range(256)) * 120)
    os.setxattr(m / 'moved', 'user.dir', b'd')
    os.setxattr(m / 'hard', 'user.gone', b'x')
    os.removexattr(m / 'hard', 'user.gone')
    expect(errno.ENODATA, os.getxattr, m / 'hard', 'user.gone')
    expect(errno.EEXIST, os.setxattr, m / 'hard', 'user.small', b'v', os.XATTR_CREATE)
    expect(errno.ENODATA, os.setxattr, m / 'hard', 'user.none', b'v', os.XATTR_REPLACE)
    assert os.getxattr(m / 'hard', 'user.big') == bytes(range(256)) * 120
    assert sorted(os.listxattr(m / 'hard')) == ['user.big', 'user.empty', 'user.small']


def unlinked_but_open(m):
    f = open(m / 'unlinked', 'w+b')
    f.write(b'still here')
    f.flush()
    os.unlink(m / 'unlinked')
    f.seek(0)
    assert f.read() == b'still here'
    return f


def space_comes_back(m):
    tally.run([tally.tool('tallyctl'), 'sync', m.mountpoint])       # what was freed before is free now
    before = os.statvfs(m.mountpoint)
    write(m / 'filler', os.urandom(M) * 16)
    with open(m / 'filler', 'rb') as f:
        os.fsync(f.fileno())
    during = os.statvfs(m.mountpoint)
    assert before.f_bavail - during.f_bavail >= 15 * M // before.f_frsize, 'statfs does not see 16 MiB go'
    os.unlink(m / 'filler')
    tally.run([tally.tool('tallyctl'), 'sync', m.mountpoint])
    tally.wait_for(lambda: os.statvfs(m.mountpoint).f_bavail >= before.f_bavail - 256 * K // before.f_frsize,
                   'the space of a removed file is free again')


def one(work, title, options, rng):
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, 256 * M, *options)
    tally.fsck(image)
    with Mount(image, mnt) as m:
        model = files(m, rng)
        names(m)
        attributes(m)
        space_comes_back(m)
        unlinked_but_open(m).close()
        shutil.copytree(tally.ROOT + '/tests', m / 'tests', symlinks=True)
        before = tally.describe(mnt)
    tally.fsck(image)
    with Mount(image, mnt, 'ro') as m:
        tally.same(before, tally.describe(mnt))
        for name, data in model.items():
            with open(m / name, 'rb') as f:
                assert f.read() == data, f'{name} reads back wrong after the remount'
        expect(errno.EROFS, os.mkdir, m / 'new')
    with Mount(image, mnt) as m:
        for entry in os.listdir(mnt):
            path = m / entry
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        assert os.listdir(mnt) == []
    tally.fsck(image)
    os.unlink(image)
    print(f'{title}: {len(before)} objects the same after a remount')


def background(work):
    """Without -f: the parent returns when the mount is usable, and SIGTERM is a clean unmount."""
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image)
    tally.run([tally.tool('tallyfs'), image, mnt])
    assert tally.mounted(mnt), 'the parent exited 0 and nothing is mounted'
    write(f'{mnt}/file', b'background')
    tally.run([tally.tool('tallyctl'), 'umount', mnt])
    assert not tally.mounted(mnt)
    tally.fsck(image)
    m = Mount(image, mnt)
    write(m / 'file2', b'terminated')
    m.daemon.terminate()
    m.wait()
    assert not tally.mounted(mnt)
    r = tally.fsck(image)
    assert 'pending' not in r.stdout + r.stderr, 'a journal is pending after SIGTERM'
    with Mount(image, mnt, 'ro') as m:
        assert open(m / 'file', 'rb').read() + open(m / 'file2', 'rb').read() == b'backgroundterminated'


def test(work):
    tally.require_fuse()
    rng = tally.seeded()
    for title, options in GEOMETRIES:
        one(work, title, options, rng)
    background(work)


tally.main(test)
