# SPDX-License-Identifier: GPL-2.0-or-later
"""What the integration tests share: run a program with a time-out, make an image, serve it, clean up whatever happens.

A test is a script that ends with  tally.main(function).  The function gets a scratch folder; it raises AssertionError
(or anything else) to fail and Skip to be skipped.  Exit code: 0 passed, 1 failed, 77 skipped.

Environment: BIN the programs (default build/release/bin), SEED for what is random (printed, so that a failure can be
run again), LONG=1 for full sizes, N to choose a repeat count.
"""
import atexit, hashlib, os, random, re, shutil, signal, stat, subprocess, sys, tempfile, time, traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get('BIN', os.path.join(ROOT, 'build/release/bin'))
LONG = os.environ.get('LONG', '') not in ('', '0')
ASAN = '/asan/' in BIN + '/'
AS_ROOT = os.geteuid() == 0
K, M, G = 1 << 10, 1 << 20, 1 << 30


class Skip(Exception):
    pass


def tool(name):
    return os.path.join(BIN, name)


def count(default, full):
    """How often to repeat: N of the environment, else the full figure with LONG, else the small default."""
    return int(os.environ.get('N', full if LONG else default))


def seeded():
    seed = int(os.environ.get('SEED', random.SystemRandom().randrange(1 << 32)))
    print(f'seed: SEED={seed}')
    return random.Random(seed)


def run(argv, timeout=120, want=0, cwd=None, stdin=None):
    """Run to the end; fail on a time-out, on death by signal, and (unless want is None) on another exit code."""
    argv = [str(a) for a in argv]
    try:
        r = subprocess.run(argv, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=timeout, cwd=cwd)
    except subprocess.TimeoutExpired:
        raise AssertionError(f'hung for {timeout} s: {" ".join(argv)}')
    r.stdout = r.stdout.decode(errors='replace')
    r.stderr = r.stderr.decode(errors='replace')
    wanted = want if isinstance(want, (tuple, list, set)) else (want,)
    if r.returncode < 0 or (want is not None and r.returncode not in wanted):
        raise AssertionError(f'exit {r.returncode}, wanted {want}: {" ".join(argv)}\n{r.stdout[-3000:]}{r.stderr[-3000:]}')
    return r


def sized(path, size):
    with open(path, 'wb') as f:
        f.truncate(size)
    return path


def mkfs(path, size=64 * M, *options, want=0):
    if size:
        sized(path, size)
    return run([tool('mkfs.tallyfs'), '-q', *options, path], want=want)


def fsck(image, *options, want=0, timeout=600):
    return run([tool('fsck.tallyfs'), '-n', *(options or ('--verify-data',)), image], want=want, timeout=timeout)


def require_fuse():
    try:
        os.close(os.open('/dev/fuse', os.O_RDWR))
    except OSError as e:
        raise Skip(f'/dev/fuse cannot be opened here ({e.strerror})')


def mounted(mountpoint):
    with open('/proc/self/mountinfo') as f:
        return any(line.split()[4] == mountpoint for line in f)


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'not within {seconds} s: {what}')
        time.sleep(0.02)


def detach(mountpoint):
    """Unmount by any means; for clean-up only."""
    for argv in (['umount', '-i', mountpoint], ['fusermount3', '-u', '-q', mountpoint], ['umount', '-i', '-l', mountpoint],
                 ['fusermount3', '-u', '-z', '-q', mountpoint]):
        if not mounted(mountpoint):
            return
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)


class Refused(AssertionError):
    """The daemon ended, with an exit code and a message, before it had mounted."""


class Mount:
    """An image served by a daemon in the foreground, so that its pid, log and exit code are known."""
    live = []

    def __init__(self, image, mountpoint, options='', user=None, before=()):
        self.image, self.mountpoint = str(image), str(mountpoint)
        os.makedirs(self.mountpoint, exist_ok=True)
        self.logname = self.mountpoint.rstrip('/') + '.log'
        argv = [tool('tallyfs'), '-f', self.image, self.mountpoint] + (['-o', options] if options else [])
        if user:
            argv = ['runuser', '-u', user, '--'] + argv
        argv = list(before) + argv
        with open(self.logname, 'ab') as log:
            self.daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.pid = self.daemon.pid
        Mount.live.append(self)
        wait_for(lambda: mounted(self.mountpoint) or self.daemon.poll() is not None, f'{image} mounted', 60)
        code = self.daemon.poll()
        if code is not None:
            Mount.live.remove(self)
            raise (Refused if code > 0 else AssertionError)(f'tallyfs exited {code} instead of mounting:\n{self.log()}')
        run(['stat', '-f', self.mountpoint], timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        if kind:
            self.kill()
        elif self in Mount.live:
            self.umount()

    def __truediv__(self, name):
        return os.path.join(self.mountpoint, name)

    def log(self):
        with open(self.logname, errors='replace') as f:
            return f.read()[-6000:]

    def umount(self, timeout=120):
        """The clean way: unmount, then wait for the daemon, which must exit 0."""
        if AS_ROOT:
            run(['umount', '-i', self.mountpoint], timeout=timeout)
        else:
            run(['fusermount3', '-u', self.mountpoint], timeout=timeout)
        self.wait(timeout)

    def wait(self, timeout=120):
        try:
            code = self.daemon.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'the daemon is still there {timeout} s after unmounting:\n{self.log()}')
        Mount.live.remove(self)
        assert code == 0, f'the daemon exited {code} after unmounting:\n{self.log()}'

    def kill(self, leave_mounted=False):
        """kill -9: what a crash of the daemon leaves."""
        if self in Mount.live:
            Mount.live.remove(self)
        if self.daemon.poll() is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.daemon.wait(30)
        if not leave_mounted:
            detach(self.mountpoint)

    def status(self, field):
        with open(f'/proc/{self.pid}/status') as f:
            return int(re.search(rf'^{field}:\s+(\d+) kB', f.read(), re.M)[1]) * K


