#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How administrators mount: mount -t tallyfs, fstab, umount that waits; image file and loop device (fuseblk); and an
ordinary user with an image of their own."""
import errno, os, pwd, shutil, sys
import tally
from tally import AS_ROOT, M, Loop, Mount

HELPERS = {'/sbin/mount.tallyfs': 'mount.tallyfs', '/sbin/umount.fuse.tallyfs': 'umount.fuse.tallyfs',
           '/sbin/umount.fuseblk.tallyfs': 'umount.fuse.tallyfs', '/sbin/mount.fuse.tallyfs': 'mount.tallyfs',
           '/sbin/mount.fuseblk.tallyfs': 'mount.tallyfs'}


class Installed:
    """mount(8) and umount(8) look for helpers in /sbin only; links are put there for the test's time."""

    def __enter__(self):
        self.made = []
        for path, name in HELPERS.items():
            if not os.path.lexists(path):
                os.symlink(tally.tool(name), path)
                self.made.append(path)

    def __exit__(self, *_):
        for path in self.made:
            os.unlink(path)


def mountinfo(mountpoint):
    with open('/proc/self/mountinfo') as f:
        for line in f:
            left, right = line.split(' - ')
            if left.split()[4] == mountpoint:
                return right.split()[0], right.split()[1], left.split()[5] + ',' + right.split()[2]
    return None


def closed(image, after):
    """Nobody holds the image: fsck, which takes the lock, gets it at once."""
    r = tally.fsck(image, want=None)
    assert r.returncode == 0, f'after {after}: fsck exit {r.returncode}: {r.stdout}{r.stderr}'


def by_mount(source, mnt, fstype):
    def use(*mount):
        tally.run(mount)
        info = mountinfo(mnt)
        assert info and info[0] == fstype, f'{" ".join(mount)}: mounted as {info}, {fstype} expected'
        assert info[1] == source, f'the source is shown as {info[1]}, not {source}'
        return info

    def unmount(*argv):
        tally.run(argv)
        assert not tally.mounted(mnt)
        closed(source, ' '.join(argv))

    use('mount', '-t', 'tallyfs', source, mnt)
    with open(f'{mnt}/file', 'wb') as f:
        f.write(os.urandom(20 * M))
    digest = tally.sha256(f'{mnt}/file')
    unmount('umount', mnt)
    info = use('mount', '-t', 'tallyfs', '-o', 'ro,nofail,_netdev,x-something=1,noatime', source, mnt)
    assert 'ro' in info[2].split(','), info
    assert tally.sha256(f'{mnt}/file') == digest, 'what was written before umount is not there after it'
    unmount('umount', mnt)
    fstab = mnt + '.fstab'

    def allowed(*mount):
        words = use(*mount)[2].split(',')
        unmount('umount', mnt)
        return [w for w in ('suid', 'dev') if 'no' + w not in words]

    # mount(8) keeps suid and dev to itself: without a word they are what every type does
    for options, wanted in (('defaults', ['suid', 'dev']), ('suid,dev', ['suid', 'dev']), ('nosuid,nodev', []),
                            ('nosuid', ['dev']), ('nodev,noexec', ['suid']), ('suid,dev,nosuid,nodev', [])):
        with open(fstab, 'w') as f:
            f.write(f'{source} {mnt} tallyfs {options} 0 0\n')
        for mount in (('mount', '-t', 'tallyfs', '-o', options, source, mnt), ('mount', '-T', fstab, mnt)):
            got = allowed(*mount)
            assert got == wanted, f'{" ".join(mount)} ({options}): allows {got}, not {wanted}'
    with open(fstab, 'w') as f:
        f.write(f'{source} {mnt} tallyfs defaults,nofail,x-systemd.automount,commit=1 0 2\n')
    use('mount', '-T', fstab, mnt)
    with open(f'{mnt}/file2', 'wb') as f:
        f.write(b'fstab')
    r = tally.run(['mount', '-t', 'tallyfs', source, mnt], want=None)
    assert r.returncode == 32, f'mounting what is served: exit {r.returncode}, 32 expected\n{r.stderr}'
    unmount('umount', mnt)
    use(tally.tool('mount.tallyfs'), source, mnt, '-o', 'rw')
    with open(f'{mnt}/file2', 'rb') as f:
        assert f.read() == b'fstab'
    unmount(tally.tool('umount.fuse.tallyfs'), mnt)
    r = tally.run([tally.tool('mount.tallyfs'), '-f', source, mnt])
    assert not tally.mounted(mnt), 'mount.tallyfs -f (fake) mounted'


