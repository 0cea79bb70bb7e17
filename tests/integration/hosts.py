# SPDX-License-Identifier: GPL-2.0-or-later
"""Small file systems for images to lie on."""
import os, shutil, subprocess
import tally
from tally import K, M, Mount

HOST = int(os.environ.get("HOSTSIZE", "40")) * M


class Host:
    """A small file system, mounted."""
    def __init__(self, work, kind, mkfs=(), options=()):
        self.kind, self.path, self.loop = kind, f'{work}/host-{kind}', None
        os.makedirs(self.path, exist_ok=True)
        if kind == 'tmpfs':
            self.mount('-t', 'tmpfs', '-o', f'size={HOST}', 'tmpfs')
            return
        disk = tally.sized(f'{work}/disk', HOST)
        if not shutil.which(f'mkfs.{kind}'):
            raise tally.Skip(f'no mkfs.{kind} here')
        tally.run([f'mkfs.{kind}', '-q', *(['-m0'] if kind == 'ext4' else []), *mkfs, disk])
        self.loop = tally.Loop(disk)
        self.mount(*options, self.loop.device)

    def mount(self, *args):
        r = subprocess.run(['mount', *args, self.path], capture_output=True, text=True)
        if r.returncode:
            raise tally.Skip(f'{self.kind} cannot be mounted here: {r.stderr.strip()}')

    def free(self):
        st = os.statvfs(self.path)
        return st.f_bavail * st.f_frsize

    def fill(self, leave=0):
        """Somebody else takes all but @leave bytes."""
        try:
            fd = os.open(f'{self.path}/ballast', os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        except OSError: # not even that
            return
        try:
            while self.free() > leave:
                os.write(fd, bytes(min(1 * M, max(4 * K, self.free() - leave))))
        except OSError:
            pass
        os.close(fd)

    def empty(self):
        if os.path.exists(f'{self.path}/ballast'):
            os.unlink(f'{self.path}/ballast')

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        for m in list(Mount.live):
            m.kill()
        subprocess.run(['umount', self.path], check=not kind)
        if self.loop:
            self.loop.detach()
