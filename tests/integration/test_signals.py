#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SIGTERM and Ctrl-C end a daemon cleanly, root's and an ordinary user's, foreground and background, idle and busy:
unmounted, closed, and what was written before the signal is there.  A second signal ends a wait."""
import os, pwd, signal, subprocess, sys, time
import tally
from tally import M

USER = 'nobody'


class Served:
    """An image that a daemon serves, in a folder of its own."""

    def __init__(self, work, user, background, env=None):
        self.user, self.background = user, background
        self.home = f'{work}/{user}-{"back" if background else "fore"}-{time.monotonic_ns()}'
        self.mnt, self.image = f'{self.home}/mnt', f'{self.home}/image'
        os.makedirs(self.mnt)
        self.own(self.home, self.mnt)
        bin_ = f'{work}/bin' if user != 'root' else tally.BIN
        tally.sized(self.image, 64 * M)
        self.own(self.image)
        tally.run(self.become([f'{bin_}/mkfs.tallyfs', '-q', self.image]))
        self.log = f'{self.home}/log'
        with open(self.log, 'wb') as log:
            self.daemon = subprocess.Popen(self.become([f'{bin_}/tallyfs'] + ([] if background else ['-f']) +
                                                       [self.image, self.mnt]),
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=env)
        tally.wait_for(lambda: tally.mounted(self.mnt), 'mounted')
        if background:
            assert self.daemon.wait(30) == 0

    def own(self, *paths):
        who = pwd.getpwnam(self.user)
        for path in paths:
            os.chown(path, who.pw_uid, who.pw_gid)

    def become(self, argv):
        return argv if self.user == 'root' else ['setpriv', f'--reuid={self.user}', '--clear-groups', '--'] + argv

    def daemons(self):
        """Whoever runs tallyfs on this image (not the shell or setpriv before it)."""
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{pid}/cmdline', 'rb') as f:
                    args = f.read().split(b'\0')
            except OSError:
                continue
            if args[0].endswith(b'/tallyfs') and self.mnt.encode() in args:
                found.append(int(pid))
        return found

    def sh(self, script):
        return tally.run(self.become(['sh', '-c', script, '-', self.mnt]))

    def busy(self):
        """Somebody works in it and has a file open that he has written to: it is in the kernel's cache only."""
        script = ('import os, sys, time; f = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY); os.write(f, b"held" * 2500000);'
                  'print("ready", flush=True); time.sleep(60)')
        p = subprocess.Popen(self.become(['python3', '-c', script, f'{self.mnt}/open']), stdout=subprocess.PIPE)
        assert p.stdout.readline() == b'ready\n'
        return p

    def signal_and_check(self, sig, busy):
        self.sh('mkdir "$1/d" && echo precious >"$1/d/file" && dd if=/dev/zero of="$1/zeros" bs=1M count=8 2>/dev/null')
        holder = self.busy() if busy else None
        pid, = self.daemons()
        os.kill(pid, sig)
        tally.wait_for(lambda: not self.daemons(), 'the daemon gone after the signal', 60)
        if not self.background:
            code = self.daemon.wait(30)
            assert code == 0, f'the daemon exited {code}:\n{self.said()}'
            assert ('detached' in self.said()) == busy, self.said()
        assert not tally.mounted(self.mnt), f'still mounted after signal {sig}'
        if holder:
            holder.kill()
            holder.wait()
        tally.fsck(self.image)
        r = tally.run([tally.tool('tallydump'), self.image, 'cat', '/d/file'])
        assert r.stdout == 'precious\n', r
        if busy:
            r = tally.run([tally.tool('tallydump'), self.image, 'cat', '/open'])
            assert r.stdout == 'held' * 2500000, f'of what a busy program had written {len(r.stdout)} bytes are there'

    def said(self):
        with open(self.log, errors='replace') as f:
            return f.read()


def all_ways(work, user):
    for background in (False, True):
        for sig, busy in ((signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, False)):
            Served(work, user, background).signal_and_check(sig, busy)
    print(f'{user}: SIGTERM and SIGINT, foreground and background, idle and busy')


def second_signal(work):
    """While the one that unmounts hangs the daemon goes on serving; a second signal ends the daemon."""
    hangs = f'{work}/hangs'
    os.mkdir(hangs)
    with open(f'{hangs}/fusermount3', 'w') as f:
        f.write('#!/bin/sh\nexec sleep 20\n')
    os.chmod(f'{hangs}/fusermount3', 0o755)
    s = Served(work, USER, False, dict(os.environ, PATH=f'{hangs}:{os.environ["PATH"]}'))
    s.sh('echo precious >"$1/file"')
    os.kill(s.daemons()[0], signal.SIGTERM)
    tally.wait_for(lambda: 'unmounting' in s.said(), 'the signal taken')
    s.sh('grep -q precious "$1/file" && echo more >"$1/file2" && sync "$1/file2"')
    os.kill(s.daemons()[0], signal.SIGTERM)
    assert s.daemon.wait(60) == 0, s.said()
    tally.detach(s.mnt)
    tally.fsck(s.image)
    r = tally.run([tally.tool('tallydump'), s.image, 'cat', '/file2'])
    assert r.stdout == 'more\n', r
    print('a second signal ends a wait')


def test(work):
    tally.require_fuse()
    if sys.argv[1:] == ['--ordinary-user']:
        tally.let_users_mount(work)
        all_ways(work, USER)
        second_signal(work)
        return
    tally.in_own_namespace(__file__, '--ordinary-user')
    all_ways(work, 'root')


tally.main(test)