def remounts(work, source, image, mnt):
    """Read-only and back, by mount(8) and the helper: nobody writes any more, and what was written is on the image."""
    helper = (tally.tool('mount.tallyfs'), source, mnt)

    def flags():
        return set(mountinfo(mnt)[2].split(','))

    tally.run(['mount', '-t', 'tallyfs', '-o', 'commit=300', source, mnt])
    ways = [('mount', '-o', 'remount,{}', mnt), (*helper, '-o', 'remount,{}')]
    if mountinfo(mnt)[0] == 'fuseblk.tallyfs':
        ways.append(('mount', '-i', '-o', 'remount,{}', mnt))   # the kernel alone, which syncs a block device
    for n, way in enumerate(ways):
        data = os.urandom(3 * M + n)
        with open(f'{mnt}/way{n}', 'wb') as f:
            f.write(data)
            r = tally.run([a.format('ro') for a in way], want=32)
            assert '-i' in way or 'open for writing' in r.stderr, r.stderr
            assert 'ro' not in flags()
        if 'No changes allowed in reconfigure' in r.stderr:
            # a newer mount(8) asks by fsconfig(2), which no FUSE mount allows: without its helper there is no way then
            print('    the kernel alone is not asked: this mount(8) can\'t', flush=True)
            os.unlink(f'{mnt}/way{n}')
            continue
        tally.run([a.format('ro') for a in way])
        assert 'ro' in flags(), flags()
        try:
            open(f'{mnt}/no', 'wb')
            raise AssertionError('something was written to a read-only mount')
        except OSError as e:
            assert e.errno == errno.EROFS, e
        # all of it is there, whatever happens to the daemon now
        shutil.copyfile(image, f'{work}/copy')
        tally.fsck(f'{work}/copy')
        with Mount(f'{work}/copy', f'{work}/copied', 'ro') as m, open(m / f'way{n}', 'rb') as f:
            assert f.read() == data, f'{way}: not all was on the image'
        tally.run([a.format('rw') for a in way])
        assert 'rw' in flags() and 'ro' not in flags(), flags()
        os.unlink(f'{mnt}/way{n}')
    # other flags; what is not named stays
    tally.run(['mount', '-o', 'remount,nosuid,noexec', mnt])
    assert {'rw', 'nosuid', 'noexec', 'noatime'} <= flags() and 'nodev' not in flags(), flags()
    tally.run([*helper, '-o', 'remount,ro,nodev'])
    assert {'ro', 'nosuid', 'noexec', 'nodev', 'noatime'} <= flags(), flags()
    tally.run([*helper, '-o', 'remount,ro,suid,exec,dev'])
    assert 'ro' in flags() and not {'nosuid', 'noexec', 'nodev'} & flags(), flags()
    tally.run([*helper, '-f', '-o', 'remount,rw'])
    assert 'ro' in flags(), '-f (fake) remounted'
    tally.run(['umount', mnt])
    # the daemon that has opened its image for reading can't write
    tally.run(['mount', '-t', 'tallyfs', '-o', 'ro', source, mnt])
    for way in ways[:2]:
        r = tally.run([a.format('rw') for a in way], want=32)
        assert 'was mounted read-only' in r.stderr and 'ro' in flags(), r.stderr
    tally.run([*helper, '-o', 'remount,ro'])
    tally.run(['umount', mnt])
    r = tally.run([*helper, '-o', 'remount,ro'], want=32)
    assert 'no tallyfs is mounted there' in r.stderr, r.stderr
    closed(image, 'remounts')


def sync_through_fuseblk(work):
    """On fuseblk syncfs(2) reaches the daemon: what was written before it survives kill -9."""
    image, mnt = f'{work}/sync.img', f'{work}/sync'
    tally.mkfs(image, 128 * M)
    loop = Loop(image)
    m = Mount(loop.device, mnt, 'commit=300')
    with open(m / 'file', 'wb') as f:
        f.write(b'synced' * 10000)
    tally.run(['sync', '-f', mnt])
    m.kill()
    with Mount(loop.device, mnt) as m:
        with open(m / 'file', 'rb') as f:
            assert f.read() == b'synced' * 10000, 'syncfs on fuseblk did not make the file durable'
    loop.detach()


