#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tallyctl status, sync and umount on a mount; what it answers on an image file and on what is no tallyfs."""
import errno, json, os, re, time
import tally
from tally import M, Mount
from tfsformat import Image

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
    text = tally.run([CTL, 'status', '-v', mnt]).stdout
    told = json.loads(tally.run([CTL, '--json', 'status', mnt]).stdout)
    for group, names in FIGURES.items():
        assert f'\n{group}\n' in text, f'{group} is not in:\n{text}'
        for name in names.split():
            assert isinstance(told.get(group, {}).get(name), int), f'{group}.{name} is missing: {told}'
            assert f'\n  {name} ' in text, f'{name} is not in:\n{text}'
    for group, name in ('cache', 'folios'), ('cache', 'ioends_built'), ('integrity', 'generated'), ('journal', 'commits'):
        assert told[group][name] > 0, f'{group}.{name} is 0 after a write: {told}'
    every_counter_explained(text, told)


def every_counter_explained(text, told):
    """The man page lists what -v prints and JSON has, in that order, and each with some words."""
    with open(f'{tally.ROOT}/man/tallyctl.8') as f:
        entries = re.findall(r'^\.It Va (\S+)\n(.+)\n', f.read(), re.M)
    listed = [name for name, words in entries if len(words) > 12 or words == 'As']
    group, printed = None, []
    for line in text.split('\nlatency (')[0].splitlines():
        if m := re.fullmatch(r'([a-z]+)', line):
            group = m[1]
        elif group:
            printed.append(f'{group}.{line.split()[0]}')
    assert printed == listed, sorted(set(printed) ^ set(listed))
    assert printed == [f'{g}.{n}' for g, names in told.items() if isinstance(names, dict) and g != 'latency' for n in names]


def latency(mnt):
    return json.loads(tally.run([CTL, '--json', 'status', mnt]).stdout)['latency']


def latencies_count(m):
    """What is done N times is counted N times, its figures fit each other, and people see the same."""
    mnt = m.mountpoint
    before = latency(mnt)
    with open(m / 'timed', 'wb') as f:
        for i in range(9):
            f.write(b'x' * 5000)
            f.flush()
            os.fsync(f.fileno())
        # answered by a thread of its own, since somebody has the file open for writing
        for i in range(4):
            os.lseek(f.fileno(), 0, os.SEEK_HOLE)
    for i in range(3):
        os.mkdir(m / f'timed.{i}')
    for i in range(3):
        os.rmdir(m / f'timed.{i}')
    # counted when they have been answered: a thread may yet have to do it
    done = {'fsync': 9, 'lseek': 4, 'mkdir': 3, 'rmdir': 3, 'create': 1}
    for _ in range(100):
        after = latency(mnt)
        counts = {k: after.get(k, {'count': 0})['count'] - before.get(k, {'count': 0})['count'] for k in done}
        if all(counts[k] >= done[k] for k in done):
            break
        time.sleep(.1)
    assert counts == done, counts
    for kind in 'journal_commit', 'device_write', 'device_flush':
        assert after[kind]['count'] >= before[kind]['count'] + 9, (kind, before[kind], after[kind])
    for kind, h in after.items():
        assert sum(b['count'] for b in h['buckets']) == h['count'] > 0, (kind, h)
        assert h['median_us'] <= h['p99_us'] <= h['max_us'] >= h['buckets'][-1]['from_us'], (kind, h)
    device = json.loads(tally.run([CTL, '--json', 'status', mnt]).stdout)
    for kind, name in ('device_write', 'writes'), ('device_flush', 'flushes'), ('journal_commit', 'commits'):
        group = 'journal' if name == 'commits' else 'device'
        assert device['latency'][kind]['count'] == device[group][name], (kind, device['latency'][kind], device[group])
    # for people: a row in each table
    lines = tally.run([CTL, 'status', '-v', mnt]).stdout.split('\nlatency (microseconds)\n')[1].splitlines()
    figures, spread = [line.split()[1:] for line in lines if line.startswith('  fsync ')]
    assert [int(n) for n in figures] == [after['fsync'][k] for k in ('count', 'median_us', 'p99_us', 'max_us')], figures
    assert sum(int(n) for n in spread) == after['fsync']['count'], spread


