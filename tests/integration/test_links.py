#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""N links of one file and N subdirectories of one directory (more than 65,535 with LONG=1): counted right, after a remount
too, and all removed again."""
import os, time
import tally
from tally import M, Mount


def counts(m, n):
    assert os.stat(m / 'file').st_nlink == n + 1, os.stat(m / 'file').st_nlink
    assert os.stat(m / 'dirs').st_nlink == n + 2, os.stat(m / 'dirs').st_nlink


def test(work):
    tally.require_fuse()
    n = tally.count(3000, 70000)
    image, mnt = os.path.join(work, 'image'), os.path.join(work, 'mnt')
    began = time.monotonic()
    tally.mkfs(image, 256 * M)
    with Mount(image, mnt) as m:
        open(m / 'file', 'w').close()
        os.mkdir(m / 'links')
        os.mkdir(m / 'dirs')
        for k in range(n):
            os.link(m / 'file', m / f'links/{k}')
            os.mkdir(m / f'dirs/{k}')
        counts(m, n)
    tally.fsck(image)
    with Mount(image, mnt) as m:
        counts(m, n)
        assert len(os.listdir(m / 'dirs')) == n
        for k in range(n):
            os.unlink(m / f'links/{k}')
            os.rmdir(m / f'dirs/{k}')
        counts(m, 0)
    tally.fsck(image)
    print(f'{n} links of a file, {n} subdirectories, {time.monotonic() - began:.1f} s')


tally.main(test)
