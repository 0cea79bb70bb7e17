#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tallydump block, ls, cat and extract: the extracted tree is the one that was mounted, also with a journal to replay;
a flipped bit costs the file it is in and no other; a forged image writes nothing outside of the target."""
import json, os, shutil, stat, struct, subprocess
import tally
from tally import K, M, Mount
from tfsformat import Image, sealed, xxh3

DUMP = tally.tool('tallydump')
KEY_DIRENT = 8


def dump(image, *args, want=0):
    return tally.run([DUMP, image, *args], want=want)


def shown(image, *args):
    return json.loads(tally.run([DUMP, '--json', image, *args]).stdout)


def populate(top, rng):
    os.makedirs(f'{top}/a/b/c')
    for i in range(150):
        with open(f'{top}/a/n{i}', 'wb') as f:
            f.write(rng.randbytes(rng.choice((0, 5, 700, 5000, 70000))))
    with open(f'{top}/big', 'wb') as f:
        f.write(rng.randbytes(3 * M + 123))
    with open(f'{top}/sparse', 'wb') as f:
        f.truncate(500 * M)
        f.seek(100 * M)
        f.write(rng.randbytes(200 * K))
    with open(f'{top}/a/prealloc', 'wb') as f:
        os.posix_fallocate(f.fileno(), 0, 300 * K)
    os.link(f'{top}/big', f'{top}/a/b/hard link')
    os.symlink('../../nowhere/at all', f'{top}/a/b/sym')
    os.symlink('/etc', f'{top}/etc')
    os.mkfifo(f'{top}/fifo')
    with open(os.fsencode(top) + b'/not utf-8 \xff\xfe', 'wb') as f:
        f.write(b'x')
    if tally.AS_ROOT:
        os.mknod(f'{top}/null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.chown(f'{top}/a/n1', 1234, 4321)
        os.lchown(f'{top}/a/b/sym', 77, 78)
    os.setxattr(f'{top}/big', 'user.note', b'kept\0as it is')
    os.setxattr(f'{top}/a', 'user.empty', b'')
    os.setxattr(f'{top}/a/n3', 'user.long', b'v' * 3000)
    os.chmod(f'{top}/a/n2', 0o4711)
    os.chmod(f'{top}/a/b', 0o2750)
    os.chmod(f'{top}/a/n4', 0)
    for name, ns in ('a/n5', 1), ('a/b/c', 981173106123456789), ('sparse', 4102444800000000001):
        os.utime(f'{top}/{name}', ns=(ns, ns))
    os.utime(f'{top}/a/b/sym', ns=(5, 6), follow_symlinks=False)
    os.utime(top, ns=(7, 8))


def where(image, path):
    """Device bytes of the first extent of a file."""
    ino = shown(image, 'ls', path)['files'][0]['inode']
    e = shown(image, 'extents', str(ino))['extents'][0]
    return e['start'], e['blocks']


def blocks(image):
    g = shown(image, 'super')
    assert shown(image, 'block', '16')['kind'] == 'superblock'
    assert shown(image, 'block', str(g['journal_start']))['kind'] == 'journal'
    root = shown(image, 'block', str(g['roots'][0]['addr'] + 1))
    assert root['kind'] == 'node' and root['part_of'] == g['roots'][0]['addr'] and root['matches'], root
    at, _ = where(image, '/big')
    b = shown(image, 'block', str(at))
    assert b['kind'] == 'data' and b['matches'] and b['byte'] == at * g['block_size']
    with open(image, 'rb') as f:
        f.seek(b['byte'])
        assert bytes.fromhex(''.join(r['hex'] for r in b['content'])) == f.read(g['block_size'])
    assert shown(image, 'block', str(g['total_blocks'] - 3 * 64))['kind'] == 'free'


def listing(image, facts):
    files = shown(image, 'ls')['files']
    assert {f['name'] for f in files} >= {'a', 'big', 'etc', 'fifo', 'sparse', 'not utf-8 \\xff\\xfe'}, files
    by = {f['name']: f for f in files}
    assert by['etc']['target'] == '/etc' and by['big']['nlink'] == 2 and by['sparse']['size'] == 500 * M
    assert oct(int(by['a']['mode'], 8)) == facts['a'][0]
    assert 'name=n7' in dump(image, 'ls', '/a/').stdout
    for bad in ('/nowhere', 'big/x', 'a/../a', 'etc/passwd'):
        r = dump(image, 'ls', bad, want=1)
        assert bad in r.stderr and not r.stdout, r


def whole(image, out, facts, sums):
    dump(image, 'extract', '/', out)
    tally.same(facts, tally.describe(out))
    assert os.stat(f'{out}/sparse').st_blocks * 512 < 2 * M, 'the holes were filled'
    for name, digest in sums.items():
        p = subprocess.run([DUMP, image, 'cat', name], stdout=subprocess.PIPE)
        assert p.returncode == 0 and digest == p.stdout, name
    r = dump(image, 'extract', '/', out, want=1)
    assert 'not empty' in r.stderr, r
    one = out + '-one'
    dump(image, 'extract', '/a/n3', one)
    assert os.listdir(one) == ['n3']
    dump(image, 'extract', 'a/b', one + 'b')
    assert sorted(os.listdir(one + 'b')) == ['c', 'hard link', 'sym']


def flipped(image, work, facts):
    """The third block of a file."""
    copy, out = f'{work}/flipped', f'{work}/out-flipped'
    tally.run(['cp', '--sparse=always', image, copy])
    at, _ = where(copy, '/a/n149')
    with open(copy, 'r+b') as f:
        f.seek((at + 2) * 4096 + 99)
        byte = f.read(1)[0]
        f.seek(-1, 1)
        f.write(bytes([byte ^ 16]))
    good = subprocess.run([DUMP, image, 'cat', 'a/n149'], stdout=subprocess.PIPE).stdout
    r = subprocess.run([DUMP, copy, 'cat', 'a/n149'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert r.returncode == 1 and r.stdout == good[:8192] and f'block {at + 2}'.encode() in r.stderr, r.stderr
    assert not shown(copy, 'block', str(at + 2))['matches']
    r = dump(copy, 'extract', '/', out, want=1)
    assert f'a/n149: block {at + 2}' in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr
    rest = {k: v for k, v in facts.items() if k != 'a/n149'}
    tally.same(rest, tally.describe(out))
    assert not os.path.exists(f'{out}/a/n149')


# ---- a stranger's image ----

NOBODY = 65534
PERSON = ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups'] if tally.AS_ROOT else []


def person(command, *args, want=0):
    return tally.run([*PERSON, 'sh', '-c', command, 'sh', DUMP, *args], want=want)


def stranger(work):
    """Who extracts as an ordinary user gets no set-id file of his own, keeps his umask, and nobody looks on."""
    image, mine = f'{work}/stranger', f'{work}/mine'
    tally.mkfs(image, 64 * M)
    with Mount(image, f'{work}/mnt') as m:
        for mode in 0o6755, 0o4711, 0o2777, 0o666, 0o1777:
            with open(m / f'f{mode:o}', 'w') as f:
                f.write('x')
            os.chmod(f.name, mode)
        os.mkdir(m / 'sub')
        os.chmod(m / 'sub', 0o3777)
        with open(m / 'big', 'wb') as f:
            f.write(os.urandom(300 * K))
        if tally.AS_ROOT:
            tally.run(['chown', '-R', '1000:1000', m.mountpoint])
            os.chmod(m / 'f6755', 0o6755)
            os.setxattr(m / 'f4711', 'security.capability', struct.pack('<IIIII', 0x02000001, 1 << 7, 0, 0, 0))
        os.chmod(m.mountpoint, 0o2777)
    os.chmod(image, 0o644)
    os.mkdir(mine)
    if tally.AS_ROOT:
        os.chown(mine, NOBODY, NOBODY)

    def mode(path):
        return stat.S_IMODE(os.stat(path).st_mode)

    r = person('umask 027; "$1" "$2" extract / "$3"', image, f'{mine}/all', want=(0, 1))
    assert all('f4711' in line and 'attribute' in line for line in r.stderr.splitlines()), r
    want = {'f6755': 0o750, 'f4711': 0o710, 'f2777': 0o750, 'f666': 0o640, 'f1777': 0o750, 'sub': 0o750, 'big': 0o640, '.': 0o750}
    assert {n: mode(f'{mine}/all/{n}') for n in want} == want, os.listdir(f'{mine}/all')
    assert not any(n.startswith('security.cap') for n in os.listxattr(f'{mine}/all/f4711'))
    # a file alone, into a folder that is there and one that is not
    os.mkdir(f'{mine}/there')
    os.chmod(f'{mine}/there', 0o777)
    if tally.AS_ROOT:
        os.chown(f'{mine}/there', NOBODY, NOBODY)
    person('umask 022; "$1" "$2" extract /f6755 "$3" && "$1" "$2" extract /f666 "$4"', image, f'{mine}/there', f'{mine}/new')
    assert (mode(f'{mine}/there'), mode(f'{mine}/there/f6755'), mode(f'{mine}/new')) == (0o777, 0o755, 0o755)
    # killed in the middle (at 64 KiB of "big"), the first of all names: nobody but the owner comes in
    os.mkdir(f'{mine}/half')
    os.chmod(f'{mine}/half', 0o777)
    if tally.AS_ROOT:
        os.chown(f'{mine}/half', NOBODY, NOBODY)
    person('ulimit -c 0; ulimit -f 128; "$1" "$2" extract / "$3"; true', image, f'{mine}/half')
    assert os.listdir(f'{mine}/half') == ['big'] and mode(f'{mine}/half') == 0o700, os.listdir(f'{mine}/half')
    if not tally.AS_ROOT:
        return
    os.mkdir(f'{work}/others')
    os.chmod(f'{work}/others', 0o777)
    assert 'somebody else' in person('"$1" "$2" extract / "$3"', image, f'{work}/others', want=1).stderr
    # root gives all back, owners too
    dump(image, 'extract', '/', f'{mine}/root')
    st = os.stat(f'{mine}/root/f6755')
    assert (stat.S_IMODE(st.st_mode), st.st_uid, mode(f'{mine}/root')) == (0o6755, 1000, 0o2777)
    os.mkdir(f'{mine}/his')
    os.chown(f'{mine}/his', 1000, 1000)
    dump(image, 'extract', '/f666', f'{mine}/his')
    assert os.stat(f'{mine}/his').st_uid == 1000 and mode(f'{mine}/his') == 0o755


# ---- forged images ----

def reseal(image, at):
    """Tuples, their block's guard and the group header, after the node at byte @at was changed."""
    bs, first = image.block_size, at // image.block_size
    group = first // image.per_group
    header, bitmap, _ = image.group(group)
    for block in range(first, first + image.node_size // bs):
        i, slot = divmod(block % image.per_group, bs // 16)
        tuples = bitmap + bs * (1 + i)
        image.put(tuples + 16 * slot, struct.pack('<Q', xxh3(image.at(block * bs, bs), image.seed)))
        page = bytearray(image.at(header, 4096))
        struct.pack_into('<Q', page, 56 + 128 + 24 * (1 + i), xxh3(image.at(tuples, bs), image.seed))
        image.put(header, sealed(page, image.seed))


def forged(image, work, n, change):
    """A copy in which change(name, ino) has made a new (name, ino) of an entry; the guards are right."""
    copy, out = f'{work}/forged{n}', f'{work}/inside{n}/out'
    tally.run(['cp', '--sparse=always', image, copy])
    img, changed = Image(copy), 0
    for at, kind, _, _, data in list(img.items()):
        if kind != KEY_DIRENT:
            continue
        ino, name = struct.unpack_from('<Q', data)[0], data[9:]
        new = change(name, ino)
        if not new:
            continue
        assert len(new[0]) == len(name)
        img.put(at, struct.pack('<Q', new[1]) + data[8:9] + new[0])
        node = max(start for start, _ in img.nodes() if start <= at)
        reseal(img, node)
        changed += 1
    img.close()
    assert changed
    os.makedirs(os.path.dirname(out))
    r = tally.run([DUMP, copy, 'extract', '/', out], want=(0, 1))
    assert os.listdir(os.path.dirname(out)) == ['out'], 'something lies beside the target'
    assert r.returncode == 1 and r.stderr, f'the forgery was not noticed: {r}'
    shutil.rmtree(os.path.dirname(out))
    tally.run([DUMP, copy, 'ls', '/'], want=(0, 1))
    return r.stderr


def hostile(work):
    image = f'{work}/plain'
    tally.mkfs(image, 64 * M)
    with Mount(image, f'{work}/mnt') as m:
        os.makedirs(m / 'dd/sub')
        os.mkdir(m / 'ee')
        for name in 'xxevil', 'dots', 'fine':
            with open(m / name, 'w') as f:
                f.write('content')
        with open(m / 'ab', 'w') as f:
            f.write('content')
        dd = os.stat(m / 'dd').st_ino
    forged(image, work, 1, lambda name, ino: (b'../evi', ino) if name == b'xxevil' else None)
    forged(image, work, 2, lambda name, ino: (b'..', ino) if name == b'ab' else None)
    forged(image, work, 3, lambda name, ino: (b'do\0s', ino) if name == b'dots' else None)
    # directories in a circle, and one with two names
    said = forged(image, work, 4, lambda name, ino: (name, 1) if name == b'sub' else None)
    assert 'second name' in said, said
    said = forged(image, work, 5, lambda name, ino: (name, dd) if name == b'ee' else None)
    assert 'second name' in said, said
    said = forged(image, work, 7, lambda name, ino: (name, dd) if name == b'fine' else None)
    assert 'another file type' in said, said
    forged(image, work, 6, lambda name, ino: (name, 99999) if name == b'fine' else None)


def test(work):
    tally.require_fuse()
    rng = tally.seeded()
    image = f'{work}/image'
    tally.mkfs(image, 128 * M)
    m = Mount(image, f'{work}/mnt')
    populate(m.mountpoint, rng)
    with open(m / 'a/n149', 'wb') as f:
        f.write(rng.randbytes(60000))
    with open(m / 'big', 'rb') as f:
        sums = {'/big': f.read()}
    facts = tally.describe(m.mountpoint)
    if not tally.AS_ROOT:  # see stranger()
        os.umask(0)
        for fact in facts.values():
            fact[0] = oct(int(fact[0], 8) & ~0o7000)
    fd = os.open(m.mountpoint, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    m.kill()
    before = tally.sha256(image)
    whole(image, f'{work}/out1', facts, sums)
    assert tally.sha256(image) == before, 'the image was written to'
    with Mount(image, f'{work}/mnt'):
        r = tally.run([DUMP, image, 'ls'], want=1)
        assert 'in use' in r.stderr, r
    whole(image, f'{work}/out2', facts, sums)
    blocks(image)
    listing(image, facts)
    flipped(image, work, facts)
    stranger(work)
    hostile(work)


tally.main(test)
