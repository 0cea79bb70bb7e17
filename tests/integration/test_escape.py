#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, labels and arguments that are commands to a terminal: whatever prints them, no such byte comes out, lines
cannot be forged, and JSON is JSON, from which the true name can be had.  In the sources, nothing prints them but core/lib/text.c."""
import base64, json, os, re, subprocess, unicodedata
import tally
from tally import M, Mount
from tfsformat import Image

# escape sequences, C1 as UTF-8 and as a byte, a line of its own, direction, invisible, no UTF-8, a backslash
EVIL = b'x\x1b]0;t\x07\r\xc2\x9b31m\nA: clean\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8b\xff\\x1b'
PLAIN_PRINTERS = {
    'core/lib/text.c': None,
    'common/cli.c': r'\\r\\033|\\\\u|stdout\);',           # the bar, and JSON's own escapes
    'fs/fuse/utab.c': r'',                                 # a file
    'tools/tallydump.c': r'escaped already|usage_text',
    'tools/dump_print.c': r'keys are ours|before, key|later\[i\]\.key|"%-18s "|print_value|json_object_get_string|"   "',
    'tools/dump_udev.c': r'ID_FS_|_ENC=',
    'fsck/main.c': r'usage_text|dprintf\(opt.progress_fd', # its name is escaped above
    'mkfs/main.c': r'usage_text',
}


def safe(raw, what):
    """Every byte that came out of a program is text that a terminal only shows."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as e:
        raise AssertionError(f'{what}: no UTF-8: {raw[max(0, e.start - 30):e.end + 30]!r}')
    for c in text:
        if c != '\n' and unicodedata.category(c) in ('Cc', 'Cf', 'Zl', 'Zp'):
            raise AssertionError(f'{what}: U+{ord(c):04X} in {text[max(0, text.index(c) - 60):][:120]!r}')
    assert not re.search(r'^A: clean', text, re.M), f'{what}: a forged line: {text!r}'
    return text


def run(tool, *args, want=None):
    """The output of a program; with --json also each line of it, parsed."""
    argv = [os.fsencode(a) for a in (tally.tool(tool), *args)]
    p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    assert p.returncode >= 0 and want in (None, p.returncode), f'{argv}: exit {p.returncode}\n{p.stdout}\n{p.stderr}'
    err, out = safe(p.stderr, argv), safe(p.stdout, argv)
    if '--json' not in args:
        return out + err
    return [json.loads(line) for line in out.splitlines()]


def true_names(o):
    """All that stands in base64 beside its escaped form, in any object of a JSON answer."""
    if isinstance(o, list):
        return [n for x in o for n in true_names(x)]
    if isinstance(o, dict):
        return [base64.b64decode(v) for k, v in o.items() if k.endswith('_b64')] + true_names(list(o.values()))
    return []


def tell(*args):
    """--json, and the evil name in it."""
    objects = run(*args)
    assert any(EVIL in n for n in true_names(objects)), f'{args}: {objects}'


def sources():
    bad = []
    for top in 'core', 'fs', 'common', 'mkfs', 'fsck', 'tools':
        for folder, _, files in os.walk(f'{tally.ROOT}/{top}'):
            for name in sorted(files):
                path = os.path.relpath(os.path.join(folder, name), tally.ROOT)
                if not name.endswith('.c') or path == 'core/lib/text.c':
                    continue
                with open(f'{tally.ROOT}/{path}') as f:
                    text = f.read()
                for m in re.finditer(r'(?<![\w])(v?f?printf|v?dprintf|f?puts|perror|psignal|v?warnx?|v?errx?)\(', text):
                    line = text[text.rfind('\n', 0, m.start()) + 1:]
                    line = line[:line.index('\n')]
                    allowed = PLAIN_PRINTERS.get(path)
                    if allowed is not None and re.search(allowed, line):
                        continue
                    # a text of our own is the other thing that may be printed as it is
                    if re.search(r'printf\("[^%]*$', line) or re.search(r'f?puts\("', line) or re.match(r'\t(/\*| \*)', line):
                        continue
                    if path == 'core/lib/log.c' and 'log_ident, line' in line:
                        continue
                    bad.append(f'{path}: {line.strip()}')
    assert not bad, 'printed without text_out, text_err or log_*:\n' + '\n'.join(bad)


