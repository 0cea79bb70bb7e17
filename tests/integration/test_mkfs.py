#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mkfs.tallyfs: what it makes, what it refuses and leaves as it was, and how little it writes."""
import json, os, re, shutil, time
import tally
from tally import M, tool, run, sized



def mkfs(*args, want=0):
    return run([tool('mkfs.tallyfs'), *args], want=want)


def allocated(path):
    return os.stat(path).st_blocks * 512


def made(path, *args):
    return json.loads(mkfs('--json', *args, path).stdout)


def files(work):
    new = f'{work}/new'
    mkfs('-q', new, '20M')
    assert os.stat(new).st_size == 20 * M
    mkfs('-q', '-f', new, '30M')
    assert os.stat(new).st_size == 30 * M, 'grown'
    assert made(new, '-f')['total_bytes'] == 30 * M
    small = json.loads(mkfs('--json', '-f', new, '10M').stdout)
    assert small['total_bytes'] == 10 * M and os.stat(new).st_size == 30 * M, 'a part of the file'
    assert mkfs('-q', '-f', new).stdout == ''
    failing = f'{work}/failing'
    mkfs('-b', '3000', failing, '20M', want=1)
    mkfs(failing, '20K', want=1)
    assert not os.path.exists(failing), 'left behind'


def large(work):
    path = f'{work}/large'
    start = time.monotonic()
    mkfs('-q', path, '1T')
    took = time.monotonic() - start
    used = allocated(path)
    print(f'1 TiB: {took:.2f} s, {used // 1024} KiB written')
    assert used < 64 * M + M, 'the journal, and next to nothing'
    os.unlink(path)


def dry_run(work):
    path = f'{work}/dry'
    assert 'dry run' in mkfs('-N', path, '64M').stdout
    assert not os.path.exists(path)
    sized(path, 64 * M)
    mkfs('-N', path)
    assert allocated(path) == 0
    mkfs('-N', path, '128M')
    assert os.stat(path).st_size == 64 * M


def options(work):
    path = sized(f'{work}/options', 64 * M)
    uuid = '01234567-89ab-cdef-0123-456789abcdef'
    got = made(path, '-L', 'ümlaut', '-U', uuid, '-b', '1K', '-g', 'crc32', '--node-size', '8K', '--journal-size', '2M')
    want = {'label': 'ümlaut', 'uuid': uuid, 'block_size': 1024, 'guard': 'crc32', 'node_size': 8192, 'journal_bytes': 2 * M}
    assert {k: got[k] for k in want} == want, got
    for row in ('-L' + 'x' * 64, '-Unonsense', '-Owarp', '-O^warp', '-mdup', '-mtriple', '-gmd5', '--root-owner=1', '--root-owner=-1:2',
                '--root-owner=1:2x', '--journal-size=0', '--journal-size=4K', '--journal-size=60M', '--node-size=1K', '-b0',
                '--group-blocks=77', '--progress=perhaps'):
        r = mkfs('-f', row, path, want=1)
        assert r.stdout == '' and len(r.stderr.splitlines()) == 1 and r.stderr.startswith('mkfs.tallyfs: '), (row, r.stderr)
    assert mkfs('-f', '-v', path).stdout.count('\n') > 5


def foreign(work):
    path = sized(f'{work}/foreign', 64 * M)
    ext = shutil.which('mke2fs', path=os.environ['PATH'] + ':/sbin:/usr/sbin')
    assert ext, 'mke2fs is not there (package e2fsprogs)'
    run([ext, '-q', '-F', '-t', 'ext4', '-L', 'mine', path])
    before = tally.sha256(path)
    r = mkfs(path, want=1)
    assert re.search('ext4.*mine.*-f', r.stderr), r.stderr
    assert tally.sha256(path) == before, 'refused, but changed'
    mkfs('-q', '-f', path)
    with open(path, 'rb') as f:
        f.seek(1080)
        assert f.read(2) == b'\0\0', "ext4's magic is still there"
    r = mkfs(path, want=1)
    assert re.search('tallyfs already', r.stderr), r.stderr


def discards(work):
    path = f'{work}/full'
    with open(path, 'wb') as f:
        f.write(os.urandom(16 * M))
    mkfs('-q', '-K', path)
    assert allocated(path) >= 16 * M, '-K'
    mkfs('-q', '-f', path)
    print(f'16 MiB of junk: {allocated(path) // 1024} KiB after mkfs')


def in_use(work):
    path = sized(f'{work}/locked', 64 * M)
    try:
        loop = tally.Loop(path)
    except tally.Skip as e:
        print(f'not tried on a loop device: {e}')
        return
    r = mkfs(path, want=1)
    assert loop.device in r.stderr, r.stderr
    mkfs('-q', loop.device)
    r = mkfs('-f', loop.device, '1T', want=1)
    assert 'only' in r.stderr, r.stderr
    with open(loop.device, 'rb+', opener=lambda p, f: os.open(p, f | os.O_EXCL)):
        r = mkfs('-f', loop.device, want=1)
        assert 'in use' in r.stderr, r.stderr
    loop.detach()


def test(work):
    for part in (files, large, dry_run, options, foreign, discards, in_use):
        part(work)


tally.main(test)
