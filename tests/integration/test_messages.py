#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes wrong at a mount or unmount is one line with the cause and what to do, for root and for ordinary users, and
never one of fusermount3's or the kernel's words alone."""
import os, re, signal, subprocess, sys
import tally
from tally import M

USER = 'nobody'


class Place:
    """A user's folder with an image and a mount point; what runs there runs as the user (None: root)."""

    def __init__(self, work, bin_, user):
        self.home, self.bin, self.user = f'{work}/home-{user}', bin_, user
        os.makedirs(f'{self.home}/mnt')
        os.mkdir(f'{self.home}/full')
        with open(f'{self.home}/full/x', 'w'):
            pass
        for name in '', 'mnt', 'full':
            self.own(f'{self.home}/{name}')
        for name in 'a', 'b':
            self.own(tally.sized(f'{self.home}/{name}.img', 32 * M))
            self.says(0, '^$', 'mkfs.tallyfs', '-q', f'{name}.img')

    def own(self, path):
        if self.user:
            subprocess.run(['chown', f'{self.user}:', path], check=True)

    def become(self, argv):
        return ['setpriv', f'--reuid={self.user}', '--clear-groups', '--', *argv] if self.user else argv

    def says(self, want, pattern, program, *args):
        """Exit code, and all that is said: one line that fits the pattern, or none for '^$'."""
        r = tally.run(self.become([f'{self.bin}/{program}', *args]), cwd=self.home, want=want)
        said = (r.stdout + r.stderr).strip('\n')
        assert '\n' not in said and re.search(pattern, said), f'{program} {" ".join(args)}: {said!r} is not /{pattern}/'
        assert 'fusermount3:' not in said and 'Transport endpoint' not in said, said
        return said

    def holder(self):
        """A program that works in the mount point."""
        p = subprocess.Popen(self.become(['sh', '-c', 'cd mnt && echo ready && exec sleep 100']), cwd=self.home,
                             stdout=subprocess.PIPE)
        assert p.stdout.readline() == b'ready\n'
        return p

    def kill_daemon(self):
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{pid}/cmdline', 'rb') as f:
                    args = f.read().split(b'\0')
                if args[0] == f'{self.bin}/tallyfs'.encode() and os.readlink(f'/proc/{pid}/cwd') in (self.home, '/') and b'a.img' in args:
                    os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass


def everybody(p):
    """What is alike for root and users."""
    mnt = f'{p.home}/mnt'
    p.says(0, r'^tallyfs: full: is not empty; what is in it cannot be seen until', 'tallyfs', 'b.img', 'full')
    p.says(0, '^$', 'tallyctl', 'umount', 'full')
    p.says(0, '^$', 'tallyfs', 'a.img', 'mnt')
    for program, args in (('tallyfs', ('a.img', 'full')), ('fsck.tallyfs', ('-n', 'a.img')), ('tallydump', ('a.img', 'ls'))):
        p.says((1, 8), rf'a.img: in use: it is mounted at {mnt}; unmount it', program, *args)
    h = p.holder()
    p.says(1, rf'^tallyctl: {mnt}: in use: sleep \(process {h.pid}\) works in it; end it first$', 'tallyctl', 'umount', 'mnt')
    h.kill()
    h.wait()
    p.kill_daemon()
    tally.wait_for(lambda: not os.path.ismount(mnt) or tally.run(['stat', mnt], want=None).returncode, 'the daemon gone')
    ended = 'the daemon that served it has ended; tallyctl umount'
    for program, args in (('tallyctl', ('status', 'mnt')), ('tallyctl', ('sync', 'mnt')), ('tallyctl', ('extents', 'mnt/x')),
                          ('fsck.tallyfs', ('-n', 'mnt/x')), ('tallydump', ('mnt/x', 'ls')), ('mkfs.tallyfs', ('mnt/x', '30M')),
                          ('tallyfs', ('mnt/x', 'full'))):
        p.says((1, 8), ended, program, *args)
    p.says(1, f'{ended}|mounted there already; tallyctl umount', 'tallyfs', 'b.img', 'mnt')
    p.says(0, '^$', 'tallyctl', 'umount', 'mnt/')  # as it is named, not by its whole path
    assert not tally.mounted(mnt)


def ordinary(p, work):
    os.mkdir(f'{p.home}/roots')
    os.chmod(f'{p.home}/b.img', 0o444)
    subprocess.run(['chown', 'root', f'{p.home}/b.img'], check=True)
    p.says(1, r'^tallyfs: b.img: may be read, but not written: mount it with -o ro$', 'tallyfs', 'b.img', 'mnt')
    p.says(8, r'^fsck.tallyfs: b.img: may be read, but not written: -n', 'fsck.tallyfs', '-p', 'b.img')
    p.says(1, r'^mkfs.tallyfs: b.img: you may not write to it$', 'mkfs.tallyfs', '-f', 'b.img')
    p.says(0, r'^$', 'tallyfs', '-o', 'ro', 'b.img', 'mnt')
    p.says(1, r'a.img: cannot mount at mnt: \S*/b.img is mounted there already; tallyctl umount', 'tallyfs', 'a.img', 'mnt')
    p.says(0, '^$', 'tallyctl', 'umount', 'mnt')
    p.says(1, r'a.img: cannot mount at roots: you may not write to that directory', 'tallyfs', 'a.img', 'roots')
    if not any(line.strip() == 'user_allow_other' for line in open('/etc/fuse.conf')):
        p.says(1, r'cannot mount at mnt: users may give allow_other only', 'tallyfs', '-o', 'allow_other', 'a.img', 'mnt')
    tally.run([f'{p.bin}/tallyfs', 'a.img', 'mnt'], cwd=p.home)
    p.says(1, r'/mnt: mounted by another user; only that user or root', 'tallyctl', 'umount', 'mnt')
    tally.run([f'{p.bin}/tallyctl', 'umount', 'mnt'], cwd=p.home)
    os.chmod('/dev/fuse', 0o600)  # of this namespace only
    p.says(1, r'cannot mount at mnt: /dev/fuse may not be opened by this user; root can', 'tallyfs', 'a.img', 'mnt')
    os.chmod(f'{p.home}/a.img', 0)
    subprocess.run(['chown', 'root', f'{p.home}/a.img'], check=True)
    p.says(1, r'^tallyfs: a.img: Permission denied: it, or a directory', 'tallyfs', 'a.img', 'mnt')


def test(work):
    tally.require_fuse()
    if sys.argv[1:] == ['--ordinary-user']:
        p = Place(work, tally.let_users_mount(work), USER)
        everybody(p)
        ordinary(p, work)
        return
    if not tally.AS_ROOT:
        raise tally.Skip('needs root, and becomes an ordinary user')
    everybody(Place(work, tally.BIN, None))
    tally.in_own_namespace(__file__, '--ordinary-user')


tally.main(test)
