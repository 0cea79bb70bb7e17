#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A mount as the upper layer of an overlay (overlayfs wants RENAME_WHITEOUT, nameless files, trusted.* or user.* attributes and
entry types in listings): as root with all its features, by an ordinary user in a user namespace, and there with the tallyfs
mounted by himself.  Copied up, renamed, removed, covered, opaque; the same when mounted again; the checker finds it clean."""
import ctypes, errno, os, shutil, stat
import tally
from tally import AS_ROOT, M, Mount

USER = 12001
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
libc = ctypes.CDLL(None, use_errno=True)


def put(path, text, mode='w'):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, mode) as f:
        f.write(text)


def content(path):
    with open(path) as f:
        return f.read()


def make_lower(lower):
    for name in ('plain', 'renamed', 'removed', 'dir/kept', 'dir/removed', 'dir/sub/deep', 'opaque/old', 'moved/below/file'):
        put(f'{lower}/{name}', f'lower {name}\n')


def listing(top):
    return sorted(os.path.relpath(os.path.join(d, n), top) for d, dirs, files in os.walk(top) for n in dirs + files)


def change(top, redirect):
    put(f'{top}/plain', 'and upper\n', 'a')
    os.rename(f'{top}/renamed', f'{top}/new-name')
    os.unlink(f'{top}/removed')
    os.unlink(f'{top}/dir/removed')
    os.rename(f'{top}/dir/sub/deep', f'{top}/dir/deep')
    shutil.rmtree(f'{top}/opaque')
    os.mkdir(f'{top}/opaque')
    put(f'{top}/opaque/new', 'new\n')
    if redirect:
        os.rename(f'{top}/moved', f'{top}/moved-away')
    else:
        try:
            os.rename(f'{top}/moved', f'{top}/moved-away')
            raise AssertionError('a directory of the lower layer was renamed without redirect_dir')
        except OSError as e:
            assert e.errno == errno.EXDEV, e
        shutil.move(f'{top}/moved', f'{top}/moved-away')
    os.symlink('plain', f'{top}/link')
    fd = os.open(top, os.O_TMPFILE | os.O_RDWR, 0o644)
    os.write(fd, b'nameless\n')
    os.link(f'/proc/self/fd/{fd}', f'{top}/named', src_dir_fd=fd, follow_symlinks=True)
    os.close(fd)


WANTED = sorted(['plain', 'new-name', 'dir', 'dir/kept', 'dir/sub', 'dir/deep', 'opaque', 'opaque/new', 'moved-away',
                 'moved-away/below', 'moved-away/below/file', 'link', 'named'])


def check(top):
    assert listing(top) == WANTED, listing(top)
    for name, text in (('plain', 'lower plain\nand upper\n'), ('new-name', 'lower renamed\n'), ('dir/kept', 'lower dir/kept\n'),
                       ('dir/deep', 'lower dir/sub/deep\n'), ('opaque/new', 'new\n'), ('named', 'nameless\n'),
                       ('moved-away/below/file', 'lower moved/below/file\n'), ('link', 'lower plain\nand upper\n')):
        assert content(f'{top}/{name}') == text, f'{name}: {content(f"{top}/{name}")!r}'


def check_upper(upper, attribute):
    for name in ('renamed', 'removed', 'dir/removed', 'dir/sub/deep', 'moved'):
        st = os.lstat(f'{upper}/{name}')
        assert stat.S_ISCHR(st.st_mode) and st.st_rdev == 0, f'{name} is no whiteout: {st}'
    assert os.getxattr(f'{upper}/opaque', f'{attribute}.opaque') == b'y'


def overlay(folder, upper, options):
    """Runs where it may mount; @folder has lower/ and top/."""
    top = f'{folder}/top'
    os.makedirs(f'{upper}/upper')
    os.mkdir(f'{upper}/work')

    def mount():
        tally.run(['mount', '-t', 'overlay', 'overlay', top, '-o',
                   f'{options},lowerdir={folder}/lower,upperdir={upper}/upper,workdir={upper}/work'])

    mount()
    change(top, 'redirect_dir=on' in options)
    check(top)
    tally.run(['umount', top])
    check_upper(f'{upper}/upper', 'user.overlay' if 'userxattr' in options else 'trusted.overlay')
    mount()
    check(top)
    tally.run(['umount', top])


def as_root(folder):
    overlay(folder, f'{folder}/mnt/root', 'redirect_dir=on,metacopy=on,index=on')


def as_user(folder):
    overlay(folder, f'{folder}/mnt/user', 'userxattr')


def all_by_user(folder):
    with Mount(f'{folder}/own', f'{folder}/own.mnt') as m:
        overlay(folder, m.mountpoint, 'userxattr')


def unshared(what, folder, prepare):
    """Runs it in a child with a mount namespace of its own, which prepare() may leave for another one.  False: no namespaces."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            unshare(CLONE_NEWNS)
            tally.run(['mount', '--make-rprivate', '/'], want=None)
            tally.run(['mount', '--make-rprivate', folder], want=None)
            code = 77 if prepare and not prepare(folder) else 1
            if code == 1:
                what(folder)
                code = 0
        except BaseException as e:
            print(f'{what.__name__}: {e!r}', flush=True)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 77), f'{what.__name__} failed'
    return code == 0


