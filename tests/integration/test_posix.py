#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What POSIX and Linux promise of a local file system, point by point, with and without the kernel's write-back cache: renames,
links, names, special files, privileges that go, times, nameless files, open flags, attributes, locks, mmap, huge sparse
files, df.  And what of it must survive a remount."""
import ctypes, errno, fcntl, mmap, os, re, socket, stat, struct, time
import tally
from tally import AS_ROOT, K, M, Mount

USER, OTHER = 12001, 12002
NOREPLACE, EXCHANGE = 1, 2
libc = ctypes.CDLL(None, use_errno=True)


def expect(error, call, *args, **kw):
    try:
        call(*args, **kw)
    except OSError as e:
        assert e.errno == error, f'{args[:2]}: {errno.errorcode[e.errno]}, not {errno.errorcode[error]}'
        return
    raise AssertionError(f'{args[:2]}: worked, {errno.errorcode[error]} expected')


def touch(path, data=b''):
    with open(path, 'wb') as f:
        f.write(data)
    return path


def content(path):
    with open(path, 'rb') as f:
        return f.read()


def mode(path):
    return os.lstat(path).st_mode & 0o7777


def as_user(uid, action, gid=None):
    """In a child with these ids: raises here what it raised there."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid if gid is None else gid)
            os.setuid(uid)
            action()
            os.write(w, b'0')
        except OSError as e:
            os.write(w, str(e.errno).encode())
        finally:
            os._exit(0)
    os.close(w)
    os.waitpid(pid, 0)
    answer = int(os.read(r, 100) or b'-1')
    os.close(r)
    assert answer >= 0, 'the child died'
    if answer:
        raise OSError(answer, os.strerror(answer))


def rename2(a, b, flags):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), flags):
        raise OSError(ctypes.get_errno(), 'renameat2')


def renames(m):
    a, b = touch(m / 'a', b'A'), touch(m / 'b', b'B')
    expect(errno.EEXIST, rename2, a, b, NOREPLACE)
    rename2(a, m / 'c', NOREPLACE)
    rename2(m / 'c', b, EXCHANGE)
    assert content(b) == b'A' and content(m / 'c') == b'B'
    expect(errno.ENOENT, rename2, b, m / 'none', EXCHANGE)
    expect(errno.EINVAL, rename2, b, m / 'c', EXCHANGE | NOREPLACE)
    # a directory for a file, in different directories: link counts follow
    os.makedirs(m / 'd1/sub')
    os.mkdir(m / 'd2')
    touch(m / 'd2/file')
    rename2(m / 'd1/sub', m / 'd2/file', EXCHANGE)
    assert os.stat(m / 'd1').st_nlink == 2 and os.stat(m / 'd2').st_nlink == 3
    assert os.path.isdir(m / 'd2/file') and os.path.isfile(m / 'd1/sub')
    assert os.stat(m / 'd2/file/..').st_ino == os.stat(m / 'd2').st_ino
    expect(errno.EINVAL, os.rename, m / 'd2', m / 'd2/file/in')
    expect(errno.EINVAL, rename2, m / 'd2', m / 'd2/file', EXCHANGE)
    expect(errno.ENOTEMPTY, os.rename, m / 'd1', m / 'd2')
    expect(errno.EISDIR, os.rename, b, m / 'd1')
    expect(errno.ENOTDIR, os.rename, m / 'd1', b)
    os.link(b, m / 'same')
    os.rename(b, m / 'same')                         # two names of one file: nothing happens
    assert os.stat(b).st_nlink == 2


def links(m):
    os.mkdir(m / 'links')
    path = touch(m / 'links/0')
    for n in range(1, 1200):
        os.link(path, m / f'links/{n}')
    assert os.stat(path).st_nlink == 1200
    os.unlink(path)
    assert os.stat(m / 'links/1').st_nlink == 1199
    expect(errno.EEXIST, os.link, m / 'links/1', m / 'links/2')
    expect(errno.EPERM, os.link, m / 'links', m / 'dirlink')
    for n in (1, 59, 60, 100, 4000, 4095):
        target = 'x' * n
        os.symlink(target, m / f'sym{n}')
        assert os.readlink(m / f'sym{n}') == target and os.lstat(m / f'sym{n}').st_size == n
    expect(errno.ENAMETOOLONG, os.symlink, 'x' * 4096, m / 'sym4096')
    os.symlink('links/2', m / 'one')
    os.link(m / 'one', m / 'two', follow_symlinks=False)
    assert os.readlink(m / 'two') == 'links/2'


