#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Does a file fit a head, and a function a screen?

    scripts/sizes.py [FILE...]   0: yes; 1: a line for each that does not

C files of the programs have at most 500 lines, their functions at most 60, from the brace in the first column to
its fellow.
"""
import glob, sys

FILE, FUNCTION = 500, 60


def check(path):
    with open(path) as f:
        lines = f.read().split('\n')[:-1]
    if len(lines) > FILE:
        yield f'{path}: {len(lines)} lines; {FILE} at most'
    begin = None
    for n, line in enumerate(lines, 1):
        if line == '{':
            begin = n
        elif line == '}' and begin:
            if n - begin + 1 > FUNCTION:
                yield f'{path}:{begin}: a function of {n - begin + 1} lines; {FUNCTION} at most'
            begin = None


rooms = ('core/*', 'fs/*', 'common', 'mkfs', 'fsck', 'tools')
files = sys.argv[1:] or [f for room in rooms for f in sorted(glob.glob(room + '/*.c'))]
found = [line for f in files for line in check(f)]
print('\n'.join(found), end='\n' if found else '')
sys.exit(bool(found))
