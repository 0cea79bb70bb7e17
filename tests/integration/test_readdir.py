#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Listings of a directory on a mount, by several processes at once, in small and large pieces, with seekdir to places
that telldir gave, while others make, remove and rename names: every name that is there throughout comes exactly once."""
import ctypes, os, random, subprocess, sys, time
import tally
from tally import M, Mount

libc = ctypes.CDLL(None, use_errno=True)
SYS_getdents64 = 217 if os.uname().machine == 'x86_64' else 61
STAY = 2000


def piece(fd, size):
    """[(offset behind it, name)] of one getdents64; empty at the end."""
    buf = ctypes.create_string_buffer(size)
    n = libc.syscall(SYS_getdents64, fd, buf, size)
    assert n >= 0, os.strerror(ctypes.get_errno())
    out, at = [], 0
    while at < n:
        off, length = int.from_bytes(buf.raw[at + 8:at + 16], 'little'), int.from_bytes(buf.raw[at + 16:at + 18], 'little')
        out.append((off, buf.raw[at + 19:at + length].split(b'\0', 1)[0]))
        at += length
    return out


def one_pass(fd, rng, start, known):
    """From the offset @start to the end; {stable name: offset}."""
    os.lseek(fd, start, os.SEEK_SET)
    met, size = {}, rng.choice((400, 2000, 32768))
    while entries := piece(fd, size):
        for off, name in entries:
            if not name.startswith(b'stay'):
                continue
            assert name not in met, f'{name} came twice, first at {met[name]}, then at {off}'
            assert known.get(name, off) == off, f'the offset of {name} was {known[name]} and is {off}'
            met[name] = off
    return met


def reader(folder, seed, until):
    rng, known, passes = random.Random(seed), {}, 0
    while time.time() < until or passes < 2:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        met = one_pass(fd, rng, 0, known)
        assert len(met) == STAY, f'{STAY - len(met)} names that stay were not listed'
        known = met
        name, start = rng.choice(sorted(known.items()))
        met = one_pass(fd, rng, start, known)
        behind = {n for n, off in known.items() if off > start}
        assert set(met) == behind, f'after seekdir behind {name}: {len(met)} names, not {len(behind)}'
        os.close(fd)
        passes += 1
    print(passes)


def changer(folder, seed, until):
    rng, names = random.Random(seed), [f'{folder}/change-{seed}-{k}' for k in range(800)]
    while time.time() < until:
        a, b = rng.sample(names, 2)
        try:
            what = rng.randrange(10)
            if what < 5:
                open(a, 'w').close()
            elif what < 7:
                os.unlink(a)
            elif what < 9:
                os.rename(a, b)
            else:
                os.rename(a, f'{folder}/stay{rng.randrange(STAY)}')
        except FileNotFoundError:
            pass


def test(work):
    tally.require_fuse()
    rng = tally.seeded()
    image, mnt = os.path.join(work, 'image'), os.path.join(work, 'mnt')
    tally.mkfs(image, 128 * M)
    with Mount(image, mnt) as m:
        folder = m / 'd'
        os.mkdir(folder)
        for k in range(STAY):
            open(f'{folder}/stay{k}', 'w').close()
        until = time.time() + tally.count(4, 120)
        running = [subprocess.Popen([sys.executable, os.path.abspath(__file__), kind, folder, str(rng.randrange(1 << 30)), str(until)],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                   for kind in ('reader', 'reader', 'reader', 'changer', 'changer')]
        outs = [p.communicate(timeout=600)[0] for p in running]
        for p, out in zip(running, outs):
            assert p.returncode == 0, f'{p.args[2]}: exit {p.returncode}\n{out[-2000:]}'
        print(f'{sum(int(out) for out in outs[:3])} listings by three processes')
    tally.fsck(image)


if len(sys.argv) == 5:
    {'reader': reader, 'changer': changer}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
else:
    tally.main(test)
