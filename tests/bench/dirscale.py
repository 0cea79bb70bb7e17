#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How the time per operation grows with a directory:  dirscale.py [--json] [-o OPTIONS] [N...]

For each N (default 1000 10000 100000 1000000), each time on a new file system: create N files in one directory, list
them, list and stat all of them after a remount (nothing cached), rename all, remove all; at the end fsck.  Prints
operations a second, microseconds for one, microseconds of the daemon's CPU time for one, and the growth of the time
since the first N; "log" is what growth with the logarithm would give.  Small N are done several times over, and the fastest counts.  WORK= chooses the folder for
images (default: the temporary one), BIN= the programs.
"""
import argparse, json, math, os, shutil, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../integration'))
import tally
from tally import G, Mount

PHASES = ('create', 'list', 'list-cold', 'stat-cold', 'rename', 'remove')


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def timed(phase, folder, n, pid):
    """Seconds by the clock, and of CPU time of the daemon."""
    before = cpu_seconds(pid)
    wall = float(tally.run([tally.tool('dirops'), phase, folder, n], timeout=3600).stdout)
    return wall, cpu_seconds(pid) - before


def one_run(work, n, options):
    image, mnt, seconds = os.path.join(work, 'image'), os.path.join(work, 'mnt'), {}
    tally.mkfs(image, 16 * G)
    m = Mount(image, mnt, options)
    folder = m / 'd'
    os.mkdir(folder)
    for phase in PHASES:
        if phase.endswith('-cold'):
            m.umount()
            m = Mount(image, mnt, options)
        seconds[phase] = timed(phase.split('-')[0], folder, n, m.pid)
    m.umount()
    tally.fsck(image)
    os.unlink(image)
    return seconds


def measure(work, n, options):
    runs = [one_run(work, n, options) for _ in range(max(1, min(7, 30000 // n)))]
    return {phase: [min(r[phase][i] for r in runs) for i in (0, 1)] for phase in PHASES}


def rows(results):
    first = min(results)
    for n, seconds in results.items():
        for phase in PHASES:
            wall, cpu = seconds[phase]
            yield {'entries': n, 'operation': phase, 'per_second': n / wall, 'us': wall / n * 1e6,
                   'daemon_cpu_us': cpu / n * 1e6, 'growth': wall / n / (results[first][phase][0] / first),
                   'log_growth': math.log(n) / math.log(first)}


def table(results):
    print(f'{"entries":>9} {"operation":<10} {"ops/s":>10} {"us/op":>8} {"daemon":>8} {"growth":>7} {"log":>6}')
    for r in rows(results):
        print('{entries:>9} {operation:<10} {per_second:>10.0f} {us:>8.2f} {daemon_cpu_us:>8.2f} {growth:>7.2f} '
              '{log_growth:>6.2f}'.format(**r))


def as_json(results):
    print(json.dumps({'tallyfs_json': 1, 'command': 'dirscale', 'results': list(rows(results))}))


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--json', action='store_true')
    p.add_argument('-o', dest='options', default='')
    p.add_argument('n', nargs='*', type=int, default=[1000, 10000, 100000, 1000000])
    args = p.parse_args()
    work = os.path.realpath(tempfile.mkdtemp(prefix='dirscale-', dir=os.environ.get('WORK')))
    try:
        results = {n: measure(work, n, args.options) for n in sorted(args.n)}
    finally:
        for m in list(Mount.live):
            m.kill()
        shutil.rmtree(work, ignore_errors=True)
    (as_json if args.json else table)(results)


if __name__ == '__main__':
    main()
