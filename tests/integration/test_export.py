#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""File handles, as NFS servers use them (name_to_handle_at, open_by_handle_at): good after the kernel has forgotten the
inode, after a remount and a rename; ESTALE for what is gone, for another generation and for numbers that never were."""
import ctypes, errno, os, struct, time
import tally
from tally import M, Mount

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
O_PATH = os.O_PATH


class Handle(ctypes.Structure):
    _fields_ = [('bytes', ctypes.c_uint), ('type', ctypes.c_int), ('data', ctypes.c_ubyte * 128)]


def handle_of(path):
    h, mount = Handle(bytes=128), ctypes.c_int()
    if libc.name_to_handle_at(AT_FDCWD, path.encode(), ctypes.byref(h), ctypes.byref(mount), 0):
        raise OSError(ctypes.get_errno(), 'name_to_handle_at ' + path)
    return h.type, bytes(h.data[:h.bytes])


def open_handle(mnt, handle, flags=os.O_RDONLY):
    h = Handle(bytes=len(handle[1]), type=handle[0])
    h.data[:len(handle[1])] = handle[1]
    at = os.open(mnt, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fd = libc.open_by_handle_at(at, ctypes.byref(h), flags)
        if fd < 0:
            raise OSError(ctypes.get_errno(), 'open_by_handle_at')
        return fd
    finally:
        os.close(at)


def stale(mnt, handle, what):
    # the kernel keeps the inode of a file just closed until its RELEASE has been answered
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        try:
            os.close(open_handle(mnt, handle, O_PATH))
        except OSError as e:
            assert e.errno == errno.ESTALE, f'{what}: {e}'
            return
        time.sleep(0.02)
    raise AssertionError(f'{what}: the handle still opens something')


def forget():
    """Have the kernel let go of every inode it is not using."""
    os.sync()
    with open('/proc/sys/vm/drop_caches', 'w') as f:
        f.write('3')


def parts(handle):
    """Node number and generation of a FUSE handle."""
    high, low, generation = struct.unpack('=III', handle[1][:12])
    return high << 32 | low, generation


def made_of(handle, number, generation):
    return handle[0], struct.pack('=III', number >> 32, number & 0xffffffff, generation) + handle[1][12:]


def content(mnt, handle):
    with open(open_handle(mnt, handle), 'rb') as f:
        return f.read()


def check_all(mnt, things):
    for path, (handle, ino, data) in things.items():
        fd = open_handle(mnt, handle, O_PATH if data is None else os.O_RDONLY)
        try:
            assert os.fstat(fd).st_ino == ino, f'{path}: inode {os.fstat(fd).st_ino}, not {ino}'
            if data is None:
                seen = os.readlink(f'/proc/self/fd/{fd}')
                assert os.path.islink(path) or seen == path, f'{path}: its handle leads to {seen}'
            else:
                assert os.read(fd, 1 << 20) == data, f'{path}: other content'
        finally:
            os.close(fd)


def make(m):
    """A tree, deep and wide; {path: (handle, inode number, content or None)}."""
    things, folder = {}, str(m.mountpoint)
    for k in range(12):
        folder = os.path.join(folder, f'dir{k}')
        os.mkdir(folder)
        things[folder] = None
        for n in range(20):
            path = f'{folder}/file{n}'
            with open(path, 'w') as f:
                f.write(f'{path}\n' * 100)
            things[path] = open(path, 'rb').read()
    os.symlink('nowhere', folder + '/link')
    things[folder + '/link'] = None
    things[str(m.mountpoint)] = None
    return {path: (handle_of(path), os.lstat(path).st_ino, data) for path, data in things.items()}


def gone(m):
    """What is unlinked, removed, never was, or is somebody else by now."""
    top = str(m.mountpoint)
    path, folder = top + '/gone', top + '/gone-too'
    open(path, 'w').close()
    os.mkdir(folder)
    a, b = handle_of(path), handle_of(folder)
    os.unlink(path)
    os.rmdir(folder)
    stale(top, a, 'unlinked')
    stale(top, b, 'removed')
    for n in range(50):
        open(f'{top}/new{n}', 'w').close()
    forget()
    stale(top, a, 'unlinked, and others made since')
    stale(top, b, 'removed, and others made since')
    real = handle_of(top + '/new0')
    number, generation = parts(real)
    os.close(open_handle(top, made_of(real, number, generation), O_PATH))
    for cold in (False, True):
        if cold:
            forget()
        stale(top, made_of(real, number, generation + 1), 'another generation')
        stale(top, made_of(real, number, generation - 1 & 0xffffffff), 'another generation')
    for number in (0, 2, 3, 15, number + 100000, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        if number != parts(handle_of(top))[0]:
            stale(top, made_of(real, number, generation), f'inode {number}')
    return a, b


def other_names(m):
    top = str(m.mountpoint)
    os.mkdir(top + '/old')
    with open(top + '/old/first', 'w') as f:
        f.write('still here')
    os.link(top + '/old/first', top + '/second')
    file, folder = handle_of(top + '/old/first'), handle_of(top + '/old')
    os.unlink(top + '/old/first')
    os.rename(top + '/old', top + '/dir0/moved')
    forget()
    assert content(top, file) == b'still here'
    fd = open_handle(top, folder)
    assert os.readlink(f'/proc/self/fd/{fd}') == top + '/dir0/moved'
    os.close(fd)


def test(work):
    tally.require_fuse()
    if not tally.AS_ROOT:
        raise tally.Skip('open_by_handle_at needs root')
    if not os.access('/proc/sys/vm/drop_caches', os.W_OK):
        raise tally.Skip('drop_caches cannot be written')
    image, mnt = os.path.join(work, 'image'), os.path.join(work, 'mnt')
    tally.mkfs(image, 128 * M)
    with Mount(image, mnt) as m:
        things = make(m)
        check_all(mnt, things)
        forget()
        check_all(mnt, things)
        dead = gone(m)
    with Mount(image, mnt) as m:
        check_all(mnt, things)
        for handle in dead:
            stale(mnt, handle, 'gone before the remount')
        other_names(m)
    tally.fsck(image)
    print(f'{len(things)} handles, warm, forgotten and after a remount')


tally.main(test)
