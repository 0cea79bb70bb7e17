#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong invocations and hostile or foreign images: the message and exit code each gets, as a table per program.

A row: what it is, the arguments ({x} is the image x made below), the exit code, a pattern that standard error must hold.
No row may take longer than 60 seconds, die of a signal or leave a mount behind.
"""
import os, random, re, shutil, struct
import tally
from tally import K, M, Mount
from tfsformat import PAGE, Image, sealed

NOT_OURS = r'not a tallyfs|no tallyfs|superblock'


def patch_supers(path, offset, fmt, *values):
    """Change a field in the superblock and its copies, with good checksums: what a newer program might write."""
    image = Image(path)
    for at in image.supers():
        page = bytearray(image.at(at, PAGE))
        struct.pack_into(fmt, page, offset, *values)
        image.put(at, sealed(page))
    image.close()


def make_images(work):
    names = {}

    def image(name, size=None, like=None):
        names[name] = path = f'{work}/{name}.img'
        if like:
            shutil.copyfile(names[like], path)
        elif size is not None:
            tally.sized(path, size)
        return path

    tally.mkfs(image('good'), 64 * M)
    image('empty', 0)
    image('zeros', 64 * M)
    with open(image('random'), 'wb') as f:
        f.write(random.Random(1).randbytes(8 * M))
    with open(image('text'), 'w') as f:
        f.write('this is no file system\n' * 1000)
    for cut in (4 * K, 65536 + 100, 65536 + 4096, 1 * M, 40 * M):
        os.truncate(image(f'cut{cut}', like='good'), cut)
    image('ext4', 16 * M)
    mke2fs = shutil.which('mkfs.ext4', path=os.environ['PATH'] + ':/sbin:/usr/sbin')
    assert mke2fs, 'mkfs.ext4 is not there (package e2fsprogs)'
    tally.run([mke2fs, '-q', '-F', names['ext4']])
    patch_supers(image('newer', like='good'), 16, '<I', 2)
    patch_supers(image('incompat', like='good'), 120, '<Q', 1 << 40)
    patch_supers(image('ro_compat', like='good'), 112, '<Q', 1 << 40)
    patch_supers(image('compat', like='good'), 104, '<Q', 1 << 40)
    # fields that make no sense, behind good checksums
    for name, offset, fmt, values in (
            ('blocksize', 152, '<I', (3000,)), ('blocksize0', 152, '<I', (0,)), ('hugeblocks', 168, '<Q', (1 << 62,)),
            ('nodesize', 156, '<I', (1 << 30,)), ('pergroup', 160, '<I', (0,)), ('journal', 184, '<QQ', (1 << 50, 1 << 50)),
            ('journal0', 184, '<QQ', (0, 0)), ('root', 320, '<Q', (1 << 55,)), ('rootlevel', 336, '<I', (200,)),
            ('rootself', 320, '<Q', (16,)), ('noroot', 320, '<Q', (0,)), ('guard', 20, '<I', (77,)),
            ('groupsinit', 216, '<Q', (1 << 60,)), ('nrgroups', 176, '<Q', (1 << 60,))):
        patch_supers(image(name, like='good'), offset, fmt, *values)
    copy = Image(image('nocopy', like='good'))
    copy.put(copy.supers()[-1], bytes(PAGE))
    copy.close()
    copy = Image(image('noprimary', like='good'))
    copy.put(copy.supers()[0], bytes(PAGE))
    copy.close()
    image('nothere')
    os.mkdir(image('folder'))
    os.mkfifo(image('fifo'))
    os.mkdir(f'{work}/mnt')
    image('used', like='good')
    names.update(work=work, mnt=f'{work}/mnt', tiny=tally.sized(f'{work}/tiny.img', 300 * K))
    return names


GARBLED = ('blocksize', 'blocksize0', 'hugeblocks', 'nodesize', 'pergroup', 'journal', 'journal0', 'root', 'rootlevel',
           'rootself', 'noroot', 'guard', 'groupsinit', 'nrgroups')
FOREIGN = ('empty', 'zeros', 'random', 'text', 'ext4', 'cut4096', 'cut65636')

MKFS = [
    ('no argument', '', 1, r'[Uu]sage|DEVICE'),
    ('unknown option', '--no-such-option {zeros}', 1, r'no-such-option'),
    ('too many arguments', '{zeros} 64M extra', 1, r'extra|[Uu]sage|too many'),
    ('size that is no number', '{zeros} 12parsecs', 1, r'12parsecs'),
    ('negative size', '{zeros} -- -5', 1, r'-5'),
    ('block size that is no power of two', '-b 3000 {zeros}', 1, r'block size'),
    ('block size too big', '-b 1M {zeros}', 1, r'block size'),
    ('node size below the block size', '-b 16K --node-size 4K {zeros}', 1, r'node size'),
    ('unknown guard', '-g md5 {zeros}', 1, r'md5'),
    ('unknown feature', '-O warp-drive {zeros}', 1, r'warp-drive'),
    ('bad uuid', '-U not-a-uuid {zeros}', 1, r'not-a-uuid'),
    ('label too long', '-L ' + 'x' * 64 + ' {zeros}', 1, r'label'),
    ('bad owner', '--root-owner nobody-there:x {zeros}', 1, r'nobody-there|root-owner'),
    ('too small', '{tiny}', 1, r'too small'),
    ('not there, no size', '{nothere}', 1, r'nothere|No such file'),
    ('a folder', '{folder}', 1, r'folder'),
    ('holds ext4', '{ext4}', 1, r'ext4.*-f|-f.*ext4'),
    ('holds a tallyfs', '{good}', 1, r'tallyfs.*-f|-f.*tallyfs'),
    ('in use', '-f {used}', 1, r'in use|mounted|served'),
]

TALLYFS = [
    ('no argument', '', None, r'[Uu]sage|DEVICE'),
    ('one argument', '{good}', None, r'[Uu]sage|MOUNTPOINT|mount point'),
    ('unknown option', '--no-such-option {good} {mnt}', None, r'no-such-option'),
    ('bad cache size', '{good} {mnt} -o cache_size=lots', None, r'cache_size|lots'),
    ('bad commit', '{good} {mnt} -o commit=-1', None, r'commit'),
    ('bad verify', '{good} {mnt} -o verify=maybe', None, r'verify|maybe'),
    ('bad errors', '{good} {mnt} -o errors=ignore', None, r'errors|ignore'),
    ('norecovery without ro', '{good} {mnt} -o norecovery', None, r'norecovery'),
    ('no such image', '{nothere} {mnt}', None, r'nothere'),
    ('no such mount point', '{good} {work}/nowhere', None, r'nowhere'),
    ('mount point is a file', '{good} {text}', None, r'text'),
    ('image is a folder', '{folder} {mnt}', None, r'folder'),
    ('image is a fifo', '{fifo} {mnt}', None, r'fifo'),
    ('served already', '{used} {mnt}', None, r'in use|served|mounted'),
    ('newer version', '{newer} {mnt}', None, r'version'),
    ('unknown incompat feature', '{incompat} {mnt}', None, r'feature'),
    ('unknown ro_compat feature, rw', '{ro_compat} {mnt}', None, r'feature|read-only'),
    ('cut in the middle', '{cut41943040} {mnt}', None, r'small|short|truncated|size|cut'),
    *((f'foreign: {n}', '{%s} {mnt}' % n, None, NOT_OURS) for n in FOREIGN),
    *((f'garbled: {n}', '{%s} {mnt}' % n, None, r'.') for n in GARBLED),
]

FSCK = [
    ('no argument', '', 16, r'[Uu]sage|DEVICE'),
    ('unknown option', '--no-such-option {good}', 16, r'no-such-option'),
    ('-n and -y', '-n -y {good}', 16, r'-n|-y'),
    ('-n and -p', '-n -p {good}', 16, r'-n|-p'),
    ('bad -b', '-n -b zero {good}', 16, r'zero|-b'),
    ('-b, a copy that is damaged', '-n -b 1 {nocopy}', (4, 8), r'copy 1 of the superblock'),
    ('-b, the damaged primary', '-n -b 0 {noprimary}', (4, 8), r'not a tallyfs'),
    ('-b, good ones', '-n -b 1 {good}', 0, None),
    ('no such image', '-n {nothere}', 8, r'nothere'),
    ('a folder', '-n {folder}', 8, r'folder'),
    ('in use', '-n {used}', 8, r'in use|served|mounted'),
    ('newer version', '-n {newer}', 8, r'version'),
    ('unknown incompat feature', '-n {incompat}', 8, r'feature'),
    ('good', '-n {good}', 0, None),
    ('unknown compat feature', '-n {compat}', 0, None),
    ('cut in the middle', '-n {cut41943040}', (4, 8), r'.'),
    *((f'foreign: {n}', '-n {%s}' % n, 8, NOT_OURS) for n in FOREIGN),
    *((f'garbled: {n}', '-n {%s}' % n, (4, 8), r'.') for n in GARBLED),
]

DUMP = [
    ('no argument', '', None, r'[Uu]sage|DEVICE'),
    ('no command', '{good}', None, r'[Uu]sage|super|command'),
    ('unknown command', '{good} fortune', None, r'fortune'),
    ('unknown option', '--no-such-option {good} super', None, r'no-such-option'),
    ('group without a number', '{good} group', None, r'group'),
    ('group that is no number', '{good} group x', None, r'x'),
    ('group out of range', '{good} group 99999', None, r'99999'),
    ('tuple out of range', '{good} tuple 99999999999', None, r'99999999999'),
    ('node out of range', '{good} node 99999999999', None, r'99999999999'),
    ('node that is none', '{good} node 17', None, r'17'),
    ('inode that is not there', '{good} inode 4242', None, r'4242'),
    ('block without a number', '{good} block', 1, r'block'),
    ('block out of range', '{good} block 99999999999', 1, r'99999999999'),
    ('block that is negative', '{good} -- block -1', 1, r'-1'),
    ('ls of what is not there', '{good} ls /nowhere', 1, r'nowhere'),
    ('ls with two paths', '{good} ls / /', 1, r'too many'),
    ('cat without a path', '{good} cat', 1, r'PATH'),
    ('cat of a directory', '{good} cat /', 1, r'directory'),
    ('cat through ..', '{good} cat /../etc/passwd', 1, r'etc/passwd'),
    ('cat as JSON', '--json {good} cat /x', 1, r'JSON'),
    ('extract without a target', '{good} extract /', 1, r'DIRECTORY'),
    ('extract to a full directory', '{good} extract / {work}', 1, r'not empty'),
    ('extract to a file', '{good} extract / {text}', 1, r'text'),
    ('extract to nowhere', '{good} extract / {work}/no/where', 1, r'where'),
    ('extract of what is not there', '{good} extract /x {work}/never', 1, r'/x'),
    ('ls of an image in use', '{used} ls', 1, r'in use'),
    ('no such image', '{nothere} super', None, r'nothere'),
    *((f'foreign: {n}', '{%s} super' % n, None, NOT_OURS) for n in FOREIGN),
    *((f'garbled: {n}', '{%s} %s' % (n, what), (0, 1), None) for n in GARBLED for what in ('super', 'inode 1', 'journal', 'group 0', 'block 17', 'ls', 'cat x')),
]

CTL = [
    ('no argument', '', 1, r'[Uu]sage|status'),
    ('unknown command', 'fortune {mnt}', 1, r'fortune'),
    ('no target', 'status', 1, r'[Uu]sage|mount point'),
    ('no such target', 'status {nothere}', 1, r'nothere'),
    ('no tallyfs mount', 'status {mnt}', 1, r'mnt'),
    ('sync of no tallyfs', 'sync {mnt}', 1, r'mnt'),
    ('umount of no tallyfs', 'umount {mnt}', 1, r'mnt'),
    ('status of a foreign image', 'status {ext4}', 1, NOT_OURS),
]

HELPER = [
    ('no argument', '', 1, r'[Uu]sage'),
    ('one argument', '{good}', 1, r'[Uu]sage|mount point'),
    ('no such image', '{nothere} {mnt}', 32, r'nothere'),
    ('foreign image', '{ext4} {mnt}', 32, NOT_OURS),
    ('bad option value', '{good} {mnt} -o commit=-1', (1, 32), r'commit'),
    ('in use', '{used} {mnt}', 32, r'in use|served|mounted'),
    ('remount of what is not mounted', '{good} {mnt} -o remount,ro', (1, 32), r'remount'),
]

PROGRAMS = {'mkfs.tallyfs': MKFS, 'fsck.tallyfs': FSCK, 'tallydump': DUMP, 'tallyctl': CTL, 'tallyfs': TALLYFS,
            'mount.tallyfs': HELPER}


def one(program, row, names):
    what, args, code, pattern = row
    argv = [tally.tool(program)] + [a.format(**names) for a in args.split()]
    r = tally.run(argv, timeout=60, want=None)
    bad = []
    wanted = code if isinstance(code, tuple) else (code,)
    if r.returncode not in wanted if code is not None else r.returncode == 0:
        bad.append(f'exit {r.returncode}, wanted {"not 0" if code is None else code}')
    said = r.stdout + r.stderr if program == 'fsck.tallyfs' else r.stderr     # what fsck finds is its result
    if pattern and not re.search(pattern, said, re.I):
        bad.append(f'it does not say /{pattern}/')
    if pattern and len(r.stderr.splitlines()) > (60 if program == 'fsck.tallyfs' else 6):
        bad.append('more than a line or two of error text')
    if tally.mounted(names['mnt']):
        bad.append('it mounted')
        tally.detach(names['mnt'])
    for b in bad:
        print(f'{program}: {what}: {b}\n    {" ".join(argv)[:300]}\n    stdout: {r.stdout[:300]!r}\n    stderr: {r.stderr[:500]!r}')
    return not bad


def accepted(names):
    """What is odd but allowed."""
    mnt = names['mnt'] + '2'
    with Mount(names['compat'], mnt) as m:
        os.mkdir(m / 'works')
    with Mount(names['ro_compat'], mnt, 'ro'):
        assert os.listdir(mnt) == []


def preened(work, names):
    """fsck -p and -y refuse what a mount refuses, in the same words, and leave what is in the journal where it is."""
    pending = f'{work}/pending.img'
    shutil.copyfile(names['good'], pending)
    m = Mount(pending, names['mnt'] + '3')
    fd = os.open(m / 'file', os.O_CREAT | os.O_WRONLY)
    os.fsync(fd)
    os.close(fd)
    m.kill()
    size = os.path.getsize(pending)
    for damage, code, pattern in (
            (lambda p: patch_supers(p, 112, '<Q', 1 << 40), 8, r'allow reading only'),
            (lambda p: os.truncate(p, size - 1 * M), 4, r'the device only')):
        path = f'{work}/preened.img'
        shutil.copyfile(pending, path)
        damage(path)
        before = tally.sha256(path)
        for option in ('-p', '-y'):
            r = tally.run([tally.tool('fsck.tallyfs'), option, path], want=code)
            assert re.search(pattern, r.stderr), r.stderr
            assert tally.sha256(path) == before, f'fsck {option} wrote to it'
    assert 'journal replayed' in tally.run([tally.tool('fsck.tallyfs'), '-p', pending]).stdout


def test(work):
    names = make_images(work)
    programs = dict(PROGRAMS)
    try:
        tally.require_fuse()
        server = Mount(names['used'], f'{work}/served')
    except tally.Skip as e:
        print(f'mounting rows skipped: {e}')
        server = None
        programs = {p: [r for r in rows if '{used}' not in r[1]] for p, rows in programs.items()
                    if p not in ('tallyfs', 'mount.tallyfs')}
    if not tally.AS_ROOT:
        del programs['mount.tallyfs']
    passed = failed = 0
    for program, rows in programs.items():
        for row in rows:
            if one(program, row, names):
                passed += 1
            else:
                failed += 1
        for flag in ('--help', '--version'):
            r = tally.run([tally.tool(program), flag])
            assert r.stdout and not r.stderr, f'{program} {flag} does not answer on stdout alone'
    if server:
        server.umount()
        accepted(names)
        preened(work, names)
    print(f'{passed} rows right, {failed} wrong')
    assert not failed, f'{failed} rows are not as the table says'


tally.main(test)
