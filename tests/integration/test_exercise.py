#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The exercisers on a mount: random work on file contents (mmap and copies among it) and on names against models, several
processes at once, with small and large blocks, a small cache, with and without the kernel's write-back cache, and across
remounts.  N operations each; SEED replays."""
import os, subprocess, time
import tally
from tally import M, Mount

CONFIGS = (('4K', 'writeback_cache'), ('1K', 'writeback_cache,cache_size=1M'), ('64K', 'no_writeback_cache'),
           ('4K', 'no_writeback_cache,cache_size=1M'))


def start(what, folder, seed, ops, every=0):
    os.makedirs(folder)
    argv = [tally.tool('exercise'), what, folder, str(seed), str(ops)] + ([str(every)] if every else [])
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            errors='replace')


def finish(p):
    out, err = p.communicate(timeout=3600)
    assert p.returncode == 0, f'{" ".join(p.args)}: exit {p.returncode}\n{err}'


def together(m, rng, ops):
    """Several at once, that share nothing but the file system."""
    running = [start(what, m / f'{what}{n}', rng.randrange(1 << 32), ops * times)
               for what, times, several in (('files', 1, 3), ('names', 4, 2)) for n in range(several)]
    for p in running:
        finish(p)


def across_remounts(image, mnt, options, rng, ops):
    for what in ('files', 'names'):
        m = Mount(image, mnt, options)
        p = start(what, m / f'{what}-remounted', rng.randrange(1 << 32), ops, max(ops // 4, 1))
        for line in p.stdout:
            assert line == 'remount\n', line
            m.umount()
            tally.fsck(image)
            m = Mount(image, mnt, options)
            p.stdin.write('\n')
            p.stdin.flush()
        finish(p)
        m.umount()


def test(work):
    tally.require_fuse()
    if not os.access(tally.tool('exercise'), os.X_OK):
        raise tally.Skip('the program exercise was not built')
    rng = tally.seeded()
    ops = tally.count(400, 250000)
    for block, options in CONFIGS:
        began = time.monotonic()
        image, mnt = os.path.join(work, f'{block}-{options}'), os.path.join(work, 'mnt')
        tally.mkfs(image, 256 * M, '-b', block)
        with Mount(image, mnt, options) as m:
            together(m, rng, ops)
        tally.fsck(image)
        across_remounts(image, mnt, options, rng, ops)
        tally.fsck(image)
        os.unlink(image)
        print(f'{block} {options}: {ops} operations on files, {4 * ops} on names per process, '
              f'{time.monotonic() - began:.1f} s')


tally.main(test)
