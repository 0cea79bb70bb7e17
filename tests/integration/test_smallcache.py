#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A cache of 1 or 2 MiB is slower, and nothing else: writers and readers at once, large requests and small ones, the
exercisers, with blocks of 1, 4 and 64 KiB; no stand-still, memory bounded, all of it right.

LONG=1: larger files and longer exercises.  SEED=.
"""
import multiprocessing, os, random, subprocess, time
import tally
from tally import K, LONG, M, Mount

CONFIGS = (('1K', '1M', 'writeback_cache'), ('4K', '1M', 'no_writeback_cache'), ('64K', '1M', 'writeback_cache'),
           ('4K', '2M', 'writeback_cache'), ('64K', '2M', 'no_writeback_cache'))
SIZE = 64 * M if LONG else 4 * M
BOUND = 48 * M  # resident memory: the cache, the threads' buffers, metadata, the program
STALL = 60      # seconds for one round of all processes


def pattern(seed):
    return random.Random(seed).randbytes(SIZE)


def writer(path, seed):
    """In pieces from one byte to a few MiB, some of it twice, some synced."""
    rng, data = random.Random(seed), pattern(seed)
    with open(path, 'wb', buffering=0) as f:
        at = 0
        while at < SIZE:
            n = min(rng.choice((1, 1000, 4 * K, 100 * K, M, 3 * M)), SIZE - at)
            os.pwrite(f.fileno(), bytes(n), at)
            done = 0
            while done < n:
                done += os.pwrite(f.fileno(), data[at + done:at + n], at + done)
            at += n
            if rng.random() < 0.05:
                os.fsync(f.fileno())


def reader(path, seed):
    """All of it from the daemon: in order and at random."""
    rng, data = random.Random(seed), pattern(seed)
    with open(path, 'rb', buffering=0) as f:
        at = 0
        while at < SIZE:
            got = os.pread(f.fileno(), rng.choice((4 * K, 100 * K, 2 * M)), at)
            assert got and got == data[at:at + len(got)], f'{path}: differs at {at}'
            at += len(got)
        for _ in range(100):
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            at, n = rng.randrange(SIZE), rng.choice((1, 5 * K, 300 * K))
            assert os.pread(f.fileno(), n, at) == data[at:at + n], f'{path}: differs at {at}'


def together(jobs):
    """Each in a process of its own; all must end, and well."""
    running = [multiprocessing.Process(target=what, args=args) for what, *args in jobs]
    for p in running:
        p.start()
    end = time.monotonic() + STALL * (20 if LONG else 1)
    for p in running:
        p.join(max(0, end - time.monotonic()))
        stuck = p.is_alive()
        if stuck:
            p.kill()
        assert not stuck and p.exitcode == 0, f'{p}: {"stands still" if stuck else p.exitcode}'


def exercise(m, rng):
    ops = tally.count(200, 100000)
    running = []
    for n in range(2):
        os.mkdir(m / f'x{n}')
        argv = [tally.tool('exercise'), 'files', m / f'x{n}', str(rng.randrange(1 << 32)), str(ops)]
        running.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True))
    for p in running:
        err = p.communicate(timeout=3600)[1]
        assert p.returncode == 0, err


def small(work, block, cache, how, rng):
    image, mnt, options = f'{work}/image', f'{work}/mnt', f'cache_size={cache},{how}'
    begin = time.monotonic()
    tally.mkfs(image, 8 * SIZE + 64 * M, '-b', block)
    seeds = [rng.randrange(1 << 32) for _ in range(4)]
    with Mount(image, mnt, options) as m:
        together([(writer, m / f'f{i}', s) for i, s in enumerate(seeds[:3])])
        together([(reader, m / f'f{i}', s) for i, s in enumerate(seeds[:3])] + [(writer, m / 'f3', seeds[3])])
        if os.access(tally.tool('exercise'), os.X_OK):
            exercise(m, rng)
        peak = m.status('VmHWM')
    with Mount(image, mnt, options) as m:
        together([(reader, m / f'f{i}', s) for i, s in enumerate(seeds)])
        peak = max(peak, m.status('VmHWM'))
    tally.fsck(image)
    print(f'-b {block} {options}: {time.monotonic() - begin:.1f} s, peak resident memory {peak / M:.1f} MiB')
    assert peak < BOUND or tally.ASAN, f'{peak // M} MiB is over {BOUND // M} MiB'


def test(work):
    tally.require_fuse()
    rng = tally.seeded()
    for config in CONFIGS:
        small(work, *config, rng)


tally.main(test)
