#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""POSIX ACLs on a mount, with setfacl and getfacl: what an ordinary user may then do, inheritance, umask, chmod, the setgid
bit, who may set them, and that they are still there after a remount."""
import errno, os, shutil, struct
import tally
from tally import AS_ROOT, Mount, Skip

ALICE, BOB, CREW = 12001, 12002, 12100


def as_user(uid, gid, groups, action):
    """Run it as an ordinary user; what it returned, or the error it met."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
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
    return answer


def setfacl(*args):
    tally.run(['setfacl', *args])


def acl(path):
    out = tally.run(['getfacl', '-c', '-n', '-p', '-E', path]).stdout
    return out.split()


def mode(path):
    return os.stat(path).st_mode & 0o7777


def reads(path):
    return lambda: open(path, 'rb').close()


def access(m):
    path = m / 'secret'
    with open(path, 'wb') as f:
        f.write(b'x')
    os.chmod(path, 0o640)
    assert as_user(ALICE, ALICE, [], reads(path)) == errno.EACCES
    setfacl('-m', f'u:{ALICE}:r', path)
    assert as_user(ALICE, ALICE, [], reads(path)) == 0
    assert as_user(ALICE, ALICE, [], lambda: open(path, 'r+b').close()) == errno.EACCES
    assert as_user(BOB, BOB, [], reads(path)) == errno.EACCES
    setfacl('-m', f'g:{CREW}:rw', path)
    assert as_user(BOB, BOB, [CREW], lambda: open(path, 'r+b').close()) == 0
    assert acl(path) == ['user::rw-', f'user:{ALICE}:r--', 'group::r--', f'group:{CREW}:rw-', 'mask::rw-', 'other::---']
    assert mode(path) == 0o660
    # the mask rules: chmod takes away what the group class had
    os.chmod(path, 0o600)
    assert as_user(ALICE, ALICE, [], reads(path)) == errno.EACCES
    assert 'mask::---' in acl(path)
    os.chmod(path, 0o640)
    assert as_user(ALICE, ALICE, [], reads(path)) == 0
    setfacl('-b', path)
    assert mode(path) == 0o640 and os.listxattr(path) == []
    assert as_user(ALICE, ALICE, [], reads(path)) == errno.EACCES
    # what a mode can say is no ACL
    setfacl('-m', 'u::rwx,g::rx,o::x', path)
    assert mode(path) == 0o751 and os.listxattr(path) == []


def inheritance(m):
    top = m / 'shared'
    os.mkdir(top)
    os.chmod(top, 0o2770)
    os.chown(top, 0, CREW)
    setfacl('-d', '-m', f'u:{ALICE}:rwx,g::rwx,o::-', top)
    old = os.umask(0o077)
    try:
        with open(os.path.join(top, 'file'), 'wb'):
            pass
        os.mkdir(os.path.join(top, 'sub'))
        os.mkfifo(os.path.join(top, 'fifo'), 0o640)
        os.symlink('x', os.path.join(top, 'link'))
        fd = os.open(top, os.O_TMPFILE | os.O_RDWR, 0o666)
        assert os.fstat(fd).st_mode & 0o7777 == 0o660
        os.close(fd)
        open(m / 'plain', 'wb').close()
    finally:
        os.umask(old)
    assert mode(m / 'plain') == 0o600                # without a default ACL the umask counts
    file, sub = os.path.join(top, 'file'), os.path.join(top, 'sub')
    assert mode(file) == 0o660 and os.stat(file).st_gid == CREW
    assert acl(file) == ['user::rw-', f'user:{ALICE}:rwx', 'group::rwx', 'mask::rw-', 'other::---']
    assert mode(sub) == 0o2770
    assert acl(sub) == ['user::rwx', f'user:{ALICE}:rwx', 'group::rwx', 'mask::rwx', 'other::---', 'default:user::rwx',
                        f'default:user:{ALICE}:rwx', 'default:group::rwx', 'default:mask::rwx', 'default:other::---']
    assert mode(os.path.join(top, 'fifo')) == 0o640
    setfacl('-m', f'u:{ALICE}:rwx', top)
    assert as_user(ALICE, ALICE, [], lambda: open(os.path.join(sub, 'hers'), 'wb').close()) == 0
    hers = os.path.join(sub, 'hers')
    assert os.stat(hers).st_uid == ALICE and os.stat(hers).st_gid == CREW
    setfacl('-k', top)
    assert as_user(ALICE, ALICE, [], lambda: os.mkdir(os.path.join(top, 'later'))) == 0
    assert not any(line.startswith('default:') for line in acl(os.path.join(top, 'later')))


