#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Flip one random bit in each of N blocks in use (45; 330 with LONG=1), one at a time on copies.

Every file read back is right or EIO, nothing crashes or hangs, and fsck -n reports each flip.  The blocks are found by a
reader of the format that shares no code with the programs.  Every third copy is mounted read-write and has a file
written, the others read-only.
"""
import errno, json, os, sys
import tally
from tally import K, M, Mount
from tfsformat import Image

EXPECTED = (errno.EIO, errno.EUCLEAN)


def populate(top, rng):
    """A tree with a bit of everything, small enough to be read hundreds of times."""
    for d in range(12):
        os.makedirs(f'{top}/dir{d}/sub')
        for i in range(40):
            with open(f'{top}/dir{d}/inline{i}', 'wb') as f:
                f.write(rng.randbytes(rng.randrange(1, 400)))
        for i in range(4):
            with open(f'{top}/dir{d}/sub/data{i}', 'wb') as f:
                f.write(rng.randbytes(rng.randrange(5 * K, 200 * K)))
        os.symlink(f'sub/data{d % 4}', f'{top}/dir{d}/link')
        os.setxattr(f'{top}/dir{d}', 'user.note', b'%d' % d * 50)
    with open(f'{top}/large', 'wb') as f:
        f.write(rng.randbytes(4 * M))


def facts(path):
    """What must not be wrong of one object: kind, content or entries, attributes."""
    kind = os.lstat(path).st_mode >> 12
    if kind == 0o4:
        what = sorted(os.listdir(path))
    elif kind == 0o12:
        what = os.readlink(path)
    else:
        what = [os.lstat(path).st_size, tally.sha256(path)]
    return [kind, what] + ([] if kind == 0o12 else [[k, os.getxattr(path, k).hex()] for k in sorted(os.listxattr(path))])


def read_back(top, model):
    """Runs as a process of its own, so that a hang is seen: counts right, EIO, and lists what is wrong."""
    with open(model) as f:
        expected = json.load(f)
    right, refused, wrong = 0, 0, []
    for path, want in expected.items():
        try:
            if facts(os.path.join(top, path)) == want:
                right += 1
            else:
                wrong.append(path)
        except OSError as e:
            if e.errno in EXPECTED:
                refused += 1
            else:
                wrong.append(f'{path}: {errno.errorcode[e.errno]}')
    print(json.dumps([right, refused, wrong]))


def flip(image, at, n, rng):
    bit = rng.randrange(n * 8)
    with open(image, 'r+b') as f:
        f.seek(at + bit // 8)
        byte = f.read(1)[0]
        f.seek(at + bit // 8)
        f.write(bytes([byte ^ 1 << bit % 8]))
    return f'byte {at + bit // 8} bit {bit % 8}'


def mount_and_read(copy, mnt, model, writable):
    """[right, refused, wrong], or None where mounting was refused, which delivers no byte either."""
    try:
        m = Mount(copy, mnt, '' if writable else 'ro')
    except tally.Refused:
        return None
    try:
        r = tally.run([sys.executable, '-B', __file__, '--read', mnt, model], timeout=120)
        if writable:
            try:
                with open(m / 'written-after', 'wb') as f:
                    f.write(b'x' * 100000)
                    f.flush()
                    os.fsync(f.fileno())
            except OSError as e:
                assert e.errno in (errno.EIO, errno.EROFS, errno.EUCLEAN), f'writing after the flip: {e}'
        assert m.daemon.poll() is None, f'the daemon died ({m.daemon.returncode}):\n{m.log()}'
        tally.run(['umount', '-i', mnt] if tally.AS_ROOT else ['fusermount3', '-u', mnt], timeout=60)
        code = m.daemon.wait(60)
        Mount.live.remove(m)
        assert code >= 0, f'the daemon died of signal {-code} at unmount:\n{m.log()}'
        return json.loads(r.stdout)
    finally:
        if m in Mount.live:
            m.kill()


def model_of(image, mnt, path):
    with Mount(image, mnt, 'ro'):
        expected = {os.path.relpath(os.path.join(folder, name), mnt): facts(os.path.join(folder, name))
                    for folder, dirs, files in os.walk(mnt) for name in dirs + files}
        expected['.'] = facts(mnt)
    with open(path, 'w') as f:
        json.dump(expected, f)


def choose(places, n, rng):
    """n places, the kinds in turn, no block twice."""
    for where in places.values():
        rng.shuffle(where)
    chosen = []
    while len(chosen) < n and any(places.values()):
        for kind, where in places.items():
            if where and len(chosen) < n:
                chosen.append((kind, *where.pop()))
    return chosen


def try_all(image, model, places, n, work, rng, table):
    copy, mnt = f'{work}/copy', f'{work}/mnt'
    for turn, (kind, at, size) in enumerate(choose(places, n, rng)):
        tally.run(['cp', '--sparse=always', image, copy])
        bit = flip(copy, at, size, rng)
        where = f'{kind}, {bit}'
        row = table.setdefault(kind, {'flips': 0, 'reported': 0, 'right': 0, 'EIO': 0, 'refused to mount': 0, 'wrong': 0})
        row['flips'] += 1
        r = tally.fsck(copy, want=None)
        if r.returncode & 0b1100:
            row['reported'] += 1
        else:
            print(f'NOT REPORTED by fsck (exit {r.returncode}): {where}')
        got = mount_and_read(copy, mnt, model, turn % 3 == 0)
        if got is None:
            row['refused to mount'] += 1
        else:
            row['right'] += got[0]
            row['EIO'] += got[1]
            row['wrong'] += len(got[2])
            for path in got[2][:5]:
                print(f'WRONG: {where}: {path}')


def test(work):
    tally.require_fuse()
    rng = tally.seeded()
    image, mnt, live = f'{work}/image', f'{work}/mnt', f'{work}/live'
    tally.mkfs(image, 64 * M, '--journal-size', '4M', '--group-blocks', '2048')
    with Mount(image, mnt):
        populate(mnt, rng)
    tally.fsck(image)
    model_of(image, mnt, f'{work}/model')
    table, n = {}, tally.count(45, 330)

    # a live journal: what was committed, and not yet written home, when the daemon was killed
    tally.run(['cp', '--sparse=always', image, live])
    m = Mount(live, mnt, 'commit=300')
    for i in range(12):
        os.mkdir(f'{mnt}/dir{i}/new')
        for name, size in (('small', 300), ('large', 50 * K)):
            with open(f'{mnt}/dir{i}/new/{name}', 'wb') as f:
                f.write(rng.randbytes(size))
        if i % 3 == 0:                          # several transactions
            tally.run([tally.tool('tallyctl'), 'sync', mnt])
    tally.run([tally.tool('tallyctl'), 'sync', mnt])
    m.kill()
    model_of(live, mnt, f'{work}/live-model')
    img = Image(live)
    records = {}
    for kind, at, size in img.live_log():
        records.setdefault(f'journal {kind}', []).append((at, size))
    img.close()
    assert records, 'the killed image has no live journal records'
    try_all(live, f'{work}/live-model', records, max(4, n // 8), work, rng, table)

    img = Image(image)
    places = img.places()
    img.close()
    try_all(image, f'{work}/model', places, n - max(4, n // 8), work, rng, table)

    for kind, row in table.items():
        print(f'{kind:<15} ' + ', '.join(f'{v} {k}' for k, v in row.items()))
    flips, reported = (sum(row[k] for row in table.values()) for k in ('flips', 'reported'))
    wrong = sum(row['wrong'] for row in table.values())
    print(f'{flips} bits flipped, {reported} reported by fsck -n; wrong bytes delivered: {wrong}')
    assert wrong == 0, 'something wrong was delivered'
    assert reported == flips, f'fsck -n did not report {flips - reported} of the flips'


if sys.argv[1:2] == ['--read']:
    read_back(*sys.argv[2:])
else:
    tally.main(test)
