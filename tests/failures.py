#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What failed, and what it said last, for the closing lines of a run: often a log's end is all that anybody has.

    failures.py keep NAME <OUTPUT     a failure called NAME, with what it printed
    failures.py show                  all that were kept, in LINES lines at most

They are kept in the folder that TALLYFS_FAILURES names; where it names none, keep() forgets them.
"""
import os, re, sys

LINES = 120
EACH = 30  # lines of one failure
FEWEST = 10  # as long as there is room for that
WIDTH = 1000  # of a line; a fuzzer's input fits
COLOURS = re.compile(r'\x1b\[[0-9;]*m')


def folder():
    return os.environ.get('TALLYFS_FAILURES')


def keep(name, output):
    if not folder():
        return
    number = len(os.listdir(folder()))
    with open(os.path.join(folder(), f'{number:05d}'), 'w', errors='replace') as f:
        f.write(f'{name}\n')
        f.writelines(f'{line[:WIDTH]}\n' for line in COLOURS.sub('', output).rstrip().splitlines()[-EACH:])


def shown(kept):
    """the names first; then how each one ended, the first ones if there are too many"""
    names = [lines[0] for lines in kept]
    if len(names) > LINES // 3:
        names[LINES // 3 :] = [f'and {len(names) - LINES // 3} more']
    out = [f'failed: {name}' for name in names]
    room = LINES - len(out)
    for at, (name, *lines) in enumerate(kept):
        most = min(EACH, room - 1, max(FEWEST, room // (len(kept) - at)) - 1)
        if lines and most > 0:
            out += [f'---- {name}', *lines[-most:]]
            room -= 1 + len(lines[-most:])
    return out


def main():
    if sys.argv[1] == 'keep':
        keep(sys.argv[2], sys.stdin.buffer.read().decode(errors='replace'))
        return
    kept = []
    for name in sorted(os.listdir(folder())):
        with open(os.path.join(folder(), name), errors='replace') as f:
            kept.append(f.read().splitlines())
    print(''.join(f'{line}\n' for line in shown(kept)), end='')


if __name__ == '__main__':
    main()
