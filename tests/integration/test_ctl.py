#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tallyctl status, sync and umount on a mount; what it answers on an image file and on what is no tallyfs."""
import json, os
import tally
from tally import M, Mount

CTL = tally.tool('tallyctl')

# A counter of every system; there are more.
FIGURES = {
    'cache': 'folios bytes limit_bytes dirty_bytes dirty_limit_bytes writeback_bytes read_hits read_misses reclaimed_folios '
             'throttled ioends_built ioends_merged',
    'integrity': 'generated verified failed_verifications mismatches mismatches_since_mount mismatches_not_listed',
    'journal': 'running_txid durable_txid commits checkpoints log_bytes log_used log_size images ranges revokes',
    'space': 'total_blocks free_blocks claimed reserved pending_free hidden_pool enospc_commits',
    'buffers': 'buffers bytes dirty_bytes hits misses evicted sync_reads',
    'inodes': 'cached limit looked_up evicted reaped',
    'device': 'reads read_bytes writes write_bytes flushes discards errors',
    'tree': 'inodes extents data_blocks node_blocks groups_initialised groups',
    'state': 'read_only error',
}


def check_figures(mnt):
    """All are there, for people and as JSON, and what has been done shows."""
    text = tally.run([CTL, 'status', mnt]).stdout
    told = json.loads(tally.run([CTL, '--json', 'status', mnt]).stdout)
    for group, names in FIGURES.items():
        assert f'\n{group}\n' in text, f'{group} is not in:\n{text}'
        for name in names.split():
            assert isinstance(told.get(group, {}).get(name), int), f'{group}.{name} is missing: {told}'
            assert f'\n  {name} ' in text, f'{name} is not in:\n{text}'
    for group, name in ('cache', 'folios'), ('cache', 'ioends_built'), ('integrity', 'generated'), ('journal', 'commits'):
        assert told[group][name] > 0, f'{group}.{name} is 0 after a write: {told}'
    return told


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
    check_figures(mnt)
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
