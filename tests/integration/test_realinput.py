#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Real work on real input (by hand: LONG=1, about half an hour).

Debian's linux-source-6.1 unpacked, compared after a remount; this project configured, built and its unit tests run
inside the mount; git clone and git fsck of a repository; 5 GiB of large files keep their sha256.  fsck is clean after
each.  LINUX_TAR names the tar ball (default: where Debian's package puts it); TMPDIR a folder with 30 GiB free.
"""
import os, shutil, time
import tally
from tally import G, M, Mount

TAR = os.environ.get('LINUX_TAR', '/usr/src/linux-source-6.1.tar.xz')


def timed(what, start):
    print(f'{what}: {time.monotonic() - start:.0f} s', flush=True)


def linux_tree(work, image, mnt):
    if not os.path.exists(TAR):
        raise AssertionError(f'{TAR} is not there: apt-get install linux-source-6.1, or name it in LINUX_TAR')
    start, begun = time.monotonic(), time.time_ns()
    os.mkdir(f'{work}/original')
    tally.run(['tar', '-xf', TAR, '-C', f'{work}/original'], timeout=1800)
    with Mount(image, mnt) as m:
        os.mkdir(m / 'linux')
        tally.run(['tar', '-xf', TAR, '-C', m / 'linux'], timeout=1800)
    tally.fsck(image)
    with Mount(image, mnt) as m:
        r = tally.run(['diff', '-r', '--no-dereference', f'{work}/original', m / 'linux'], timeout=1800)
        assert not r.stdout, r.stdout[:2000]
        files = sum(len(f) for _, _, f in os.walk(m / 'linux'))
        one, two = tally.describe(f'{work}/original'), tally.describe(m / 'linux')
        del one['.'], two['.']                 # made by two mkdirs
        for fact in [*one.values(), *two.values()]:
            if fact[3] > begun:                # a folder that tar came back to keeps the time of unpacking
                fact[3] = 'unpacked'
        tally.same(one, two)
    tally.fsck(image)
    timed(f'linux-source: {files} files the same after a remount', start)


def build_inside(work, image, mnt):
    start = time.monotonic()
    with Mount(image, mnt) as m:
        shutil.copytree(tally.ROOT, m / 'project', symlinks=True, ignore=shutil.ignore_patterns('build', '.git', '*.img', 'mnt'))
        tally.run(['cmake', '--preset', 'debug', '-G', 'Ninja'], cwd=m / 'project', timeout=600)
        tally.run(['cmake', '--build', 'build/debug'], cwd=m / 'project', timeout=1800)
        tally.run(['ctest', '--test-dir', 'build/debug', '-j', '2'], cwd=m / 'project', timeout=3600)
    tally.fsck(image)
    timed('C project configured, built and tested inside', start)


def git_inside(work, image, mnt):
    start = time.monotonic()
    source = f'{work}/repo'
    os.mkdir(source)
    git = ['git', '-c', 'user.name=t', '-c', 'user.email=t@localhost', '-C', source]
    tally.run(git + ['init', '-q'])
    for part in ('lib', 'fs', 'kernel'):
        shutil.copytree(next(os.scandir(f'{work}/original')).path + '/' + part, f'{source}/{part}', symlinks=True)
        tally.run(git + ['add', '-A'], timeout=600)
        tally.run(git + ['commit', '-q', '-m', part], timeout=600)
    with Mount(image, mnt) as m:
        tally.run(['git', 'clone', '-q', '--no-hardlinks', source, m / 'clone'], timeout=900)
        tally.run(['git', '-C', m / 'clone', 'fsck', '--full', '--strict'], timeout=900)
        tally.run(['git', '-C', m / 'clone', 'gc', '-q'], timeout=900)
    tally.fsck(image)
    with Mount(image, mnt) as m:
        tally.run(['git', '-C', m / 'clone', 'fsck', '--full', '--strict'], timeout=900)
        assert not tally.run(['git', '-C', m / 'clone', 'status', '--porcelain'], timeout=900).stdout
    timed('git clone, gc, fsck', start)


def large_files(work, image, mnt):
    start = time.monotonic()
    digests = {}
    with Mount(image, mnt) as m:
        for i in range(5):
            with open('/dev/urandom', 'rb') as src, open(m / f'large{i}', 'wb') as dst:
                for _ in range(1024):
                    dst.write(src.read(M))
            digests[i] = tally.sha256(m / f'large{i}')
    tally.fsck(image)
    with Mount(image, mnt) as m:
        for i, digest in digests.items():
            assert tally.sha256(m / f'large{i}') == digest, f'large{i} differs after the remount'
    timed('5 GiB of large files keep their sha256', start)


def test(work):
    tally.require_fuse()
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, 16 * G)
    for step in (linux_tree, build_inside, git_inside, large_files):
        step(work, image, mnt)


tally.main(test)
