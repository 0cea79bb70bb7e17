#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody comes upon a damaged leaf of the tree: nothing can be changed from then on, and nothing that was is lost.

With the kernel's write-back cache, which still holds what programs have written, and without.
"""
import errno, os, struct
import tally
from tally import M, Mount
from tfsformat import Image

FILES = 1500


def populate(image, mnt):
    with Mount(image, mnt) as m:
        os.mkdir(m / 'd')
        for i in range(FILES):
            with open(m / f'd/f{i}', 'w') as f:
                f.write(f'{i}\n')
        newest = os.stat(m / f'd/f{FILES - 1}').st_ino
    return newest


def flip_leaf(image, newest):
    """One that holds nothing of the root directory, nor what new files need; flipped again, it is whole."""
    with Image(image) as im:
        for at, node in im.nodes():
            _, level, n, _ = struct.unpack_from('<IHHQ', node)
            inos = [] if level else [struct.unpack_from('<Q', node, 64 + 32 * i)[0] for i in range(n)]
            if inos and 500 < inos[0] and inos[-1] < newest - 100:
                im.put(at + 9000, bytes([im.at(at + 9000, 1)[0] ^ 1]))
                return at
    raise AssertionError('there is no such leaf')


def flip_back(image, at):
    with Image(image) as im:
        im.put(at + 9000, bytes([im.at(at + 9000, 1)[0] ^ 1]))


def refused(call, want):
    try:
        call()
    except OSError as e:
        assert e.errno in want, e
        return True
    return False


def come_upon_it(m):
    met = [refused(lambda i=i: os.stat(m / f'd/f{i}'), (errno.EIO, errno.EUCLEAN)) for i in range(1, FILES)]
    assert 0 < sum(met) < FILES / 2, f'{sum(met)} of {FILES} files were not to be had'


def write_on(fd):
    """Until it is refused.  What was taken."""
    taken = b''
    for i in range(20):
        piece = b'%d' % i * 5000
        try:
            taken += piece[:os.write(fd, piece)]
            os.fsync(fd)
        except OSError as e:
            assert e.errno == errno.EROFS, e
            return taken
    raise AssertionError('a file system that is read-only takes one write after the other')


def one(image, mnt, newest, options):
    at = flip_leaf(image, newest)
    content = os.urandom(3 * M)
    with Mount(image, mnt, options) as m:
        fd = os.open(m / 'log', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        assert os.write(fd, content) == len(content)
        with open(m / 'precious', 'w') as f:
            f.write('precious')
        os.rename(m / 'd/f0', m / 'renamed')
        come_upon_it(m)
        assert refused(lambda: os.mkdir(m / 'x'), (errno.EROFS,))
        assert refused(lambda: os.open(m / 'precious', os.O_WRONLY), (errno.EROFS,))
        assert refused(lambda: os.unlink(m / 'precious'), (errno.EROFS,))
        content += write_on(fd)
        os.close(fd)
    with open(m.logname) as f:
        log = f.read()
    assert log.count('now read-only; what was written before still goes to the device') == 1, log[:2000]
    assert 'lost' not in log, log[-2000:]
    os.unlink(m.logname)
    flip_back(image, at)
    with Mount(image, mnt) as m:
        with open(m / 'log', 'rb') as f:
            assert f.read() == content, 'what had been written is not there'
        with open(m / 'precious') as f:
            assert f.read() == 'precious'
        os.rename(m / 'renamed', m / 'd/f0')
    tally.fsck(image)


def test(work):
    tally.require_fuse()
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image)
    newest = populate(image, mnt)
    for options in 'commit=300', 'commit=300,no_writeback_cache':
        one(image, mnt, newest, options)
        print(f'{options}: ok')


if __name__ == '__main__':
    tally.main(test)