def refused(source, mnt, *options):
    r = tally.run([tally.tool('tallyfs'), source, mnt, *options], want=1)
    assert 'in use' in r.stderr and not tally.mounted(mnt), r.stderr
    return r.stderr


def file_and_loop_device(work):
    """An image file and a loop device of it are one image: on a disk, and inside of a tallyfs."""
    outer, other = f'{work}/outer', f'{work}/other'
    os.mkdir(other)
    tally.mkfs(f'{outer}.img', 256 * M)
    with Mount(f'{outer}.img', outer):
        for image in (f'{work}/twice.img', f'{outer}/inner.img'):
            tally.mkfs(image, 64 * M)
            loop = Loop(image)
            with Mount(image, f'{work}/twice') as m:
                said = refused(loop.device, other)
                assert f'process {m.pid} ' in said, f'who has it is not named: {said}'
                refused(loop.device, other, '-o', 'ro')
                tally.run([tally.tool('mkfs.tallyfs'), '-q', '-f', loop.device], want=1)
                tally.run([tally.tool('fsck.tallyfs'), '-p', loop.device], want=8)
            with Mount(loop.device, f'{work}/twice') as m:
                said = refused(image, other)
                assert f'process {m.pid} ' in said, f'who has it is not named: {said}'
            closed(image, 'a mount of its loop device')
            loop.detach()
    print('an image file and its loop device: never both')


def ordinary_user(work):
    user, home = 'nobody', f'{work}/user'
    tally.let_users_mount(work)
    os.mkdir(home)
    image, mnt = f'{home}/own.img', f'{home}/mnt'
    os.mkdir(mnt)
    owner = pwd.getpwnam(user)
    tally.sized(image, 64 * M)
    for path in (home, mnt, image):
        os.chown(path, owner.pw_uid, owner.pw_gid)

    def as_user(program, *args, want=0):
        path = f'{work}/bin/{program}'
        return tally.run(['runuser', '-u', user, '--', path if os.path.exists(path) else program, *args], want=want)

    as_user('mkfs.tallyfs', '-q', image)
    for options in ('suid', 'dev', 'suid,dev'):
        r = as_user('tallyfs', '-o', options, image, mnt, want=1)
        assert 'only root can mount with suid or dev' in r.stderr and not tally.mounted(mnt), r.stderr
    as_user('tallyfs', image, mnt)
    assert {'nosuid', 'nodev'} <= set(mountinfo(mnt)[2].split(',')), mountinfo(mnt)
    as_user('sh', '-c', 'mkdir "$1/d" && echo mine >"$1/d/f" && ln -s f "$1/d/l" && cat "$1/d/l"', '-', mnt)
    assert not os.access(mnt, os.R_OK), 'another user, root, can look into the mount without allow_other'
    as_user('tallyctl', 'status', mnt)
    as_user('fusermount3', '-u', mnt)
    tally.wait_for(lambda: tally.fsck(image, want=None).returncode == 0, 'the image closed after fusermount3 -u')
    as_user('tallyfs', image, mnt)
    assert as_user('cat', f'{mnt}/d/f').stdout == 'mine\n'
    as_user('tallyctl', 'umount', mnt)
    closed(image, 'tallyctl umount as an ordinary user')
    as_user('tallyfs', image, mnt)
    as_user('umount.fuse.tallyfs', mnt)
    closed(image, 'umount.fuse.tallyfs as an ordinary user')
    print('ordinary user: own image made, mounted, used, unmounted three ways, checked')


def test(work):
    tally.require_fuse()
    if not AS_ROOT:
        raise tally.Skip('needs root for mount(8) and loop devices')
    if sys.argv[1:] == ['--ordinary-user']:
        ordinary_user(work)
        return
    tally.in_own_namespace(__file__, '--ordinary-user')
    mnt = f'{work}/mnt'
    os.mkdir(mnt)
    with Installed():
        image = f'{work}/image'
        tally.mkfs(image, 256 * M)
        by_mount(image, mnt, 'fuse.tallyfs')
        remounts(work, image, image, mnt)
        print('image file: mount -t, fstab, remount and umount work')
        loop = Loop(image)
        tally.mkfs(loop.device, 0, '-f')
        by_mount(loop.device, mnt, 'fuseblk.tallyfs')
        remounts(work, loop.device, image, mnt)
        loop.detach()
        print('loop device: mounted as fuseblk; mount -t, fstab, remount and umount work')
    sync_through_fuseblk(work)
    file_and_loop_device(work)


tally.main(test)
