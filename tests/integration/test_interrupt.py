#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C: fsck reports nothing of a clean image and exits 32, wherever it is; mkfs says a line, and what it leaves is
either no file system or a whole one."""
import fcntl, json, os, signal, subprocess, time
import tally
from tally import M, Mount


def fill(image, mnt):
    with Mount(image, mnt) as m:
        for d in range(8):
            os.mkdir(m / f'd{d}')
            for i in range(150):
                with open(m / f'd{d}/a name of some length {i}', 'w') as f:
                    f.write('x' * (600 if i % 2 else 9000))


def interrupted_fsck(image, lines, *options):
    """SIGINT when the progress has come so far; it hears of it at its next look."""
    r, w = os.pipe()
    fcntl.fcntl(w, 1031, 4096)  # F_SETPIPE_SZ: it cannot run far ahead of what is read
    p = subprocess.Popen([tally.tool('fsck.tallyfs'), *options, f'-C{w}', image], pass_fds=[w], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.close(w)
    with os.fdopen(r) as progress:
        for _ in range(lines):
            if not progress.readline():
                break
        p.send_signal(signal.SIGINT)
        rest = progress.read().splitlines()
    out, err = p.communicate(timeout=60)
    return p.returncode, out, err, bool(rest) and rest[-1].startswith('4 ')


def fsck(image):
    cancelled = 0
    for lines in range(1, 120, 4):
        code, out, err, last_pass = interrupted_fsck(image, lines, '-n', '--verify-data')
        assert lines > 1 or not last_pass, 'it went on in spite of the signal'
        if code == 0:  # it was faster
            assert out.startswith(image) and ': clean' in out and not err, (out, err)
            continue
        cancelled += 1
        assert (code, out) == (32, ''), f'after {lines} lines: exit {code}, {out}'
        assert err == f'fsck.tallyfs: {image}: interrupted; not checked to the end\n', err
    assert cancelled > 10, f'only {cancelled} were interrupted'
    code, out, _, _ = interrupted_fsck(image, 2, '-p', '-f', '--json', '--progress=never')
    answer = json.loads(out.splitlines()[-1])
    assert code == answer['exit_status'] and answer['clean'] == (code == 0) and 'error' in answer or code == 0, answer


def interrupted_mkfs(delay, *args):
    p = subprocess.Popen([tally.tool('mkfs.tallyfs'), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    time.sleep(delay)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    return p.returncode, out, err


def mkfs(work):
    """At moments spread over its life; those before it looks for signals, or after its end, do not count."""
    told = {'nothing was changed': 0, 'what was there before is gone': 0, 'created': 0}
    image = tally.sized(f'{work}/old', 1200 * M)
    start = time.monotonic()
    tally.run([tally.tool('mkfs.tallyfs'), '-q', '--journal-size', '64M', image])
    seconds = time.monotonic() - start
    for i in range(20):
        tally.run([tally.tool('mkfs.tallyfs'), '-q', '-f', image])
        before = tally.run([tally.tool('tallyctl'), 'status', image]).stdout
        code, out, err = interrupted_mkfs(seconds * i / 15, '-f', '--journal-size', '64M', image)
        if code < 0 and not out and not err:
            continue  # it had not even begun
        if code == 0:
            assert 'UUID' in out and not err
            tally.fsck(image)
            continue
        why = err.strip().split('no file system was made')[1].strip(',; ')
        told[why] += 1
        assert (code, out) == (1, '') and err.startswith(f'mkfs.tallyfs: {image}: interrupted: '), (code, out, err)
        after = tally.run([tally.tool('tallyctl'), 'status', image], want=(0, 1))
        if why == 'nothing was changed':
            assert after.stdout == before
        else:
            assert after.returncode == 1 and 'not a tallyfs' in after.stderr, after
    for i in range(10):
        new = f'{work}/new'
        code, out, err = interrupted_mkfs(seconds * i / 10, '--journal-size', '64M', new, '1200M')
        assert os.path.exists(new) == (code == 0), f'exit {code}, {out}{err}'
        if code == 0:
            os.unlink(new)
        elif err:
            assert (code, err) == (1, f'mkfs.tallyfs: {new}: interrupted: no file system was made\n') or 'nothing' in err, err
            told['created'] += 1
    print(told)
    assert told['what was there before is gone'] and told['created'], f'never interrupted in the middle: {told}'


def test(work):
    tally.require_fuse()
    image = f'{work}/image'
    tally.mkfs(image, 64 * M)
    fill(image, f'{work}/mnt')
    fsck(image)
    mkfs(work)


tally.main(test)