SHORT = ('label', 'uuid', 'size', 'used', 'free', 'health', 'protection', 'to')


def short(target, first):
    """The nine lines that everybody sees."""
    lines = tally.run([CTL, 'status', target]).stdout.splitlines()
    assert re.match(first, lines[0]) and [line.split()[0] for line in lines[1:]] == list(SHORT), lines
    return {line.split()[0]: line.split(None, 2 if line.split()[0] == 'to' else 1)[-1] for line in lines[1:]}


def same_space(made, image, mnt):
    """mkfs, status (of the image, of the mount) and df know one free space; where a figure is less it says why."""
    told = json.loads(tally.run([CTL, '--json', 'status', image]).stdout)
    assert (told['free_bytes'], told['size_bytes']) == (made['free_bytes'], made['total_bytes'])
    assert (told['uuid'], told['label'], told['damage_known']) == (made['uuid'], made['label'], False)
    assert 'kept back' in short(image, r'.*\(not mounted\)')['free']
    with Mount(image, mnt):
        st, told = os.statvfs(mnt), json.loads(tally.run([CTL, '--json', 'status', mnt]).stdout)
        assert st.f_bfree * st.f_frsize == told['free_bytes'] == made['free_bytes']
        assert st.f_blocks * st.f_frsize == told['size_bytes'] == told['free_bytes'] + told['used_bytes']
        assert st.f_bavail * st.f_frsize == told['available_bytes'] < told['free_bytes']
        assert (told['uuid'], told['label'], told['damage_known']) == (made['uuid'], made['label'], False)
        s = short(mnt, rf'{image} on {mnt} \(fuse.tallyfs\)')
        assert 'kept back' in s['free'] and s['label'] == 'ctl-label' and s['to'] == 'nothing' and 'no damage' in s['health']
    with Mount(image, mnt, 'verify=off'):
        s = short(mnt, rf'{image} on {mnt}')
        assert 'NOT verified' in s['protection'] and 'verify=off' in s['to'], s


def damaged(image, mnt):
    """One bad block: health and what to do, mounted and not."""
    with Mount(image, mnt) as m:
        with open(m / 'victim', 'wb') as f:
            f.write(os.urandom(8192))
    img = Image(image)
    at, _ = next(iter(img.extents()))
    img.put(at + 100, b'flipped')
    img.close()
    m = Mount(image, mnt)
    for name in os.listdir(mnt):
        try:
            with open(m / name, 'rb') as f:
                f.read()
        except OSError as e:
            assert e.errno == errno.EIO
    tally.wait_for(lambda: 'damage was seen' in short(mnt, '.*')['health'], 'the damage in the status')
    assert 'fsck.tallyfs -n --verify-data' in short(mnt, '.*')['to']
    tally.run([CTL, 'status', '--check', mnt], want=3)
    m.umount()
    s = short(image, '.*')
    assert 'damage was seen' in s['health'] and 'fsck.tallyfs -n --verify-data' in s['to'], s
    tally.run([CTL, 'status', '--check', image], want=3)


def test(work):
    tally.require_fuse()
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.sized(image, 64 * M)
    made = tally.run([tally.tool('mkfs.tallyfs'), '--json', '-L', 'ctl-label', image]).stdout
    same_space(json.loads(made), image, mnt)
    assert 'keeps some of it back' in tally.run([tally.tool('mkfs.tallyfs'), '-f', '-L', 'ctl-label', image]).stdout

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
    latencies_count(m)
    tally.run([CTL, 'sync', mnt])
    m.kill()
    assert 'not unmounted cleanly' in short(image, '.*')['health']
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
    damaged(image, mnt)


tally.main(test)
