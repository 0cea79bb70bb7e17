#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The same random operations on a mount of ours and on ext4: every return value, errno and byte given back is the same, and
so is all there is afterwards (type, mode, owner, links, size, content, attributes, target, times), also after a remount.
The program prints which differences are meant, and of a failure the shortest sequence that still fails.

N operations for each of three configurations, with LONG=1 of twelve; SEED replays; HOSTS=xfs HOSTSIZE=320 is a second opinion: the
list has what XFS does in its own way."""
import os, subprocess
import hosts, tally
from tally import M, Mount

CONFIGS = (('4K', 'writeback_cache'), ('1K', 'writeback_cache,cache_size=1M'), ('4K', 'no_writeback_cache'))
ALL_CONFIGS = [(block, kernel + cache) for block in ('1K', '4K', '64K') for kernel in ('writeback_cache', 'no_writeback_cache')
               for cache in ('', ',cache_size=1M')]
# attributes of 64 KiB, as we have them; blocks as large as a symbolic link can be
MKFS = {'ext4': ('-b', '4096', '-O', 'ea_inode')}


def differ(*args):
    r = subprocess.run([tally.tool('differ'), *map(str, args)], capture_output=True, text=True, errors='replace', timeout=14400)
    assert r.returncode == 0, f'exit {r.returncode}\n{r.stdout}{r.stderr}'
    return r.stdout


def compare(work, host, n, block, options, seed, ops):
    image, mnt = f'{work}/image{n}', f'{work}/mnt{n}'
    tally.mkfs(image, 256 * M, '-b', block)
    with Mount(image, mnt, f'nodev,{options}'):
        said = differ(mnt, host.path, seed, ops)
    with Mount(image, mnt, f'nodev,{options}'):
        differ(mnt, host.path, '--tree')
    tally.fsck(image)
    os.unlink(image)
    return said


def test(work):
    if not tally.AS_ROOT:
        raise tally.Skip('needs root')
    tally.require_fuse()
    if not os.access(tally.tool('differ'), os.X_OK):
        raise tally.Skip('the program differ was not built')
    rng = tally.seeded()
    ops = tally.count(8000, 100000)
    kind = os.environ.get('HOSTS', 'ext4')
    with hosts.Host(work, kind, MKFS.get(kind, ()), ('-o', 'noatime,nodev')) as host:
        if os.path.exists(f'{host.path}/lost+found'):
            os.rmdir(f'{host.path}/lost+found')
        for n, (block, options) in enumerate(ALL_CONFIGS if tally.LONG else CONFIGS):
            said = compare(work, host, n, block, options, rng.randrange(1 << 32), ops)
            print(f'{block} {options}: {said.splitlines()[-1]}')
    print('\n'.join(line for line in said.splitlines() if line.startswith('meant')))


tally.main(test)
