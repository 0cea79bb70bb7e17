#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""fsck's exit status: clean, leaks, errors, mended; and -p, which checks fully only what has seen errors.  What it finds
is tested by test_check, refusals by test_bad_input, an interrupted check by test_interrupt."""
import tally
from tally import M, Mount
from forge import Forge

FSCK = tally.tool('fsck.tallyfs')
SUPER_STATE, SUPER_INODES = 312, 264


def forged(image, *patches):
    img = Forge(image)
    img.change_supers(*patches)
    img.close()


def check(image, want, *options):
    return tally.run([FSCK, *options, image], want=want).stdout


def test(work):
    image = f'{work}/image'
    tally.mkfs(image, 64 * M)
    with Mount(image, f'{work}/mnt') as m, open(m / 'file', 'w') as f:
        f.write('there')
    for options in ('-n',), ('-p',), ('-y',), ('-p', '-f'), ():
        assert 'clean' in check(image, 0, *options)
    # a number that is wrong harms nobody, but clean it is not
    forged(image, (SUPER_INODES, '<Q', 77))
    for options in ('-n',), ('-y',), ('-p', '-f'), ():
        assert '0 errors, 1 leaks' in (said := check(image, 4, *options)), said
    # at boot nothing is looked at of what has seen no errors ...
    assert 'clean' in check(image, 0, '-p')
    # ... and all of what has
    forged(image, (SUPER_STATE, '<I', 1))
    assert '0 errors, 1 leaks' in (said := check(image, 4, '-p')), said
    before = tally.sha256(image)
    check(image, 4, '-n')
    check(image, 4)
    assert tally.sha256(image) == before


if __name__ == '__main__':
    tally.main(test)