def value(*entries):
    return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *e) for e in entries)


def who_may(m):
    """The owner and root set ACLs, nobody else; and an owner outside the file's group loses its setgid bit."""
    path = m / 'owned'
    open(path, 'wb').close()
    os.chown(path, ALICE, CREW)
    os.chmod(path, 0o2750)
    none = 0xffffffff
    v = value((1, 7, none), (2, 4, BOB), (4, 5, none), (0x10, 5, none), (0x20, 0, none))
    name = 'system.posix_acl_access'
    assert as_user(BOB, BOB, [CREW], lambda: os.setxattr(path, name, v)) == errno.EPERM
    assert as_user(ALICE, ALICE, [CREW], lambda: os.setxattr(path, name, v)) == 0
    assert mode(path) == 0o2750
    assert as_user(ALICE, ALICE, [], lambda: os.setxattr(path, name, v)) == 0
    assert mode(path) == 0o750, 'the setgid bit stayed'
    assert as_user(BOB, BOB, [], lambda: os.removexattr(path, name)) == errno.EPERM
    assert as_user(ALICE, ALICE, [], lambda: os.removexattr(path, name)) == 0
    os.removexattr(path, name)                       # none left: no error, as on other file systems
    for bad, wanted in ((v[:-1], (errno.EINVAL,)), (b'\3' + v[1:], (errno.EOPNOTSUPP,)),
                        (value((1, 7, none), (2, 4, BOB), (4, 5, none), (0x20, 0, none)), (errno.EINVAL,)),
                        (value((1, 7, none), *[(2, 4, 1000 + k) for k in range(600)], (4, 5, none), (0x10, 5, none),
                               (0x20, 0, none)), (errno.E2BIG, errno.ENOSPC))):
        try:
            os.setxattr(path, name, bad)
            raise AssertionError(f'a bad ACL of {len(bad)} bytes was taken')
        except OSError as e:
            assert e.errno in wanted, e
    try:
        os.setxattr(path, 'system.posix_acl_default', v)
        raise AssertionError('a default ACL on a file was taken')
    except OSError as e:
        assert e.errno == errno.EACCES, e
    many = value((1, 6, none), *[(2, 4, 1000 + k) for k in range(507)], (4, 4, none), (0x10, 4, none), (0x20, 0, none))
    os.setxattr(path, name, many)
    assert os.getxattr(path, name) == many


def test(work):
    tally.require_fuse()
    if not AS_ROOT:
        raise Skip('needs root, to be several users')
    if not shutil.which('setfacl'):
        raise Skip('setfacl (package acl) is not there')
    image = os.path.join(work, 'image')
    tally.mkfs(image)
    with Mount(image, os.path.join(work, 'mnt')) as m:
        os.chmod(m.mountpoint, 0o755)
        access(m)
        inheritance(m)
        who_may(m)
        kept = tally.run(['getfacl', '-R', '-n', '-p', '.'], cwd=m.mountpoint).stdout
        assert 'default:' in kept
    tally.fsck(image)
    with Mount(image, os.path.join(work, 'mnt')) as m:
        assert tally.run(['getfacl', '-R', '-n', '-p', '.'], cwd=m.mountpoint).stdout == kept
        # a copy with them is the same
        os.mkdir(m / 'copy')
        tally.run(['cp', '-a', m / 'shared', m / 'copy/'])
        assert acl(m / 'copy/shared') == acl(m / 'shared')
    tally.fsck(image)


if __name__ == '__main__':
    tally.main(test)
