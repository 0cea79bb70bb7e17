#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system that stays full: fill, delete some, overwrite, fsync, remount, at 99 to 100 % used.

Held against a model all along: deleting, truncating, punching, and overwriting what is written, preallocated and not
shared never fail; all else fails with ENOSPC only, and then has changed nothing (with the kernel's write-back cache:
each block or page of it is old or new, and fsync or close has said so); content, names and attributes are the model's after each
remount; fsck finds nothing; statfs makes sense.

LONG=1: 200 rounds for each configuration, checked after each.  N= rounds, SEED=.
"""
import errno, json, mmap, multiprocessing, os, random, time
import tally
from tally import K, LONG, M, Mount

# block size, image, mount options
CONFIGS = (('4K', 24 * M, 'no_writeback_cache'), ('4K', 32 * M, 'writeback_cache'),
           ('1K', 12 * M, 'writeback_cache,cache_size=1M'), ('1K', 16 * M, 'no_writeback_cache'),
           ('64K', 96 * M, 'writeback_cache,cache_size=2M'))
FULL = 0.99
KEPT = ('pre', 'over', 'last')  # files that stay


class Failed(AssertionError):
    pass


class File:
    """What a regular file must hold, and to which of its blocks overwriting is promised."""
    def __init__(self, data=b''):
        self.data = bytearray(data)
        self.own = False   # every block of it is there and its own: overwriting may not fail
        self.xattrs = {}


class World:
    def __init__(self, m, rng, block, writeback):
        self.m, self.rng, self.block, self.writeback = m, rng, block, writeback
        self.files, self.dirs, self.links = {}, [], {}
        self.serial = 0
        self.refused = self.overwritten = 0

    def path(self, name):
        return os.path.join(self.m.mountpoint, name)

    def name(self, prefix):
        self.serial += 1
        folder = self.rng.choice(self.dirs) + '/' if self.dirs and self.rng.random() < 0.7 else ''
        return f'{folder}{prefix}{self.serial}' + 'x' * self.rng.choice((0, 0, 20, 200))

    # ---- errors ----

    def must(self, what, call, *args, **more):
        """What may not fail."""
        try:
            return call(*args, **more)
        except OSError as e:
            st = os.statvfs(self.m.mountpoint)
            raise Failed(f'{what}: {errno.errorcode.get(e.errno)} (free {st.f_bfree}, available {st.f_bavail} of '
                         f'{st.f_blocks})\n{status(self.m)}\n{self.m.log()}')

    def always(self, what, call, *args, **more):
        return True, self.must(what, call, *args, **more)

    def may(self, what, call, *args, **more):
        """What may fail for space, and for nothing else.  (done, result)"""
        try:
            return True, call(*args, **more)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise Failed(f'{what}: {errno.errorcode.get(e.errno)} instead of ENOSPC\n{self.m.log()}')
            self.refused += 1
            return False, None

    # ---- content ----

    def write(self, name, pos, data, must):
        """pwrite, fsync, close.  True if all of it is there."""
        f = self.files[name]
        what = f'write of {len(data)} at {pos} of {name} ({len(f.data)} bytes)'
        attempt = self.always if must else self.may
        fd = self.must(f'open {name}', os.open, self.path(name), os.O_RDWR)
        done, ok = 0, True
        while done < len(data) and ok:
            ok, n = attempt(what, os.pwrite, fd, data[done:], pos + done)
            done += n if ok else 0
        old = bytes(f.data)
        if done:
            f.data.extend(bytes(max(0, pos + done - len(f.data))))
            f.data[pos:pos + done] = data[:done]
        if self.writeback or self.rng.random() < 0.5:
            attempt = self.always if must or not self.writeback else self.may
            synced, _ = attempt(f'fsync after {what}', os.fsync, fd)
            if not synced:
                ok = False
                self.adopt(name, fd, old)
        attempt(f'close after {what}', os.close, fd)
        return ok

    def adopt(self, name, fd, old):
        """
        After an error of fsync: back to the old length; each block must be the old one or the new one.  (The kernel may
        send a larger one in several requests, of which one is refused and another not: then each page.)
        """
        f, new, unit = self.files[name], bytes(self.files[name].data), min(self.block, 4 * K)
        self.must(f'truncate {name} after ENOSPC', os.ftruncate, fd, len(old))
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        got = self.must(f'read {name}', read_all, fd)
        assert len(got) == len(old), f'{name}: {len(got)} bytes, truncated to {len(old)}'
        for at in range(0, len(old), unit):
            end = at + unit
            assert got[at:end] in (old[at:end], new[:len(old)][at:end]), f'{name}: block at {at} is neither old nor new'
        f.data = bytearray(got)

    def random_range(self, size, most):
        n = min(self.rng.choice((1, 100, self.block, 5 * self.block, self.rng.randrange(1, most))), size)
        pos = self.rng.randrange(size - n + 1)
        return (pos // self.block * self.block if self.rng.random() < 0.5 else pos), n

    def overwrite(self, name, must):
        size = len(self.files[name].data)
        if size:
            pos, n = self.random_range(size, 200 * K)
            self.write(name, pos, self.rng.randbytes(n), must)

    def map_and_overwrite(self, name):
        f = self.files[name]
        pos, n = self.random_range(len(f.data), 100 * K)
        data = self.rng.randbytes(n)
        fd = os.open(self.path(name), os.O_RDWR)
        with mmap.mmap(fd, len(f.data)) as mm:
            mm[pos:pos + n] = data
            self.must(f'msync of {name}', mm.flush)
        self.must(f'fsync of {name} after msync', os.fsync, fd)
        self.must(f'close of {name} after msync', os.close, fd)
        f.data[pos:pos + n] = data

    # ---- what takes space ----

    def create(self, prefix='f'):
        name = self.name(prefix)
        ok, fd = self.may(f'create {name}', os.open, self.path(name), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        if not ok:
            return None
        self.must(f'close {name}', os.close, fd)
        self.files[name] = File()
        return name

    def add_data(self):
        name = self.create()
        return name and self.write(name, 0, self.rng.randbytes(self.rng.choice((4, 60, 200, 700)) * K + 17), False)

    def add_small(self):
        name = self.create('s')
        return name and self.write(name, 0, self.rng.randbytes(self.rng.randrange(1, 1500)), False)

    def add_sparse(self):
        """Every other block."""
        name = self.create('h')
        ok = bool(name)
        for i in range(20):
            ok = ok and self.write(name, 2 * i * self.block, self.rng.randbytes(self.block), False)
        return ok

    def add_allocated(self):
        name = self.create('p')
        if not name:
            return False
        fd = os.open(self.path(name), os.O_RDWR)
        size = self.rng.randrange(1, 300 * K)
        ok, _ = self.may(f'fallocate {name}', os.posix_fallocate, fd, 0, size)
        os.close(fd)
        f = self.files[name]
        f.data = bytearray(os.stat(self.path(name)).st_size)
        assert len(f.data) == (size if ok else 0), f'{name}: {len(f.data)} bytes after fallocate of {size}: {ok}'
        f.own = ok
        return ok

    def add_dir(self):
        name = self.name('d')
        ok, _ = self.may(f'mkdir {name}', os.mkdir, self.path(name))
        if ok and len(self.dirs) < 20:
            self.dirs.append(name)
        elif ok:
            self.must(f'rmdir {name}', os.rmdir, self.path(name))
        return ok

    def add_xattr(self):
        if not self.files:
            return False
        name, value = self.rng.choice(list(self.files)), self.rng.randbytes(self.rng.choice((10, 1000, 3000)))
        key = f'user.{self.rng.randrange(4)}'
        ok, _ = self.may(f'setxattr {key} of {name}', os.setxattr, self.path(name), key, value)
        if ok:
            self.files[name].xattrs[key] = value
        return ok

    def add_symlink(self):
        name, target = self.name('l'), 't' * self.rng.randrange(1, 900)
        ok, _ = self.may(f'symlink {name}', os.symlink, target, self.path(name))
        if ok:
            self.links[name] = target
        return ok

    def rename(self):
        names = [n for n in self.files if n not in KEPT]
        if not names:
            return False
        old, new = self.rng.choice(names), self.name('r')
        ok, _ = self.may(f'rename {old} to {new}', os.rename, self.path(old), self.path(new))
        if ok:
            self.files[new] = self.files.pop(old)
        return ok

    def clone(self):
        """A copy that shares its blocks.  ENOSPC half way leaves a front part."""
        names = [n for n, f in self.files.items() if len(f.data) > 8 * self.block and n not in KEPT]
        if not names:
            return False
        old = self.rng.choice(names)
        name = self.create('c')
        if not name:
            return False
        src, f = self.files[old], self.files[name]
        a, b = os.open(self.path(old), os.O_RDONLY), os.open(self.path(name), os.O_RDWR)
        ok, done = True, 0
        while ok and done < len(src.data):
            ok, n = self.may(f'copy {old} to {name}', os.copy_file_range, a, b, len(src.data) - done, done, done)
            done += n if ok else 0
        src.own = False
        f.data = bytearray(src.data[:done])
        synced, _ = (self.may if self.writeback else self.always)(f'fsync of {name}', os.fsync, b)
        if not synced:
            self.must(f'truncate {name}', os.ftruncate, b, 0)
            f.data = bytearray()
            ok = False
        (self.always if synced else self.may)(f'close of {name}', os.close, b)
        os.close(a)
        return ok

    def fill(self):
        """Until blocks, inline data and names are all refused."""
        kinds = (self.add_data, self.add_data, self.add_small, self.add_sparse, self.add_allocated, self.add_dir,
                 self.add_xattr, self.add_symlink, self.rename, self.clone)
        failed = 0
        while failed < 12:
            failed = 0 if self.rng.choice(kinds)() else failed + 1
        # the last blocks, one by one
        while self.write('last', len(self.files['last'].data), self.rng.randbytes(4 * K), False):
            pass

    # ---- what may not fail ----

    def unlink(self, name):
        self.must(f'unlink {name}', os.unlink, self.path(name))
        self.files.pop(name, None)
        self.links.pop(name, None)

    def truncate(self, name):
        f = self.files[name]
        size = self.rng.randrange(len(f.data) + 1)
        self.must(f'truncate {name} from {len(f.data)} to {size}', os.truncate, self.path(name), size)
        del f.data[size:]

    def punch(self, name):
        f = self.files[name]
        if not f.data:
            return
        pos, n = self.random_range(len(f.data), 100 * K)
        fd = os.open(self.path(name), os.O_RDWR)
        self.must(f'punch {n} at {pos} of {name}', punch_hole, fd, pos, n)
        if self.writeback or self.rng.random() < 0.5:
            self.must(f'fsync after punching {name}', os.fsync, fd)
        self.must(f'close {name}', os.close, fd)
        f.data[pos:pos + n] = bytes(n)
        f.own = False

    def delete_some(self):
        names = [n for n in list(self.files) + list(self.links) if n not in KEPT]
        for name in self.rng.sample(names, min(len(names), 1 + len(names) // 12)):
            how = self.rng.randrange(4) if name in self.files else 0
            if how == 0:
                self.unlink(name)
            elif how == 1:
                self.truncate(name)
            elif how == 2:
                self.punch(name)
            else:
                for key in list(self.files[name].xattrs):
                    self.must(f'removexattr of {name}', os.removexattr, self.path(name), key)
                    del self.files[name].xattrs[key]
                self.must(f'chmod of {name}', os.chmod, self.path(name), 0o600)
                self.must(f'utime of {name}', os.utime, self.path(name), (1, 1))

    # ---- looking ----

    def check_space(self, filled):
        st = os.statvfs(self.m.mountpoint)
        assert st.f_bavail <= st.f_bfree <= st.f_blocks, f'statfs: {st}'
        used = st.f_blocks - st.f_bfree
        if filled:
            part = used / (used + st.f_bavail)
            assert part >= FULL, f'only {100 * part:.2f} % used, and yet nothing more goes in: {st}\n{status(self.m)}'

    def verify(self):
        seen = {os.path.relpath(os.path.join(d, n), self.m.mountpoint)
                for d, dirs, files in os.walk(self.m.mountpoint) for n in dirs + files}
        want = set(self.files) | set(self.links) | set(self.dirs)
        assert seen == want, f'too many: {sorted(seen - want)[:5]}, missing: {sorted(want - seen)[:5]}'
        for name, f in self.files.items():
            with open(self.path(name), 'rb') as file:
                got = file.read()
            if got != f.data:
                at = next((i for i, (a, b) in enumerate(zip(got, f.data)) if a != b), min(len(got), len(f.data)))
                raise Failed(f'{name}: differs at {at}; {len(got)} bytes, should be {len(f.data)}')
            keys = {k: os.getxattr(self.path(name), k) for k in os.listxattr(self.path(name))}
            assert keys == f.xattrs, f'{name}: attributes {sorted(keys)}, should be {sorted(f.xattrs)}'
        for name, target in self.links.items():
            assert os.readlink(self.path(name)) == target, name


def punch_hole(fd, pos, n):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, 3, ctypes.c_long(pos), ctypes.c_long(n)):  # PUNCH_HOLE | KEEP_SIZE
        raise OSError(ctypes.get_errno(), 'fallocate')


class Overwriter:
    """Overwrites the preallocated file in a process of its own, whatever the others do meanwhile."""
    def __init__(self, w):
        self.file, self.stop = w.files['pre'], multiprocessing.Event()
        self.mine, theirs = multiprocessing.Pipe(False)
        self.process = multiprocessing.Process(target=self.run, args=(w, w.rng.randrange(1 << 32), theirs), daemon=True)
        self.process.start()

    def run(self, w, seed, pipe):
        w.rng, n = random.Random(seed), 0
        try:
            while not self.stop.is_set():
                w.overwrite('pre', True)
                if w.rng.random() < 0.1:
                    w.map_and_overwrite('pre')
                n += 1
            pipe.send((bytes(w.files['pre'].data), n, None))
        except Exception as e:
            pipe.send((b'', n, str(e) or repr(e)))

    def finish(self):
        self.stop.set()
        assert self.mine.poll(120), 'who overwrites the preallocated file stands still'
        data, n, error = self.mine.recv()
        self.process.join()
        if error:
            raise Failed(f'beside the others: {error}')
        self.file.data = bytearray(data)
        return n


def read_all(fd):
    return os.pread(fd, os.fstat(fd).st_size + 1, 0)


def status(m):
    s = json.loads(tally.run([tally.tool('tallyctl'), 'status', '--json', m.mountpoint]).stdout)
    return {k: s[k] for k in s if k in ('space', 'cache')}


def preallocated(w, size):
    """'pre' is preallocated and overwritten all along, 'over' an ordinary file that is."""
    for name in ('pre', 'over'):
        with open(w.path(name), 'wb') as f:
            if name == 'pre':
                os.posix_fallocate(f.fileno(), 0, size)
            else:
                f.write(bytes(size))
            os.fsync(f.fileno())
        w.files[name] = File(bytes(size))
        w.files[name].own = True
    open(w.path('last'), 'wb').close()
    w.files['last'] = File()


def one_round(w):
    beside = Overwriter(w)
    w.fill()
    names = [n for n in w.files if n != 'pre']
    for _ in range(12):
        w.overwrite('over', True)
        if w.rng.random() < 0.2:
            w.map_and_overwrite('over')
        name = w.rng.choice(names)
        w.overwrite(name, w.files[name].own)
    w.delete_some()
    w.overwritten += beside.finish()
    w.fill()
    w.check_space(True)
    w.delete_some()
    w.must('truncate last', os.truncate, w.path('last'), 0)
    w.files['last'].data = bytearray()
    w.check_space(False)
    for _ in range(4):
        w.overwrite(w.rng.choice(('pre', 'over')), True)


def full(work, block, size, options, rounds, rng):
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, size, '-b', block)
    begin, w = time.monotonic(), None
    for i in range(rounds):
        with Mount(image, mnt, options) as m:
            if not w:
                w = World(m, rng, int(block[:-1]) * K, not options.startswith('no_'))
                preallocated(w, 2 * M)
            w.m = m
            if i:
                w.verify()
            one_round(w)
        if LONG or i % 4 == 3 or i == rounds - 1:
            tally.fsck(image)
    with Mount(image, mnt, options) as m:
        w.m = m
        w.verify()
        for name in list(w.files) + list(w.links):
            w.unlink(name)
        for name in sorted(w.dirs, reverse=True):
            w.must(f'rmdir {name}', os.rmdir, w.path(name))
    tally.fsck(image)
    print(f'-b {block} {options}: {rounds} rounds, {w.serial} names, {w.refused} refused, '
          f'{w.overwritten} times overwritten beside, '
          f'{time.monotonic() - begin:.1f} s')


def names_only(work, block):
    """Empty files with long names until there is no room for another; then all of them go."""
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, 64 * M if LONG else 7 * M, '-b', block, '--journal-size', '3M')
    with Mount(image, mnt) as m:
        n = 0
        try:
            while True:
                if n % 1000 == 0:
                    os.mkdir(m / f'd{n // 1000}')
                os.close(os.open(m / f'd{n // 1000}/{n:0200d}', os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                n += 1
        except OSError as e:
            assert e.errno == errno.ENOSPC, f'create: {e}'
        tally.run(['sh', '-c', f'rm -rf {mnt}/d*'])
        assert os.listdir(mnt) == []
    tally.fsck(image)
    print(f'-b {block}: {n} empty files until full')


def writes_on(work, options):
    """A program that only writes on, and neither syncs nor closes, hears of it all the same; with room again, it goes on."""
    image, mnt, size = f'{work}/image', f'{work}/mnt', 32 * M
    tally.mkfs(image, size)
    piece, written = bytes(1 * M), 0
    with Mount(image, mnt, options) as m:
        with open(m / 'ballast', 'wb') as f:
            f.write(os.urandom(4 * M))
        fd = os.open(m / 'endless', os.O_CREAT | os.O_RDWR)
        # the kernel takes some before it begins to write
        limit = time.monotonic() + 60
        try:
            while time.monotonic() < limit:
                written += os.write(fd, piece)
            raise Failed(f'{written // M} MiB written to {size // M} MiB, and never an error')
        except OSError as e:
            assert e.errno == errno.ENOSPC, f'write: {e}'
        # only a write hears of it, whatever else may be done with the descriptor
        if options == 'writeback_cache':
            for pos in range(written, written + 4 * M, len(piece)):
                try:
                    os.pwrite(fd, piece, pos)
                except OSError as e: # more of what was cached before has been refused meanwhile
                    assert e.errno == errno.ENOSPC, f'pwrite: {e}'
            os.sync()
        assert os.pread(fd, 4 * K, 1 << 50) == b'' and len(os.pread(fd, 64 * K, 0)) == 64 * K
        assert os.lseek(fd, 0, os.SEEK_END) >= written and os.fstat(fd).st_size >= written
        other = os.open(m / 'ballast', os.O_RDWR)
        assert os.pwrite(other, b'x', 0) == 1, 'another file is not concerned'
        os.close(other)
        tally.run([tally.tool('tallyctl'), 'sync', mnt])
        try:
            os.fsync(fd)
        except OSError as e:
            assert e.errno == errno.ENOSPC, f'fsync: {e}'
        os.ftruncate(fd, 0)
        os.unlink(m / 'ballast')
        tally.run([tally.tool('tallyctl'), 'sync', mnt])
        for pos in range(0, 8 * M, len(piece)):
            os.pwrite(fd, piece, pos)
        os.fsync(fd)
        os.close(fd)
    tally.fsck(image)
    print(f'{options}: ENOSPC after {written // M} MiB')


def test(work):
    tally.require_fuse()
    writes_on(work, 'no_writeback_cache')
    writes_on(work, 'writeback_cache')
    rng = tally.seeded()
    names_only(work, '4K')
    names_only(work, '1K')
    for i, (block, size, options) in enumerate(CONFIGS):
        full(work, block, size, options, tally.count(3, 200), rng)


tally.main(test)
