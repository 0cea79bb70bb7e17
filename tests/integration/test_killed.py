#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of the daemon under a mixed load, N times (3; 50 with LONG=1).

Each worker owns a folder of the mount and keeps a ledger outside it: a line "name sha256" is written there only after
fsync of that file, and of its folder, returned.  Before a promised file is replaced by rename, "name +sha256" says that
from here on either content may be there (but one of them must); before it is removed, "name *".  After each kill: fsck -n is clean, the mount works, and every file in
the ledgers is right.
"""
import errno, hashlib, os, random, time
import tally
from tally import K, M, Mount

WORKERS = 3


def durable(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def put(path, data, rng):
    """Write in pieces and out of order, as programs do."""
    with open(path, 'wb') as f:
        if len(data) > 64 * K and rng.random() < 0.5:
            half = len(data) // 2
            f.seek(half)
            f.write(data[half:])
            f.seek(0)
            f.write(data[:half])
        else:
            f.write(data)
        f.flush()
        os.fsync(f.fileno())


def work_on(folder, ledger, rng, round_):
    os.makedirs(folder, exist_ok=True)
    durable(os.path.dirname(folder))
    kept = []
    for n in range(1 << 30):
        name = f'r{round_}-{n}'
        path = os.path.join(folder, name)
        data = rng.randbytes(rng.choice((0, 10, 300, 4 * K, 9 * K, 100 * K, 1 * M)))
        action = rng.randrange(8)
        if action < 3:
            put(path, data, rng)
        elif action == 3:                       # the safe-save dance: the new file over a promised one
            put(path + '.tmp', data, rng)
            if kept and rng.random() < 0.7:
                name = rng.choice(kept)
                ledger.write(f'{name} +{hashlib.sha256(data).hexdigest()}\n')
                ledger.flush()
            os.rename(path + '.tmp', os.path.join(folder, name))
        elif action == 4:                       # noise: never synced, so nothing is promised
            with open(path + '.noise', 'wb') as f:
                f.write(data)
            continue
        elif action == 5:
            for old in [e for e in os.scandir(folder) if e.name.endswith('.noise') and e.is_file()][:5]:
                os.unlink(old.path)
            continue
        elif action == 6:
            sub = path + '.d'              # a kill may leave it
            os.mkdir(sub)
            os.symlink(name, sub + '/link')
            os.setxattr(sub, 'user.x', b'y' * 200)
            os.unlink(sub + '/link')
            os.rmdir(sub)
            continue
        else:                                   # space held by an unlinked open file, then a hole
            with open(path + '.noise', 'w+b') as f:
                os.unlink(path + '.noise')
                f.write(data)
                f.flush()
                os.truncate(f.fileno(), len(data) // 2)
            continue
        durable(folder)
        ledger.write(f'{name} {hashlib.sha256(data).hexdigest()}\n')
        ledger.flush()
        if name not in kept:
            kept.append(name)
        if len(kept) > 40:
            name = kept.pop(0)
            ledger.write(f'{name} *\n')
            ledger.flush()
            os.unlink(os.path.join(folder, name))


def killed(mnt):
    try:
        os.statvfs(mnt)                        # never answered from the kernel's caches
    except OSError as e:
        return e.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def worker(mnt, base, which, seed, round_):
    try:
        with open(f'{base}/ledger{which}', 'a') as ledger:
            work_on(f'{mnt}/w{which}', ledger, random.Random(f'{seed}-{which}-{round_}'), round_)
    except OSError as e:
        if killed(mnt):
            os._exit(0)
        print(f'worker {which}: {e}', flush=True)
        os._exit(3)
    except BaseException as e:
        print(f'worker {which}: {e!r}', flush=True)
        os._exit(3)


def promises(base, which):
    """name -> the contents (sha256) that may be there; a name that may be gone is not in it."""
    kept = {}
    if os.path.exists(f'{base}/ledger{which}'):
        with open(f'{base}/ledger{which}') as f:
            for line in f:
                name, digest = line.split()
                if digest == '*':
                    kept.pop(name, None)
                elif digest.startswith('+'):
                    kept[name].add(digest[1:])
                else:
                    kept[name] = {digest}
    return kept


def trim(m, base, which):
    """Keep the image from filling up over many rounds."""
    with open(f'{base}/ledger{which}', 'a') as ledger:
        for name in list(promises(base, which))[:-40]:
            ledger.write(f'{name} *\n')
            os.unlink(m / f'w{which}/{name}')


def verify(m, base):
    right = 0
    for which in range(WORKERS):
        for name, contents in promises(base, which).items():
            path = m / f'w{which}/{name}'
            assert os.path.exists(path), f'{path}: fsynced before the kill, gone after it'
            assert tally.sha256(path) in contents, f'{path}: fsynced before the kill, different after it'
            right += 1
        trim(m, base, which)
        folder = m / f'w{which}'
        if os.path.isdir(folder):
            for name in os.listdir(folder):
                if name.endswith('.noise') and os.path.isfile(os.path.join(folder, name)):
                    tally.sha256(os.path.join(folder, name))    # readable; its content was never promised
                    os.unlink(os.path.join(folder, name))
    return right


def test(work):
    tally.require_fuse()
    rng = tally.seeded()
    seed = rng.random()
    image, mnt = f'{work}/image', f'{work}/mnt'
    tally.mkfs(image, 512 * M)
    rounds = tally.count(3, 50)
    right = 0
    for r in range(rounds):
        m = Mount(image, mnt, 'commit=1,cache_size=64M')
        pids = []
        for which in range(WORKERS):
            pid = os.fork()
            if pid == 0:
                worker(mnt, work, which, seed, r)
            pids.append(pid)
        time.sleep(rng.uniform(0.3, 2.5))
        assert m.daemon.poll() is None, f'the daemon died by itself:\n{m.log()}'
        m.kill(leave_mounted=True)             # so that the workers meet ENOTCONN, not the folder below
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        tally.detach(mnt)
        assert codes == [0] * WORKERS, f'a worker failed for another reason than the kill: {codes}'
        if r % 2:                              # before the replay as well: fsck replays in memory
            tally.fsck(image)
        with Mount(image, mnt) as m:
            right = verify(m, work)
        tally.fsck(image)
    print(f'killed {rounds} times; fsck -n clean after each; {right} fsynced files right at the end')
    assert right or rounds < 3, 'the load never got as far as an fsync'


tally.main(test)
