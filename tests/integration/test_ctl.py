#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tallyctl status, sync and umount on a mount; what it answers on an image file and on what is no tallyfs."""
import json, os
import tally
from tally import M, Mount

CTL = tally.tool('tallyctl')


def test(work):
    tally.require_fuse()
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, 64 * M, '-L', 'ctl-label')

    r = tally.run([CTL, 'status', image])
    assert 'ctl-label' in r.stdout, f'status of an image names no label:\n{r.stdout}'

    m = Mount(image, mnt, 'commit=300')
    with open(m / 'file', 'wb') as f:
        f.write(b'kept by tallyctl sync' * 1000)
    r = tally.run([CTL, 'status', mnt])
    assert r.stdout and not r.stderr, f'status:\n{r.stdout}{r.stderr}'
    tally.run([CTL, 'status', '--check', mnt], want=0)
    parsed = json.loads(tally.run([CTL, '--json', 'status', mnt], want=(0, )).stdout)
    assert parsed['tallyfs_json'] == 1 and parsed['command'] == 'status', parsed
    tally.run([CTL, 'sync', mnt])
    m.kill()
    with Mount(image, mnt) as m:
        with open(m / 'file', 'rb') as f:
            assert f.read() == b'kept by tallyctl sync' * 1000, 'lost after tallyctl sync and kill -9'

    m = Mount(image, mnt, 'commit=300')
    with open(m / 'file2', 'wb') as f:
        f.write(os.urandom(8 * M))
    tally.run([CTL, 'umount', mnt])
    assert not tally.mounted(mnt)
    assert m.daemon.poll() is not None or m.daemon.wait(1) == 0, 'umount returned before the daemon had ended'
    m.wait(1)
    tally.fsck(image)

    os.mkdir(f'{work}/plain')
    for sub in ('status', 'sync', 'umount'):
        r = tally.run([CTL, sub, f'{work}/plain'], want=None)
        assert r.returncode != 0 and f'{work}/plain' in r.stderr, f'{sub} on a plain folder: {r.returncode} {r.stderr}'
    tally.run([CTL, 'status', '--check', f'{work}/plain'], want=1)


tally.main(test)