def names(m):
    top = os.fsencode(m / 'names')
    os.mkdir(top)
    every = bytes(c for c in range(1, 256) if c != ord('/'))
    wanted = {every, every[::-1], b'n' * 255, b'\xff' * 255, b'...', b' ', b'\n', b'-rf *', 'ü'.encode(), b'.hidden'}
    wanted |= {bytes([c]) for c in every if c != ord('.')}
    for name in wanted:
        touch(top + b'/' + name, name)
    assert set(os.listdir(top)) == wanted
    for name in wanted:
        assert content(top + b'/' + name) == name
    expect(errno.ENAMETOOLONG, touch, top + b'/' + b'n' * 256)
    expect(errno.ENAMETOOLONG, os.mkdir, top + b'/' + b'n' * 256)
    expect(errno.ENAMETOOLONG, os.stat, top + b'/' + b'n' * 256)


def specials(m):
    os.mkfifo(m / 'fifo', 0o600)
    s = socket.socket(socket.AF_UNIX)
    s.bind(m / 'sock')
    s.close()
    assert stat.S_ISFIFO(os.stat(m / 'fifo').st_mode) and stat.S_ISSOCK(os.stat(m / 'sock').st_mode)
    if not AS_ROOT:
        return
    for n, (kind, major, minor) in enumerate([(stat.S_IFCHR, 1, 3), (stat.S_IFBLK, 259, 1048575), (stat.S_IFCHR, 4095, 300)]):
        os.mknod(m / f'dev{n}', kind | 0o600, os.makedev(major, minor))
        st = os.stat(m / f'dev{n}')
        assert stat.S_IFMT(st.st_mode) == kind and (os.major(st.st_rdev), os.minor(st.st_rdev)) == (major, minor)
    with open(m / 'dev0', 'r+b', buffering=0) as f:  # /dev/null
        f.write(b'x')
        assert f.read() == b''
    expect(errno.EPERM, as_user, USER, lambda: os.mknod(m / 'public/dev', stat.S_IFCHR, os.makedev(1, 3)))


CAP = struct.pack('<5I', 0x02000000, 1 << 10, 0, 0, 0)


