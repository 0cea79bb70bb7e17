#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Set-user-ID bits and file capabilities do not outlive a stranger's write: he may write by the group's permission, writes in
every way there is, and runs the file at once, so that the kernel has no other reason to look at its mode again.  With and
without the kernel's write-back cache."""
import ctypes, mmap, os, shutil, struct, subprocess
import tally
from tally import AS_ROOT, K, M, Mount

USER = 12001
BLOCK = 4 * K
NET_RAW = struct.pack('<IIIII', 0x02000001, 1 << 13, 0, 0, 0)   # cap_net_raw=ep
libc = ctypes.CDLL(None, use_errno=True)


def start_of(path):
    """What is there already: the program still runs when it has been written."""
    fd = os.open(path, os.O_RDONLY)
    page = mmap.mmap(-1, BLOCK)
    assert os.preadv(fd, [page], 0) == BLOCK
    os.close(fd)
    return page


def write(path, flags=0):
    page = start_of(path)
    fd = os.open(path, os.O_WRONLY | flags)
    assert os.pwritev(fd, [page], 0) == BLOCK
    os.close(fd)


def direct(path):
    write(path, os.O_DIRECT)


def dd(path):
    subprocess.run(['dd', f'if={path}', f'of={path}', 'bs=1', 'count=1', 'conv=notrunc', 'status=none'], check=True)


def splice(path):
    r, w = os.pipe()
    os.write(w, start_of(path)[:])
    fd = os.open(path, os.O_WRONLY)
    assert libc.splice(r, None, fd, ctypes.byref(ctypes.c_int64(0)), ctypes.c_size_t(BLOCK), 0) == BLOCK
    for f in (r, w, fd):
        os.close(f)


def truncate_at_open(path):
    with open(path, 'rb') as f:
        program = f.read()
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    assert os.write(fd, program) == len(program)
    os.close(fd)


def cut(path):
    os.truncate(path, os.stat(path).st_size - 1)


def append(path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b'more')
    os.close(fd)


def fallocate(path):
    fd = os.open(path, os.O_WRONLY)
    assert libc.fallocate(fd, 0, ctypes.c_int64(0), ctypes.c_int64(BLOCK)) == 0
    os.close(fd)


def copy_range(path):
    fd, source = os.open(path, os.O_WRONLY), os.open(path + '.source', os.O_RDONLY)
    assert os.copy_file_range(source, fd, BLOCK) == BLOCK
    os.close(fd)
    os.close(source)


def as_stranger(path, how, argv):
    """Lets him do it and run the file in the next moment.  What the program printed."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
            if how:
                how(path)
            os.dup2(w, 1)
            os.execv(path, argv)
        finally:
            os._exit(99)
    os.close(w)
    with os.fdopen(r) as f:
        out = f.read()
    assert os.waitpid(pid, 0)[1] == 0, f'{how}: the program did not run'
    return out


def place(path, program, mode, capability=None):
    if os.path.exists(path):
        os.unlink(path)
    shutil.copy(shutil.which(program), path)
    os.chown(path, 0, USER)
    os.chmod(path, mode)
    if capability:
        os.setxattr(path, 'security.capability', capability)


def effective_uid(path, how):
    place(path, 'id', 0o4775)
    return as_stranger(path, how, ['id', '-u']).strip()


def effective_caps(path, how):
    place(path, 'cat', 0o775, NET_RAW)
    return int(next(line for line in as_stranger(path, how, ['cat', '/proc/self/status']).splitlines()
                    if line.startswith('CapEff')).split()[1], 16)


def test(work):
    tally.require_fuse()
    if not AS_ROOT:
        raise tally.Skip('needs root for files of root')
    image, failed = f'{work}/image', []
    tally.mkfs(image, 64 * M)
    for cache in ('writeback_cache', 'no_writeback_cache'):
        with Mount(image, f'{work}/mnt', cache) as m:
            shutil.copy(shutil.which('id'), m / 'program.source')
            path = m / 'program'
            assert effective_uid(path, None) == '0', 'a set-user-ID program does not work at all'
            assert effective_caps(path, None) == 1 << 13, 'file capabilities do not work at all'
            for how in (write, direct, dd, splice, truncate_at_open, cut, append, fallocate, copy_range):
                if effective_uid(path, how) != str(USER):
                    failed.append(f'{cache}: {how.__name__}: runs as root')
                if os.lstat(path).st_mode & 0o7000:
                    failed.append(f'{cache}: {how.__name__}: keeps the bit')
                if how is not copy_range and effective_caps(path, how):
                    failed.append(f'{cache}: {how.__name__}: has capabilities')
    assert not failed, '\n'.join(failed)
    tally.fsck(image)


tally.main(test)