class Loop:
    """A loop device over an image file."""
    live = []

    def __init__(self, image):
        if not AS_ROOT:
            raise Skip('loop devices need root')
        r = subprocess.run(['losetup', '-f', '--show', image], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if r.returncode:
            raise Skip(f'no loop device to be had: {r.stderr.strip()}')
        self.device = r.stdout.strip()
        Loop.live.append(self)

    def detach(self):
        if self in Loop.live:
            Loop.live.remove(self)
            subprocess.run(['losetup', '-d', self.device], stderr=subprocess.DEVNULL)


def sha256(path):
    h = hashlib.sha256()
    with open(path, 'rb') as f:
        while chunk := f.read(1 << 20):
            h.update(chunk)
    return h.hexdigest()


def describe(top):
    """Everything a program can see of a tree, as {relative path: facts}; two equal trees give equal answers."""
    seen, links = {}, {}
    for folder, dirs, files in os.walk(top):
        dirs.sort()
        for name in sorted(dirs + files) + (['.'] if folder == top else []):
            path = os.path.join(folder, name)
            rel = os.path.relpath(path, top)
            st = os.lstat(path)
            kind = st.st_mode >> 12
            fact = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns, st.st_nlink]
            if kind == 0o10:
                fact += [st.st_size, sha256(path), links.setdefault(st.st_ino, rel)]
            elif kind == 0o12:
                fact += [os.readlink(path)]
            elif kind in (0o2, 0o6):
                fact += [st.st_rdev]
            if kind in (0o10, 0o4):
                fact += [sorted((k, os.getxattr(path, k)) for k in os.listxattr(path))]
            seen[rel] = fact
    return seen


def same(before, after):
    for path in sorted(before.keys() | after.keys()):
        assert before.get(path) == after.get(path), f'{path}: was {before.get(path)}, is {after.get(path)}'


def in_own_namespace(script, *args):
    """Run a test script again, in a mount namespace of its own; see let_users_mount()."""
    if not AS_ROOT:
        raise Skip('needs root')
    r = run(['unshare', '--mount', '--propagation', 'unchanged', sys.executable, '-B', script, *args], timeout=300)
    print(r.stdout, end='')


def let_users_mount(work):
    """In a mount namespace of one's own: /dev/fuse open to all, as Debian has it, and programs where all may run them.
    Returns the folder of these."""
    for top in ('/', '/dev'):              # in a chroot's folder only /dev may be a mount
        run(['mount', '--make-rprivate', top], want=None)
    os.mknod(f'{work}/fuse', 0o666 | stat.S_IFCHR, os.stat('/dev/fuse').st_rdev)
    os.chmod(f'{work}/fuse', 0o666)
    run(['mount', '--bind', f'{work}/fuse', '/dev/fuse'])
    shutil.copytree(BIN, f'{work}/bin', ignore=lambda d, names: [n for n in names if n.startswith(('test_', 'thr_'))])
    return f'{work}/bin'


def _clean(work):
    for m in list(Mount.live):
        try:
            m.kill()
        except Exception as e:
            print(f'clean-up: {e}')
    with open('/proc/self/mountinfo') as f:
        mine = [line.split()[4] for line in f if line.split()[4].startswith(work + '/')]
    for mountpoint in reversed(mine):
        detach(mountpoint)
    for loop in list(Loop.live):
        loop.detach()
    shutil.rmtree(work, ignore_errors=True)


def main(test):
    def stop(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, stop)
    for name in ('mkfs.tallyfs', 'tallyfs', 'fsck.tallyfs'):
        if not os.access(tool(name), os.X_OK):
            print(f'{tool(name)} is not there: build it first, or set BIN')
            sys.exit(1)
    work = os.path.realpath(tempfile.mkdtemp(prefix='tallyfs-test-'))
    os.chmod(work, 0o755)
    atexit.register(_clean, work)
    try:
        test(work)
    except Skip as e:
        print(f'SKIP: {e}')
        sys.exit(77)
    except KeyboardInterrupt:
        print('stopped')
        sys.exit(1)
    except AssertionError as e:
        at = traceback.extract_tb(e.__traceback__)
        where = next((f for f in reversed(at) if not f.filename.endswith('/tally.py')), at[-1])
        print(f'FAILED at {os.path.basename(where.filename)}:{where.lineno}: {e or where.line}')
        sys.exit(1)