def privileges(m):
    """Set-id bits and file capabilities go with what may change the program; root keeps the bits, not the capabilities."""
    path = m / 'program'

    def write(flags=0):
        fd = os.open(path, os.O_WRONLY | flags)
        os.write(fd, b'y')
        os.close(fd)

    def cut():
        os.truncate(path, 3)

    def map_write():
        with open(path, 'r+b') as f:
            with mmap.mmap(f.fileno(), 0) as mm:
                mm[0] = 65

    def fallocate():
        fd = os.open(path, os.O_WRONLY)
        os.posix_fallocate(fd, 0, 100)
        os.close(fd)

    def copy_range():
        fd, source = os.open(path, os.O_WRONLY), os.open(m / 'source', os.O_RDONLY)
        assert os.copy_file_range(source, fd, 5000) == 5000
        os.close(fd)
        os.close(source)

    def check(what, who, before, after, keeps_cap=False):
        if os.path.exists(path):
            os.unlink(path)
        touch(path, b'program')
        os.chown(path, USER, USER)
        os.chmod(path, before)
        os.setxattr(path, 'security.capability', CAP)
        assert mode(path) == before
        as_user(who, what, gid=0 if who == 0 else USER)
        name = f'{what.__name__} by {who} of {before:o}'
        assert mode(path) == after, f'{name}: {mode(path):o}, not {after:o}'
        assert ('security.capability' in os.listxattr(path)) == keeps_cap, f'{name}: capabilities'

    touch(m / 'source', b's' * 5000)
    for what in (write, lambda: write(os.O_APPEND), lambda: write(os.O_TRUNC), cut, fallocate, copy_range):
        check(what, USER, 0o6777, 0o777)
        check(what, USER, 0o2767, 0o2767)            # without group execution it is no privilege
        check(what, 0, 0o6777, 0o6777)
    check(lambda: os.chown(path, 0, 0), 0, 0o6777, 0o777)
    check(lambda: os.chown(path, 0, 0), 0, 0o6767, 0o2767)
    check(lambda: os.chown(path, -1, USER), USER, 0o6777, 0o777)
    check(lambda: os.chmod(path, 0o6711), USER, 0o755, 0o6711, True)
    check(lambda: open(path, 'rb').read(), USER, 0o6755, 0o6755, True)
    check(lambda: os.utime(path), USER, 0o6755, 0o6755, True)
    # chmod by an owner outside the group may not set its bit; directories keep theirs
    os.chown(path, USER, 0)
    as_user(USER, lambda: os.chmod(path, 0o2755))
    assert mode(path) == 0o755
    os.mkdir(m / 'sgid')
    os.chmod(m / 'sgid', 0o6777)
    os.chown(m / 'sgid', USER, OTHER)
    assert mode(m / 'sgid') == 0o6777
    as_user(USER, lambda: touch(m / 'sgid/f'))
    as_user(USER, lambda: os.mkdir(m / 'sgid/d'))
    assert os.stat(m / 'sgid/f').st_gid == OTHER and os.stat(m / 'sgid/d').st_gid == OTHER
    assert mode(m / 'sgid/d') & 0o2000 and not mode(m / 'sgid/f') & 0o2000


def sticky(m):
    os.mkdir(m / 'sticky')
    os.chmod(m / 'sticky', 0o1777)
    as_user(USER, lambda: touch(m / 'sticky/hers'))
    as_user(USER, lambda: os.mkdir(m / 'sticky/dir'))
    expect(errno.EPERM, as_user, OTHER, lambda: os.unlink(m / 'sticky/hers'))
    expect(errno.EPERM, as_user, OTHER, lambda: os.rename(m / 'sticky/hers', m / 'sticky/his'))
    expect(errno.EPERM, as_user, OTHER, lambda: os.rmdir(m / 'sticky/dir'))
    as_user(OTHER, lambda: touch(m / 'sticky/his'))
    expect(errno.EPERM, as_user, OTHER, lambda: os.rename(m / 'sticky/his', m / 'sticky/hers'))
    as_user(USER, lambda: os.unlink(m / 'sticky/hers'))


TIMES = (-1, -999999999, -62135596800 * 10**9 + 123456789, -2**31 * 10**9 - 1, 2**31 * 10**9 + 5, 2**32 * 10**9 + 999999999,
         2**34 * 10**9 + 1, 9 * 10**18 + 123456789)


def set_times(m):
    for n, ns in enumerate(TIMES):
        touch(m / f'time{n}')
        os.utime(m / f'time{n}', ns=(ns, ns + 1))
    kept_times(m)
    path = touch(m / 'now', b'x')
    before = os.stat(path)
    time.sleep(0.02)
    os.utime(path, ns=(5, 7))
    st = os.stat(path)
    assert (st.st_atime_ns, st.st_mtime_ns) == (5, 7) and st.st_ctime_ns > before.st_ctime_ns
    time.sleep(0.02)
    os.utime(path)
    assert os.stat(path).st_mtime_ns >= st.st_ctime_ns
    with open(path, 'r+b') as f:
        f.write(b'longer')
    after = os.stat(path)
    assert after.st_mtime_ns >= st.st_ctime_ns and after.st_ctime_ns >= st.st_ctime_ns
    os.utime(path, ns=(1, 2))
    content(path)
    os.chmod(path, 0o600)
    assert os.stat(path).st_mtime_ns == 2
    with open(path, 'r+b') as f, mmap.mmap(f.fileno(), 0) as mapped:
        mapped[0:1] = b'm'
        mapped.flush()
    st = os.stat(path)
    assert min(st.st_mtime_ns, st.st_ctime_ns) >= after.st_mtime_ns, 'times after a store through a mapping'