def flip_first_extent(image):
    img = Image(image)
    at, _ = next(iter(img.extents()))
    img.put(at + 100, b'flipped')
    img.close()


def test(work):
    sources()
    tally.require_fuse()
    top = os.fsencode(work)
    image, mnt, name = top + b'/' + EVIL + b'.img', top + b'/' + EVIL, os.fsdecode(EVIL)
    assert b'\\x1b]0' in run('mkfs.tallyfs', '-L', EVIL, image, '16M', want=0).encode()
    tell('mkfs.tallyfs', '--json', '-f', '-L', EVIL, image)
    for program in 'mkfs.tallyfs', 'fsck.tallyfs', 'tallydump', 'tallyctl', 'tallyfs', 'mount.tallyfs', 'umount.fuse.tallyfs':
        for args in (('--' + name,), ('-' + name[1:],), (name,), (name, name), (name, name, name), ('-o', name, name, name)):
            run(program, *args)
    os.makedirs(mnt)
    log = open(f'{work}/log', 'wb+')
    daemon = subprocess.Popen([tally.tool('tallyfs'), '-f', image, mnt], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        tally.wait_for(lambda: os.path.ismount(mnt) or daemon.poll() is not None, 'mounted')
        inside = mnt + b'/' + EVIL
        with open(inside, 'wb') as f:
            f.write(os.urandom(20000))
        os.mkdir(mnt + b'/dir')
        os.symlink(EVIL, mnt + b'/dir/link')
        os.setxattr(inside, b'user.' + EVIL, EVIL)
        tell('tallyctl', '--json', 'status', mnt)
        tell('tallyctl', '--json', 'extents', inside)
        for args in (('status', mnt), ('extents', inside), ('extents', mnt), ('sync', inside), ('unshare', mnt + b'/no'), ('status', image)):
            run('tallyctl', *args)
        run('mkfs.tallyfs', '-f', image, want=1)
        run('fsck.tallyfs', '-n', image, want=8)
        run('tallyfs', image, mnt, want=1)
        run('mount.tallyfs', image, mnt, '-v', '-f', want=0)
        run('mount.tallyfs', image, mnt, '-o', 'remount,ro')
        run('tallyctl', 'umount', mnt, want=0)
        assert daemon.wait(60) == 0
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
        subprocess.run(['umount', '-i', '-l', mnt], stderr=subprocess.DEVNULL)
    log.seek(0)
    assert 'mounted at' in safe(log.read(), 'the log')
    flip_first_extent(image)
    run('tallyctl', 'status', image)
    tell('tallyctl', '--json', 'status', image)
    for args in ('-n', '-v'), ('-n', '--verify-data', '-C1'), ('-p', '--progress=always'), ('-y',):
        # the bar moves the cursor; the other lines all begin with the name that was given
        if '--progress=always' not in args:
            assert run('fsck.tallyfs', *args, image).startswith(work) or '-C1' in args
    problem, = (o for o in run('fsck.tallyfs', '-n', '--verify-data', '--json', image) if 'path' in o)
    assert base64.b64decode(problem['path_b64']) == b'/' + EVIL and problem['inode'] > 1, problem
    ino = json.loads(subprocess.check_output([tally.tool('tallydump'), '--json', image, 'ls', b'/' + EVIL]))['files'][0]['inode']
    for args in (('super',), ('ls',), ('ls', '/dir'), ('inode', str(ino)), ('extents', str(ino)), ('node', '0'), ('journal',),
                 ('ls', b'/' + EVIL), ('ls', b'/no' + EVIL), ('cat', b'/no' + EVIL), ('extract', '/', image),
                 ('extract', '/', top + b'/out' + EVIL), (EVIL,), ('inode', EVIL)):
        run('tallydump', image, *args)
    assert os.listdir(top + b'/out' + EVIL) == [b'dir'], 'the damaged file was extracted'
    for args in ('super',), ('ls',), ('ls', '/dir'), ('inode', str(ino)):
        tell('tallydump', '--json', image, *args)
    run('tallydump', '--udev', image, want=0)
    tally.run(['mkfs.ext4', '-q', '-F', '-L', b'a\xc2\x9b\x1b[1m'.decode(), tally.sized(f'{work}/ext', 8 * M)])
    assert 'ext4' in run('mkfs.tallyfs', f'{work}/ext', want=1)


tally.main(test)
