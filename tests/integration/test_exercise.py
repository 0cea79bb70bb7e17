#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The exercisers on a mount: random work on file contents (mmap and copies among it) and on names against models, several
processes at once, with small and large blocks, a small cache, with and without the kernel's write-back cache, and across
remounts.  N operations each; SEED replays.  A failure that is planted is made short."""
import os, resource, subprocess, time
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


def remounting(p, image, mnt):
    """Until the program asks no more.  What it said on stderr."""
    m = Mount(image, mnt)
    for line in p.stdout:
        assert line == 'remount\n', line
        m.umount()
        m = Mount(image, mnt)
        p.stdin.write('\n')
        p.stdin.flush()
    err = p.communicate(timeout=600)[1]
    m.umount()
    return err


def made_short(image, mnt, seed):
    """Of files that may be open three are missing: listings, and whatever opens one more, fail.  These are few operations, and
    fail, or not, whenever they are asked for."""
    def run(files, *args):
        argv = [tally.tool('exercise'), 'names', mnt, *args, '300']
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                errors='replace', preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))

    p = run(8, str(seed), '3000') # two of them are pipes between its processes
    err = remounting(p, image, mnt)
    assert p.returncode == 1, f'exit {p.returncode}: {err}'
    steps = [line for line in err.splitlines() if line.split('\t')[0].isdigit()]
    assert 0 < len(steps) <= 6, f'{len(steps)} operations are left\n{err}'
    with open(f'{image}.replay', 'w') as f:
        f.write('\n'.join(steps))
    for files, want in ((6, 1), (60, 0)):
        p = run(files, '--replay', f'{image}.replay')
        err = remounting(p, image, mnt)
        assert p.returncode == want, f'exit {p.returncode}, not {want}: {err}'
    nowhere = subprocess.run([tally.tool('exercise'), 'names', f'{mnt}/nowhere', '--replay', f'{image}.replay', '300'],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, errors='replace', timeout=600)
    assert nowhere.returncode == 1 and 'nowhere' in nowhere.stderr, f'exit {nowhere.returncode}: {nowhere.stderr}'
    print(f'made short: {len(steps)} of 3000 operations')


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
    image, mnt = os.path.join(work, 'short'), os.path.join(work, 'mnt')
    tally.mkfs(image, 64 * M)
    made_short(image, mnt, rng.randrange(1 << 32))


tally.main(test)
