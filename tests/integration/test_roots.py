#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What everything hangs on: damaged superblocks and journal headers are told, mended by fsck -p and by a mount, and a
copy that an ordinary user planted is not believed.  Who may not see the device does not learn where his blocks are."""
import fcntl, json, os, struct
import tally
from tally import M, Mount
from tfsformat import Image, SUPER_AT, PAGE, sealed

FSCK, CTL = tally.tool('fsck.tallyfs'), tally.tool('tallyctl')


def made(work, size):
    image = f'{work}/image'
    tally.mkfs(image, size)
    with Mount(image, f'{work}/mnt') as m:
        with open(m / 'file', 'w') as f:
            f.write('there')
    return image


def content(image, mnt, options=''):
    with Mount(image, mnt, options) as m, open(m / 'file') as f:
        return f.read()


def damage(image, at):
    with open(image, 'r+b') as f:
        f.seek(at + 200)
        byte = f.read(1)
        f.seek(at + 200)
        f.write(bytes([byte[0] ^ 1]))


def superblocks(work):
    for size in 64 * M, 256 * M:
        image = made(work, size)
        img = Image(image)
        places = [*img.supers(), img.log_at(0), img.log_at(1)]
        img.close()
        assert len(places) == (4 if size == 64 * M else 5), places
        for at in places:
            damage(image, at)
            assert 'damaged' in (said := tally.fsck(image, want=4).stdout) or 'checksum' in said, said
            assert content(image, f'{work}/mnt', 'ro') == 'there'
            tally.fsck(image, want=4)       # reading has written nothing
            assert content(image, f'{work}/mnt') == 'there'
            tally.fsck(image)
            damage(image, at)
            assert 'written anew' in (said := tally.run([FSCK, '-p', image], want=1).stdout), said
            tally.fsck(image)
            assert 'clean' in (said := tally.run([FSCK, '-p', image]).stdout), said
            assert content(image, f'{work}/mnt') == 'there'


def planted(work):
    """A superblock where one of 2 KiB blocks would have its first copy: in a file."""
    image = made(work, 256 * M)
    evil = f'{work}/evil'
    tally.mkfs(evil, 256 * M, '-b', '2K', '-L', 'evil')
    at = 32 * M - PAGE
    img = Image(evil)
    blob = img.at(at, PAGE)
    img.close()
    assert blob[:7] == b'tallyFS'
    with open(image, 'r+b') as f:
        f.seek(at)
        f.write(blob)
    damage(image, SUPER_AT)
    assert content(image, f'{work}/mnt') == 'there'
    with open(image, 'r+b') as f:
        f.seek(SUPER_AT)
        f.write(bytes(PAGE))
    assert content(image, f'{work}/mnt') == 'there'
    tally.fsck(image)


def stale(work):
    """A write of the primary that the device forgot."""
    image = made(work, 64 * M)
    img = Image(image)
    old = img.at(SUPER_AT, PAGE)
    img.close()
    with Mount(image, f'{work}/mnt') as m:
        for n in range(300):
            open(m / f'{n}', 'w').close()
    with open(image, 'r+b') as f:
        f.seek(SUPER_AT)
        f.write(old)
    tally.fsck(image, want=4)
    with Mount(image, f'{work}/mnt') as m:
        assert len(os.listdir(m.mountpoint)) == 301
    tally.fsck(image)


def addresses(work):
    if not tally.AS_ROOT:
        return
    image = made(work, 64 * M)
    with Mount(image, f'{work}/mnt') as m:
        with open(m / 'data', 'wb') as f:
            f.write(os.urandom(100000))
        shown = json.loads(tally.run([CTL, '--json', 'extents', m / 'data']).stdout)['extents']
        assert shown[0]['address'] > 0, shown
        os.chmod(work, 0o755)
        fd = os.open(m / 'data', os.O_RDONLY)
        if (pid := os.fork()) == 0:
            try:
                os.setgid(65534)
                os.setuid(65534)
                buf = bytearray(16 + 100 * 32)
                struct.pack_into('<IIQ', buf, 0, 1, 0, 0)
                fcntl.ioctl(fd, 0xc0000000 | len(buf) << 16 | ord('T') << 8 | 4, buf)
                start, length, addr, flags = struct.unpack_from('<QQQI', buf, 16)
                os._exit(0 if (start, length, addr, flags) == (0, shown[0]['length'], 0, 8) else 1)
            except BaseException:
                os._exit(2)
        os.close(fd)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test(work):
    tally.require_fuse()
    superblocks(work)
    planted(work)
    stale(work)
    addresses(work)


if __name__ == '__main__':
    tally.main(test)
