#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""chattr +i and +a on files and directories of a mount: who may set them, what they forbid (by name, by descriptor, by mapping,
also to descriptors that are older than the flag), what they still allow, and that they are there after a remount.

Held against what the local file systems of Linux do: the same calls give the same errors there.
"""
import ctypes, errno, fcntl, json, mmap, multiprocessing, os, struct, threading
import tally
from tally import AS_ROOT, K, M, Mount, Skip

GETFLAGS, SETFLAGS, FSGETXATTR, FSSETXATTR = 0x80086601, 0x40086602, 0x801c581f, 0x401c5820
IMMUTABLE, APPEND, NODUMP, NOATIME = 0x10, 0x20, 0x40, 0x80
XFLAG_IMMUTABLE, XFLAG_APPEND, XFLAG_NODUMP = 0x8, 0x10, 0x80
libc = ctypes.CDLL(None, use_errno=True)


def fails(what, want, call, *args, **more):
    try:
        call(*args, **more)
    except OSError as e:
        assert e.errno == want, f'{what}: {errno.errorcode.get(e.errno)}, wanted {errno.errorcode[want]}'
        return
    raise AssertionError(f'{what}: nothing refused it')


def lsattr(path):
    return tally.run(['lsattr', '-d', path]).stdout.split()[0].replace('-', '')


def chattr(change, *paths, want=0):
    return tally.run(['chattr', change, *paths], want=want)


def flags_of(path):
    fd = os.open(path, os.O_RDONLY)
    fl = struct.unpack('I', fcntl.ioctl(fd, GETFLAGS, b'\0' * 4))[0]
    x = struct.unpack('7I', fcntl.ioctl(fd, FSGETXATTR, b'\0' * 28))[0]
    os.close(fd)
    return fl, x


def set_xflags(path, x, projid=0, extsize=0):
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, FSSETXATTR, struct.pack('7I', x, extsize, 0, projid, 0, 0, 0))
    finally:
        os.close(fd)


def put(path, data=b'what is here stays as it is\n'):
    with open(path, 'wb') as f:
        f.write(data)
    return path


def get(path):
    with open(path, 'rb') as f:
        return f.read()


def opens(path, flags):
    os.close(os.open(path, flags))


def fallocate(path, mode, off, n, flags=os.O_WRONLY):
    fd = os.open(path, flags)
    try:
        if libc.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(n)):
            raise OSError(ctypes.get_errno(), 'fallocate')
    finally:
        os.close(fd)


def never(what, path, m):
    """What neither flag lets anybody do to a file."""
    fails(f'{what}: unlink', errno.EPERM, os.unlink, path)
    fails(f'{what}: rename', errno.EPERM, os.rename, path, m / 'elsewhere')
    fails(f'{what}: rename over it', errno.EPERM, os.rename, put(m / 'other'), path)
    fails(f'{what}: link', errno.EPERM, os.link, path, m / 'another')
    fails(f'{what}: chmod', errno.EPERM, os.chmod, path, 0o600)
    fails(f'{what}: chown', errno.EPERM, os.chown, path, 5, 5)
    fails(f'{what}: times', errno.EPERM, os.utime, path, (1, 2))
    fails(f'{what}: mtime', errno.EPERM, os.utime, path, ns=(os.stat(path).st_atime_ns, 12345))
    fails(f'{what}: truncate', errno.EPERM, os.truncate, path, 3)
    fails(f'{what}: truncate up', errno.EPERM, os.truncate, path, 1 << 20)
    fails(f'{what}: truncate to the same', errno.EPERM, os.truncate, path, os.stat(path).st_size)
    fails(f'{what}: O_TRUNC', errno.EPERM, opens, path, os.O_WRONLY | os.O_TRUNC)
    fails(f'{what}: O_TRUNC and O_APPEND', errno.EPERM, opens, path, os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
    fails(f'{what}: open for writing', errno.EPERM, opens, path, os.O_WRONLY)
    fails(f'{what}: open for both', errno.EPERM, opens, path, os.O_RDWR)
    fails(f'{what}: attribute', errno.EPERM, os.setxattr, path, 'user.x', b'1')
    fails(f'{what}: no attribute', errno.EPERM, os.removexattr, path, 'user.there')
    assert tally.run(['setfacl', '-m', 'u:7:rwx', path], want=None).returncode, f'{what}: an ACL was set'
    os.unlink(m / 'other')


def immutable(m):
    path = put(m / 'fixed')
    os.setxattr(path, 'user.there', b'y')
    before = os.stat(path)
    chattr('+i', path)
    assert lsattr(path) == 'i' and flags_of(path) == (IMMUTABLE, XFLAG_IMMUTABLE)
    never('immutable', path, m)
    fails('immutable: append', errno.EPERM, opens, path, os.O_WRONLY | os.O_APPEND)
    fails('immutable: touch', errno.EPERM, os.utime, path)
    after = os.stat(path)
    assert get(path) == b'what is here stays as it is\n' and os.getxattr(path, 'user.there') == b'y'
    assert (before.st_mode, before.st_uid, before.st_mtime_ns, before.st_nlink) == \
        (after.st_mode, after.st_uid, after.st_mtime_ns, after.st_nlink)
    chattr('-i', path)
    assert lsattr(path) == ''
    put(path, b'again')
    os.rename(path, m / 'gone')
    os.unlink(m / 'gone')


def append_only(m):
    path = put(m / 'log', b'one\n')
    os.setxattr(path, 'user.there', b'y')
    chattr('+a', path)
    assert lsattr(path) == 'a' and flags_of(path) == (APPEND, XFLAG_APPEND)
    never('append-only', path, m)
    fd = os.open(path, os.O_RDWR | os.O_APPEND)
    assert os.write(fd, b'two\n') == 4 and os.pread(fd, 100, 0) == b'one\ntwo\n'
    fails('append-only: ftruncate', errno.EPERM, os.ftruncate, fd, 1)
    # by way of a mapping, while another one appends to the same page
    mm = mmap.mmap(fd, 8)
    mm[1:3] = b'XX'
    os.write(fd, b'2.5\n')
    fails('append-only: msync', errno.EPERM, mm.flush)
    mm.close()
    tally.wait_for(lambda: get(path) == b'one\ntwo\n2.5\n', 'the kernel to forget what was refused')
    # or without the O_APPEND that it was opened with
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    fails('append-only: pwrite', errno.EPERM, lambda: (os.pwrite(fd, b'XXX', 0), os.fsync(fd)))
    try:
        os.close(fd)
    except OSError as e:
        assert e.errno == errno.EPERM
    tally.wait_for(lambda: get(path) == b'one\ntwo\n2.5\n', 'the kernel to forget what was refused')
    for what, mode in (('punch', 3), ('zero', 0x10)):
        fails(f'append-only: {what}', errno.EPERM, fallocate, path, mode, 0, 4, os.O_WRONLY | os.O_APPEND)
    fallocate(path, 1, 0, 1 << 20, os.O_WRONLY | os.O_APPEND)
    with open(path, 'ab') as f:
        f.write(b'three\n')
    assert get(path) == b'one\ntwo\n2.5\nthree\n'
    os.utime(path)
    chattr('-a', path)
    os.truncate(path, 4)
    assert get(path) == b'one\n'
    os.unlink(path)


def appended_at_random(m):
    """Much, by several at once, through the kernel's cache, which writes it in an order of its own; with room made ahead."""
    path = put(m / 'big', os.urandom(5000))
    want = bytearray(get(path))
    chattr('+a', path)
    fds = [os.open(path, os.O_WRONLY | os.O_APPEND) for _ in range(3)]
    for k in range(120):
        data = os.urandom(1 + k * 977 % 200000)
        os.write(fds[k % 3], data)
        want += data
        if k % 7 == 0:
            os.fsync(fds[(k + 1) % 3])
        if k % 31 == 0:
            os.posix_fallocate(fds[0], 0, len(want) + 100 * k)
            want += bytes(100 * k)
    for fd in fds:
        os.fsync(fd)
        os.close(fd)
    os.posix_fadvise(fd := os.open(path, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    assert get(path) == want
    chattr('-a', path)
    os.unlink(path)


def readers_of_a_log(m):
    """Who reads behind appenders, through the kernel's cache, sees what they wrote and nothing else."""
    path = put(m / 'tail', b'')
    chattr('+a', path)
    want = b''.join(b'line %06d of the log\n' % k for k in range(3000))
    bad = []

    def follow():
        fd = os.open(path, os.O_RDONLY)
        at = 0
        while at < len(want) and not bad:
            got = os.pread(fd, 5000, at)
            if got != want[at:at + len(got)]:
                bad.append((at, got[:60]))
            at += len(got)
        os.close(fd)

    threads = [threading.Thread(target=follow) for _ in range(3)]
    for t in threads:
        t.start()
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    for k in range(0, len(want), 61):
        os.write(fd, want[k:k + 61])
    os.close(fd)
    for t in threads:
        t.join()
    assert not bad, f'a reader saw {bad[0]}'
    chattr('-a', path)
    os.unlink(path)


def directories(m):
    top = m / 'dir'
    os.mkdir(top)
    put(os.path.join(top, 'old'))
    os.mkdir(os.path.join(top, 'sub'))
    old, sub, new = (os.path.join(top, n) for n in ('old', 'sub', 'new'))
    for flag in 'ia':
        chattr('+' + flag, top)
        assert lsattr(top) == flag
        fails(f'+{flag} dir: unlink', errno.EPERM, os.unlink, old)
        fails(f'+{flag} dir: rmdir', errno.EPERM, os.rmdir, sub)
        fails(f'+{flag} dir: rename in it', errno.EPERM, os.rename, old, new)
        fails(f'+{flag} dir: rename out', errno.EPERM, os.rename, old, m / 'out')
        fails(f'+{flag} dir: rename over', errno.EPERM, os.rename, put(m / 'in'), old)
        fails(f'+{flag} dir: rename it', errno.EPERM, os.rename, top, m / 'dir2')
        fails(f'+{flag} dir: rmdir it', errno.EPERM, os.rmdir, top)
        fails(f'+{flag} dir: chmod', errno.EPERM, os.chmod, top, 0o700)
        fails(f'+{flag} dir: attribute', errno.EPERM, os.setxattr, top, 'user.x', b'')
        calls = ((put, new), (os.mkdir, new), (os.mkfifo, new), (os.symlink, 'x', new), (os.link, m / 'in', new),
                 (os.rename, m / 'in', new))
        for call, *args in calls:
            if flag == 'i':
                fails(f'+i dir: {call.__name__}', errno.EPERM, call, *args)
            else:
                call(*args)
                remove = os.rmdir if call is os.mkdir else os.unlink
                fails(f'+a dir: {remove.__name__} after {call.__name__}', errno.EPERM, remove, new)
                chattr('-a', top)
                remove(new)
                put(m / 'in')
                chattr('+a', top)
        with open(old, 'ab') as f:                    # what is in it is not its business
            f.write(b'more')
        put(os.path.join(sub, 'x'))
        chattr('-' + flag, top)
    tally.run(['rm', '-r', top])


def older_descriptors(m):
    """What was open for writing before."""
    data = os.urandom(3 * M)
    path = put(m / 'before', b'')
    fd = os.open(path, os.O_WRONLY)
    both = os.open(path, os.O_RDWR)
    os.write(fd, data)                                # dirty in the kernel
    fcntl.ioctl(both, SETFLAGS, struct.pack('I', IMMUTABLE))   # (chattr would close a descriptor first, and so write it)
    assert lsattr(path) == 'i'
    assert os.stat(path).st_size == len(data)
    fails('immutable: write by an older descriptor', errno.EPERM, os.pwrite, fd, b'new', 0)
    fails('immutable: append by an older descriptor', errno.EPERM, os.write, fd, b'new')
    fails('immutable: fallocate by an older descriptor', errno.EPERM, os.posix_fallocate, fd, 0, 4 * M)
    fails('immutable: ftruncate by an older descriptor', errno.EPERM, os.ftruncate, fd, 1)
    other = os.open(put(m / 'source', data[::-1]), os.O_RDONLY)
    fails('immutable: copy to an older descriptor', errno.EPERM, os.copy_file_range, other, fd, M, 0, 0)
    os.close(other)
    assert os.pread(both, 100, len(data) - 50) == data[-50:]
    mm = mmap.mmap(both, M)
    mm[5:9] = b'XXXX'
    fails('immutable: msync of an older mapping', errno.EPERM, mm.flush)
    mm.close()
    tally.wait_for(lambda: get(path) == data, 'the kernel to forget what was refused')
    for d in (fd, both):
        try:
            os.close(d)
        except OSError as e:
            assert e.errno == errno.EPERM
    chattr('-i', path)
    # append-only: as elsewhere they keep what they have, so that a log that is open goes on
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b'A')
    chattr('+a', path)
    with open(path, 'ab') as f:
        f.write(b'B')
    os.write(fd, b'C')
    os.fsync(fd)
    os.close(fd)
    assert get(path) == data + b'ABC'
    chattr('-a', path)
    os.unlink(path)


def try_as_user(path, change, out):
    os.setgid(65534)
    os.setuid(65534)
    out.put(tally.run(['chattr', change, path], want=None).returncode)


def who_may(m):
    path = put(m / 'his')
    os.chown(path, 65534, 65534)
    os.chmod(m.mountpoint, 0o777)
    for flags, change, want in (('', '+i', False), ('', '+a', False), ('', '-i', True), ('i', '-i', False), ('a', '-a', False)):
        chattr('=' + flags, path)
        out = multiprocessing.Queue()
        p = multiprocessing.Process(target=try_as_user, args=(path, change, out))
        p.start()
        assert (out.get(timeout=60) == 0) == want, f'{change} by the owner of a file with "{flags}"'
        p.join()
        assert lsattr(path) == flags
    chattr('=', path)
    # what is not kept is refused, not forgotten
    for change in ('+A', '+d', '+c', '+C', '+j', '+iA'):
        chattr(change, path, want=1)
        assert lsattr(path) == '', change
    for args in ((XFLAG_NODUMP,), (XFLAG_IMMUTABLE | XFLAG_NODUMP,), (0, 7), (0, 0, 4096)):
        fails(f'FSSETXATTR {args}', errno.EOPNOTSUPP, set_xflags, path, *args)
    set_xflags(path, XFLAG_APPEND)
    assert lsattr(path) == 'a'
    set_xflags(path, 0)
    os.unlink(path)


def the_tools(work, image, mnt):
    """After a remount; by fsck and tallydump."""
    with Mount(image, mnt) as m:
        os.mkdir(m / 'kept')
        ino = os.stat(put(m / 'kept/file')).st_ino
        chattr('+ia', m / 'kept/file')
        chattr('+a', m / 'kept')
    tally.fsck(image)
    item = tally.run([tally.tool('tallydump'), '--json', image, 'inode', str(ino)]).stdout
    assert json.loads(item)['immutable'] and json.loads(item)['append_only'], item
    with Mount(image, mnt) as m:
        assert lsattr(m / 'kept/file') == 'ia' and lsattr(m / 'kept') == 'a'
        fails('both: append', errno.EPERM, opens, m / 'kept/file', os.O_WRONLY | os.O_APPEND)
        fails('after a remount: unlink', errno.EPERM, os.unlink, m / 'kept/file')
        chattr('-ia', m / 'kept', m / 'kept/file')
        tally.run(['rm', '-r', m / 'kept'])
    with Mount(image, mnt, 'ro') as m:
        fails('read-only', errno.EROFS, set_xflags, mnt, XFLAG_APPEND)


def test(work):
    if not AS_ROOT:
        raise Skip('chattr +i needs root')
    tally.require_fuse()
    image, mnt = os.path.join(work, 'image'), os.path.join(work, 'mnt')
    tally.mkfs(image, 128 * M)
    for options in ('writeback_cache', 'no_writeback_cache'):
        with Mount(image, mnt, options) as m:
            immutable(m)
            append_only(m)
            appended_at_random(m)
            readers_of_a_log(m)
            directories(m)
            older_descriptors(m)
            who_may(m)
        tally.fsck(image)
    the_tools(work, image, mnt)


tally.main(test)