def unshare(flags):
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), 'unshare')


def user_namespace(folder):
    """USER, who is root in a user namespace; /dev/fuse is open to all, as on a real system."""
    tally.run(['mount', '--bind', f'{folder}/fuse', '/dev/fuse'])
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    libc.prctl(4, 1, 0, 0, 0)                     # PR_SET_DUMPABLE: /proc/self is ours again
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
    except OSError as e:
        print(f'no user namespaces here ({e.strerror}): left out', flush=True)
        return False
    for name, text in (('setgroups', 'deny'), ('uid_map', f'0 {USER} 1'), ('gid_map', f'0 {USER} 1')):
        with open(f'/proc/self/{name}', 'w') as f:
            f.write(text)
    return True


def test(work):
    tally.require_fuse()
    if not AS_ROOT:
        raise tally.Skip('needs root to mount an overlay')
    if tally.run(['unshare', '--mount', 'sh', '-c', f'mkdir {work}/probe && mount -t overlay overlay {work}/probe '
                  f'-o lowerdir=/usr:/etc'], want=None).returncode:
        raise tally.Skip('no overlay can be mounted here')
    programs = tally.BIN
    make_lower(f'{work}/lower')
    os.mkdir(f'{work}/top')
    image = tally.sized(f'{work}/image', 64 * M)
    tally.mkfs(image, 0)
    own = tally.sized(f'{work}/own', 64 * M)
    tally.mkfs(own, 0)
    os.mkdir(f'{work}/bin')
    shutil.copy(tally.tool('tallyfs'), f'{work}/bin')
    os.mknod(f'{work}/fuse', 0o666 | stat.S_IFCHR, os.stat('/dev/fuse').st_rdev)
    os.chmod(f'{work}/fuse', 0o666)
    with Mount(image, f'{work}/mnt') as m:
        os.mkdir(m / 'root')
        unshared(as_root, work, None)
        print('root: redirect_dir, metacopy, index')
        for top in (f'{work}/lower', own):
            tally.run(['chown', '-R', f'{USER}:{USER}', top])
        os.chown(work, USER, USER)
        os.mkdir(m / 'user')
        os.chown(m / 'user', USER, USER)
        tally.BIN = f'{work}/bin'
        if unshared(as_user, work, user_namespace):
            print('user namespace: userxattr')
            unshared(all_by_user, work, user_namespace)
            print('user namespace, tallyfs mounted in it: userxattr')
        tally.BIN = programs
    for i in (image, own):
        tally.fsck(i)


tally.main(test)
