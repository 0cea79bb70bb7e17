#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Images that lie behind good checksums: each program ends, soon and within bounded memory, and what it must not touch
stays as it was.  (What the library says to each lie is in tests/unit/test_hostile.c.)"""
import errno, fcntl, json, os, resource, struct, subprocess, time
import tally
from forge import KEY_EXTENT, Forge, key, revoke
from tally import K, M, G, Mount

MEMORY = 300 * M                                   # of address space, for what reads a log of a few MiB
UNSHARE = 3 << 30 | 16 << 16 | ord('T') << 8 | 3   # _IOWR('T', 3, struct tally_range)


def limited(argv, want=0, stdout=None):
    """Run with little memory (sanitizers reserve terabytes: not with them)."""
    def limit():
        if not tally.ASAN:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    r = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=120, preexec_fn=limit)
    assert r.returncode == want, f'exit {r.returncode}: {argv}\n{r.stderr.decode(errors="replace")[-2000:]}'
    return r


def revokes(work):
    """A log of 3 MiB full of revokes, spread out over a large device and all at one place."""
    for name, spread in (('spread', 64), ('alike', 0)):
        image = f'{work}/{name}.img'
        tally.mkfs(image, 64 * G, '--journal-size', '3M')
        with Forge(image) as f:
            n = min(f.log_room() // 24, f.blocks // 64 - 2)
            f.log_transaction(b''.join(revoke(64 + spread * i, 64) for i in range(n)))
        limited([tally.tool('tallydump'), image, 'ls'])
        limited([tally.tool('fsck.tallyfs'), '-n', image])
        for option in ([], ['--json']):
            with open(f'{work}/journal', 'wb') as out:
                limited([tally.tool('tallydump'), *option, image, 'journal'], stdout=out)
        with open(f'{work}/journal', 'rb') as text:
            shown = json.load(text)
        assert len(shown['records']) == n + 1 and shown['records'][-1] == dict(
            txid=shown['last_txid'], type='revoke', block=64 + spread * (n - 1), bytes=0, off=64, len=0), shown['records'][-1]
        assert len(shown['commits']) == 2 and all(c['payload_matches'] for c in shown['commits'])
        print(f'{n} revokes, {name}: shown within {MEMORY // M} MiB')
        os.unlink(image)


def journals(work, mnt):
    """Too small for one operation; so large that reading it takes minutes."""
    image = f'{work}/journal.img'
    tally.mkfs(image, 64 * M, '--node-size', '64K')
    with Forge(image) as f:
        f.move_journal(f.log_start, 40)
    refused(image, mnt)
    tally.mkfs(image, 70 * G, '-b', '64K', '--node-size', '64K')
    with Forge(image) as f:
        first = f.per_group + f.page_blocks() + 1 + f.per_group * 16 // f.block_size
        f.move_journal(first, 2 * f.per_group - first - 8)
    refused(image, mnt)
    os.unlink(image)


def refused(image, mnt):
    start = time.monotonic()
    for argv in ([tally.tool('tallydump'), image, 'ls'], [tally.tool('fsck.tallyfs'), '-n', image]):
        r = tally.run(argv, want=(1, 4, 8))
        assert 'make no sense' in r.stdout + r.stderr, r.stdout + r.stderr
    try:
        Mount(image, mnt)
        assert False, 'mounted'
    except tally.Refused as e:
        assert 'make no sense' in str(e), e
    print(f'a journal out of bounds: refused in {time.monotonic() - start:.1f} s')


def dag(work):
    """Eleven levels, each names the one below 400 times.  Ends; and is ended by a signal when it would not."""
    image = f'{work}/dag.img'
    tally.mkfs(image, 16 * M)
    with Forge(image) as f:
        below, n = f.roots[0][0], min(400, (f.node_size - 64) // 40)
        for level, block in enumerate(f.free_places(11), 1):
            f.put_inner(block, level, [(key(1 + i, 1, 0), below) for i in range(n)])
            below = block
        f.set_root(below, 11)
    r = tally.fsck(image, want=4, timeout=60)
    assert r.stdout.count('is pointed to a second time') == 11 * (n - 1), r.stdout[-2000:]
    tally.run([tally.tool('tallydump'), image, 'ls'], want=1)


def unwritten(work, mnt):
    """Preallocated space that lies over the bitmap: writing to it is an error, and the bitmap is not written."""
    image = f'{work}/unwritten.img'
    tally.mkfs(image, 16 * M)
    with Mount(image, mnt) as m:
        tally.run(['fallocate', '-l', '16K', m / 'f'])
        ino = os.stat(m / 'f').st_ino
    with Forge(image) as f:
        place = f.block(f.header_at(0) + f.page_blocks())
        f.change_item(ino, KEY_EXTENT, (0, '<Q', place // f.block_size))
        before = f.at(place, f.block_size)
    m = Mount(image, mnt)
    fd = os.open(m / 'f', os.O_RDWR)
    try:
        os.pwrite(fd, b'A' * 4096, 0)
        os.fsync(fd)
        assert False, 'written over the bitmap'
    except OSError as e:
        assert e.errno in (errno.EUCLEAN, errno.EIO), e
    try:
        os.close(fd)
    except OSError:
        pass
    tally.detach(m.mountpoint)
    assert m.daemon.wait(60) in (0, 1), 'the block could not be written: it may say so'
    Mount.live.remove(m)
    with Forge(image) as f:
        assert f.at(place, f.block_size) == before, 'the bitmap was written over'
    tally.fsck(image, want=4)


def giant(work, mnt):
    """Unsharing a sparse file of 2^63 bytes: over soon, in calls that end; whoever waits for one can be killed."""
    image = f'{work}/giant.img'
    tally.mkfs(image, 64 * M)
    with Mount(image, mnt) as m:
        with open(m / 'a', 'wb') as a:
            a.write(os.urandom(64 * K))
        a, b = os.open(m / 'a', os.O_RDONLY), os.open(m / 'b', os.O_RDWR | os.O_CREAT)
        os.ftruncate(b, 2**63 - 4096)
        for at in (0, 1 << 40, 1 << 62):
            assert os.copy_file_range(a, b, 64 * K, 0, at) == 64 * K
        rest, calls = struct.pack('<QQ', 0, 2**64 - 1), 0
        while struct.unpack('<QQ', rest)[1]:
            before, rest, calls = rest, fcntl.ioctl(b, UNSHARE, rest), calls + 1
            assert struct.unpack('<QQ', rest)[0] > struct.unpack('<QQ', before)[0] and calls < 10, (before, rest)
        os.close(a)
        os.close(b)
        for name in 'b', 'c', 'd':
            with open(m / name, 'ab') as f:
                f.truncate(2**63 - 4096)
            tally.run([tally.tool('tallyctl'), 'unshare', m / name], timeout=60)
        os.stat(m / 'a')
    tally.fsck(image)


def test(work):
    revokes(work)
    dag(work)
    tally.require_fuse()
    mnt = f'{work}/mnt'
    journals(work, mnt)
    unwritten(work, mnt)
    giant(work, mnt)


tally.main(test)