def kept_times(m):
    for n, ns in enumerate(TIMES):
        st = os.stat(m / f'time{n}')
        assert (st.st_atime_ns, st.st_mtime_ns) == (ns, ns + 1), f'{ns}: {st.st_atime_ns}, {st.st_mtime_ns}'


def birth_of(path):
    return tally.run(['stat', '-c', '%W %w', path]).stdout.strip()


def nameless(m):
    fd = os.open(m.mountpoint, os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b'nameless')
    assert os.fstat(fd).st_nlink == 0 and mode(f'/proc/self/fd/{fd}')  # (a link of /proc: has a mode)
    os.link(f'/proc/self/fd/{fd}', m / 'given', src_dir_fd=fd, follow_symlinks=True)
    os.write(fd, b' no more')
    os.close(fd)
    assert content(m / 'given') == b'nameless no more' and os.stat(m / 'given').st_nlink == 1
    fd = os.open(m.mountpoint, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
    expect(errno.ENOENT, os.link, f'/proc/self/fd/{fd}', m / 'never', src_dir_fd=fd, follow_symlinks=True)
    os.close(fd)
    # unlinked while open: everything goes on
    fd = os.open(m / 'gone', os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(fd, b'x' * 100000)
    os.unlink(m / 'gone')
    assert os.fstat(fd).st_nlink == 0 and os.pread(fd, 5, 50000) == b'xxxxx'
    os.ftruncate(fd, 10)
    os.pwrite(fd, b'end', 200000)
    os.fchmod(fd, 0o600)
    os.fsync(fd)
    assert os.pread(fd, 10, 199998) == b'\0\0end' and os.fstat(fd).st_size == 200003
    os.close(fd)
    os.mkdir(m / 'gonedir')
    fd = os.open(m / 'gonedir', os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(m / 'gonedir')
    assert os.listdir(fd) == [] and os.fstat(fd).st_nlink == 0
    expect(errno.ENOENT, os.open, 'new', os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(fd)


def open_flags(m):
    path = m / 'flags'
    a = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND)
    b = os.open(path, os.O_WRONLY | os.O_APPEND)
    for n in range(50):
        os.write(a, b'a%03d' % n)
        os.write(b, b'b%03d' % n)
    assert content(path) == b''.join(b'a%03db%03d' % (n, n) for n in range(50))
    os.close(a)
    os.close(b)
    expect(errno.EEXIST, os.open, path, os.O_CREAT | os.O_EXCL)
    os.symlink('nowhere', m / 'dangling')
    expect(errno.EEXIST, os.open, m / 'dangling', os.O_CREAT | os.O_EXCL)
    expect(errno.ELOOP, os.open, m / 'dangling', os.O_RDONLY | os.O_NOFOLLOW)
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    assert os.stat(path).st_size == 0
    expect(errno.EISDIR, os.open, m.mountpoint, os.O_WRONLY)
    expect(errno.ENOTDIR, os.open, path, os.O_RDONLY | os.O_DIRECTORY)
    if AS_ROOT:
        os.chmod(m / 'public', 0o777)
        # read-only for its creator, and still writable through the descriptor it was made with
        as_user(USER, lambda: os.write(os.open(m / 'public/ro', os.O_CREAT | os.O_WRONLY, 0o400), b'w'))
        expect(errno.EACCES, as_user, USER, lambda: os.open(m / 'public/ro', os.O_WRONLY))


def attributes(m):
    path = touch(m / 'attrs')
    spaces = ('user', 'trusted', 'security') if AS_ROOT else ('user',)
    for space in spaces:
        for size in (0, 1, 1000, 5000, 65536):
            name = f'{space}.a{size}'
            value = os.urandom(size)
            os.setxattr(path, name, value)
            assert os.getxattr(path, name) == value
        expect(errno.E2BIG, os.setxattr, path, f'{space}.big', bytes(65537))
        os.setxattr(path, f'{space}.' + 'n' * (254 - len(space)), b'long')
    for name in 'elsewhere.x', 'system.x':
        expect(errno.EOPNOTSUPP, os.setxattr, path, name, b'')
        expect(errno.EOPNOTSUPP, os.getxattr, path, name)
        expect(errno.EOPNOTSUPP, os.removexattr, path, name)
    expect(errno.ENODATA, os.getxattr, path, 'user.none')
    expect(errno.EEXIST, os.setxattr, path, 'user.a1', b'', os.XATTR_CREATE)
    expect(errno.ENODATA, os.setxattr, path, 'user.none', b'', os.XATTR_REPLACE)
    for n in range(1500):
        os.setxattr(path, f'user.many{n}', b'%d' % n)
    assert all(os.getxattr(path, f'user.many{n}') == b'%d' % n for n in range(1500))
    assert len(os.listxattr(path)) == 1500 + 6 * len(spaces)
    for n in range(1500):
        os.removexattr(path, f'user.many{n}')
    assert len(os.listxattr(path)) == 6 * len(spaces)
    os.mkdir(m / 'attrdir')
    os.setxattr(m / 'attrdir', 'user.x', b'y')
    if not AS_ROOT:
        return
    os.symlink('x', m / 'attrlink')
    expect(errno.EPERM, os.setxattr, m / 'attrlink', 'user.x', b'', follow_symlinks=False)
    os.setxattr(m / 'attrlink', 'trusted.x', b'y', follow_symlinks=False)
    # who may what
    os.chmod(path, 0o666)
    as_user(USER, lambda: os.setxattr(path, 'user.theirs', b''))
    for space in ('trusted', 'security'):
        expect(errno.EPERM, as_user, USER, lambda: os.setxattr(path, f'{space}.theirs', b''))
    os.chmod(path, 0o644)

    def list_them():
        assert not any(name.startswith('trusted.') for name in os.listxattr(path)), 'trusted. shown to a user'
        os.getxattr(path, 'user.a1')
    as_user(USER, list_them)
    expect(errno.EACCES, as_user, USER, lambda: os.setxattr(path, 'user.a1', b''))


def locks(m):
    a, b = os.open(touch(m / 'locked', b'0123456789'), os.O_RDWR), os.open(m / 'locked', os.O_RDWR)
    fcntl.flock(a, fcntl.LOCK_EX)
    expect(errno.EAGAIN, fcntl.flock, b, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.flock(a, fcntl.LOCK_UN)
    fcntl.flock(b, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.lockf(a, fcntl.LOCK_EX, 5, 0)
    pid = os.fork()
    if pid == 0:                                     # locks of fcntl are a process's
        code = 1
        try:
            fcntl.lockf(b, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 5)
            try:
                fcntl.lockf(b, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 4)
            except OSError as e:
                code = 0 if e.errno in (errno.EAGAIN, errno.EACCES) else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(a)
    os.close(b)


def shared_mmap(m):
    fd = os.open(touch(m / 'mapped', bytes(3 * 4096 + 100)), os.O_RDWR)
    with mmap.mmap(fd, 3 * 4096 + 100) as a:
        a[5000:5004] = b'mmap'
        assert os.pread(fd, 4, 5000) == b'mmap'
        os.pwrite(fd, b'write', 9000)
        assert a[9000:9005] == b'write'
        pid = os.fork()
        if pid == 0:
            with mmap.mmap(os.open(m / 'mapped', os.O_RDWR), 0) as other:
                ok = other[5000:5004] == b'mmap'
                other[0:5] = b'child'
                os._exit(0 if ok else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert a[0:5] == b'child' and os.pread(fd, 5, 0) == b'child'
        a[12300:12304] = b'tail'
        os.ftruncate(fd, 12302)
        os.ftruncate(fd, 3 * 4096 + 100)
        assert a[12300:12304] == b'ta\0\0', 'behind a truncation'
        a.flush()
    os.fsync(fd)
    os.close(fd)


def sparse(m):
    top = 2**63 - 1
    fd = os.open(m / 'huge', os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, top)
    assert os.fstat(fd).st_size == top
    os.pwrite(fd, b'E', top - 1)
    os.pwrite(fd, b'M', 2**62)
    expect(errno.EINVAL, os.pwrite, fd, b'x', top)
    os.fsync(fd)
    assert os.pread(fd, 1, top - 1) == b'E' and os.pread(fd, 3, 2**62 - 1) == b'\0M\0'
    assert 2**62 - 64 * K < os.lseek(fd, 0, os.SEEK_DATA) <= 2**62
    assert 2**62 < os.lseek(fd, 2**62, os.SEEK_HOLE) < top
    assert os.fstat(fd).st_blocks * 512 < 1 * M
    expect(errno.EINVAL, os.ftruncate, fd, -1)
    os.ftruncate(fd, 2**62 + 1)
    assert os.pread(fd, 9, 2**62) == b'M'
    os.ftruncate(fd, 5)
    os.close(fd)


def space(m):
    st = os.statvfs(m.mountpoint)
    total = st.f_blocks * st.f_frsize
    assert 200 * M < total <= 256 * M and 0 < st.f_bavail <= st.f_bfree <= st.f_blocks, st
    assert st.f_namemax == 255 and 0 < st.f_ffree <= st.f_files, st
    with open(m / 'fill', 'wb') as f:
        for _ in range(32):
            f.write(os.urandom(M))
        f.flush()
        os.fsync(f.fileno())
    full = os.statvfs(m.mountpoint)
    used = (st.f_bfree - full.f_bfree) * st.f_frsize
    assert 32 * M <= used < 34 * M, f'32 MiB took {used}'
    assert full.f_files - full.f_ffree == st.f_files - st.f_ffree + 1
    line = tally.run(['df', '-k', '--output=size,avail,pcent', m.mountpoint]).stdout.split('\n')[1].split()
    assert int(line[0]) * K == total and re.fullmatch(r'\d+%', line[2]), line
    os.unlink(m / 'fill')

    def freed():
        os.sync()
        fd = os.open(m.mountpoint, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        return os.statvfs(m.mountpoint).f_bfree >= st.f_bfree - 100
    tally.wait_for(freed, 'space of a removed file is free')


def synchronous(work, image):
    """What O_SYNC and O_DSYNC wrote is there though the daemon dies the moment after."""
    m = Mount(image, os.path.join(work, 'mnt'), 'commit=300')
    for n, flag in enumerate((os.O_SYNC, os.O_DSYNC)):
        fd = os.open(m / f'sync{n}', os.O_CREAT | os.O_WRONLY | flag)
        os.write(fd, b'promised' * 1000)
    m.kill()
    with Mount(image, os.path.join(work, 'mnt')) as m:
        for n in range(2):
            assert content(m / f'sync{n}') == b'promised' * 1000


ROOT_ONLY = (privileges, sticky)
PARTS = (renames, links, names, specials, privileges, sticky, set_times, nameless, open_flags, attributes, locks, shared_mmap,
         sparse, space)


def test(work):
    tally.require_fuse()
    for cache in ('writeback_cache', 'no_writeback_cache'):
        image, mnt = os.path.join(work, cache), os.path.join(work, 'mnt')
        tally.mkfs(image, 256 * M)
        with Mount(image, mnt, cache) as m:
            os.mkdir(m / 'public')
            if AS_ROOT:
                os.chmod(m.mountpoint, 0o755)
                os.chmod(m / 'public', 0o777)
            failed = []
            for part in PARTS:
                if part in ROOT_ONLY and not AS_ROOT:
                    continue
                try:
                    part(m)
                except (AssertionError, OSError) as e:
                    at = e.__traceback__
                    lines = []
                    while at:
                        lines.append(str(at.tb_lineno))
                        at = at.tb_next
                    failed.append(f'{cache}: {part.__name__} (lines {", ".join(lines)}): {e!r}')
            assert not failed, '\n'.join(failed)
            born = birth_of(m / 'public')
            before = tally.describe(m.mountpoint)
        tally.fsck(image)
        with Mount(image, mnt, cache) as m:
            tally.same(before, tally.describe(m.mountpoint))
            kept_times(m)
            assert birth_of(m / 'public') == born and not born.startswith('0 ')
        synchronous(work, image)
        tally.fsck(image)
        print(f'{cache}: fine')


tally.main(test)
